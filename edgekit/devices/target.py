"""Target: one TOML file that says how to reach a device and how to measure on it (docs/formats/target.md).

Reading is strict: an unknown key or a wrong type is an error that names the file, the line and what is accepted there,
because a misspelt `max_load` that silently counts for nothing costs more than an error. Paths in a target are relative
to its file. `local` is a target that needs no file.
"""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from edgekit.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = 1
ADB_ROOT = "/data/local/tmp/edgekit"
"""Where the user of `adb shell` may write and run programs."""

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z")]
"""Not empty, and without control characters: it is printed, and it becomes an argument of a remote command."""
Host = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9:_][A-Za-z0-9.:%_-]*\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""Names folders (bench_results/NAME), so it is a plain file name."""


class SshSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach a device over SSH. `user` defaults to the local user, `known_hosts` to the user's own file."""

    host: Host
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 22
    user: Text | None = None
    identity_file: Text | None = None
    known_hosts: Text | None = None
    use_agent: bool = True
    connect_timeout_s: Positive = 10.0


class AdbSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach a device over ADB: `serial` for one on USB, `host` and `port` for one on the network.

    With neither, it is ANDROID_SERIAL of the environment, or the only one that is attached.
    """

    serial: Text | None = None
    host: Host | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5555
    connect_timeout_s: Positive = 10.0


class BenchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to measure: threads, and the bounds of warm-up and sampling.

    delegate: what the runtime is asked to execute with; see docs/bench.md. max_load_1min: as in `Limits`, where it
    belongs by now.
    """

    threads: Count = 1
    max_warmup_s: Positive = 10.0
    min_samples: Annotated[int, msgspec.Meta(ge=2)] = 50
    min_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    max_s: Positive = 150.0
    idle_timeout_s: Positive = 120.0
    delegate: Text | None = None
    max_load_1min: Positive | None = None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Outside of these a block is not measured, or does not count. None: anything goes.

    wait_s: how long to wait, in all of a run, until the device is within them. poll_s: how often to look meanwhile.
    retries: how often a block is measured again that something disturbed, or that ended outside of them.
    """

    max_temperature_c: Positive | None = None
    max_thermal_status: Annotated[int, msgspec.Meta(ge=0, le=6)] | None = None
    max_load_1min: Positive | None = None
    min_available_bytes: Count | None = None
    min_battery_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    plugged: bool | None = None
    governor: Text | None = None
    screen: Literal["on", "off"] | None = None
    wait_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    poll_s: Positive = 5.0
    retries: Annotated[int, msgspec.Meta(ge=0)] = 2


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device: its name, how to reach it, where EdgeKit keeps its files there, and how to measure."""

    name: Name
    transport: Text
    description: str = ""
    labels: tuple[str, ...] = ()
    root: Text = "~/.edgekit"
    python: Text = "python3"
    runner: Literal["auto", "python", "native"] = "auto"
    ssh: SshSettings | None = None
    adb: AdbSettings | None = None
    bench: BenchSettings = BenchSettings()
    limits: Limits = Limits()
    schema: int = SCHEMA


def list_targets(folder: Path) -> list[Path]:
    """The target files of a folder, by name."""
    return sorted(folder.glob("*.toml"))


def load_target(name_or_path: str, folder: Path = Path("targets")) -> Target:
    """The target of that name (`folder/NAME.toml`), or of that file if it ends in `.toml`.

    `local` is known even without a file. Paths of the `ssh` table come back absolute.

    Raises:
        TargetError: there is none of that name, or its file is not a target; the line is named.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else folder / f"{name_or_path}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if name_or_path == "local":
            return Target(name="local", transport="local", description="this machine", python=sys.executable)
        raise _unknown(name_or_path, folder) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"The target file {path} cannot be read: {error}.", remedy="Check the path.") from error
    return _resolve_paths(_parse(text, path), path.parent)


def select_targets(selectors: Sequence[str], folder: Path = Path("targets")) -> list[Target]:
    """The targets that are meant: each a name, a file, or `label=LABEL` for all of the folder that carry the label.

    Raises:
        TargetError: one is not known or its file is no target; no target carries the label; or two have one name.
    """
    found: dict[str, Target] = {}
    for selector in selectors:
        for target in _labelled(selector, folder) if is_label(selector) else [load_target(selector, folder)]:
            if found.setdefault(target.name, target) != target:
                raise TargetError(
                    f"Two of these targets are named {target.name!r}.",
                    remedy="Their results would be mixed up: set `name` in one of the files.",
                )
    return list(found.values())


def is_label(selector: str) -> bool:
    """Whether a selector asks for targets by their label."""
    return selector.startswith("label=")


def _labelled(selector: str, folder: Path) -> list[Target]:
    label = selector.removeprefix("label=")
    every = [load_target(str(path)) for path in list_targets(folder)]
    found = [target for target in every if label in target.labels]
    if not found:
        known = sorted({label for target in every for label in target.labels})
        others = f"the labels there are {', '.join(known)}" if known else "none has any"
        raise TargetError(
            f"No target in {folder}/ has the label {label!r}; {others}.",
            remedy='Write labels = ["ci"] in the files of those that are meant.',
        )
    return found


def _unknown(name: str, folder: Path) -> TargetError:
    known = sorted({"local", *(path.stem for path in list_targets(folder))})
    close = difflib.get_close_matches(Path(name).stem, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return TargetError(
        f"There is no target {name!r} (known in {folder}/: {', '.join(known)}).",
        remedy=f"{hint}Choose one of them, give the path of a .toml file, or copy one of targets/ and adapt it.",
    )


def _parse(text: str, path: Path) -> Target:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"The target file {path} is not TOML: {error}.", remedy="Correct that line.") from error
    if data.get("schema", SCHEMA) != SCHEMA:
        raise TargetError(
            f"{path}, line {_line_of(text, ('schema',))}: schema {data['schema']!r} is not one of this version's.",
            remedy=f"Write schema = {SCHEMA}, or use the EdgeKit that wrote it.",
        )
    data.setdefault("name", path.stem)
    if data.get("transport") == "local":
        data.setdefault("python", sys.executable)  # the one that runs EdgeKit has the runtimes of this environment
    if data.get("transport") == "adb":
        data.setdefault("root", ADB_ROOT)  # the home folder there is `/`, which is read-only
    try:
        return msgspec.convert(data, Target)
    except msgspec.ValidationError as error:
        raise _explain(str(error), data, text, path) from error


_FIELD = re.compile(r"unknown field `([^`]*)`|missing required field `([^`]*)`")
_STRUCTS: dict[tuple[str, ...], Any] = {
    (): Target,
    ("ssh",): SshSettings,
    ("adb",): AdbSettings,
    ("bench",): BenchSettings,
    ("limits",): Limits,
}


def _explain(message: str, data: dict[str, Any], text: str, path: Path) -> TargetError:
    """msgspec's message, with the line, the accepted keys and the type that belongs there."""
    problem, _, where = message.partition(" - at `$")
    keys = tuple(re.findall(r"\.([A-Za-z0-9_]+)", where))
    field = _FIELD.search(problem)
    if field:
        key = field[1] or field[2]
        accepted = _STRUCTS[keys].__struct_fields__
        table = f"[{'.'.join(keys)}]" if keys else "the top level"
        close = difflib.get_close_matches(key, accepted, n=1)
        hint = f"Did you mean {close[0]!r}? " if field[1] and close else ""
        line = _line_of(text, (*keys, key) if field[1] else keys)
        verb = f"does not know the key {key!r}" if field[1] else f"misses the key {key!r}"
        return TargetError(f"{path}, line {line}: {table} {verb}.", remedy=f"{hint}It takes {', '.join(accepted)}.")
    value: Any = data
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else value
    return TargetError(
        f"{path}, line {_line_of(text, keys)}: {'.'.join(keys)} = {_show(value)} will not do.",
        remedy=f"{problem.replace('`', '')}.",
    )


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line where a key is set, else where its nearest parent begins; TOML readers do not tell positions."""
    table: tuple[str, ...] = ()
    best, best_depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        setting = re.match(r"""\s*([A-Za-z0-9_."'-]+)\s*=""", line)
        if header:
            table = _dotted(header[1])
            found = table
        elif setting:
            found = (*table, *_dotted(setting[1]))
        else:
            continue
        depth = len(found) if found == keys[: len(found)] else 0
        if depth > best_depth:
            best, best_depth = number, depth
    return best


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _resolve_paths(target: Target, folder: Path) -> Target:
    if target.ssh is None:
        return target

    def absolute(path: str | None) -> str | None:
        return None if path is None else str((folder / Path(path).expanduser()).absolute())

    ssh = msgspec.structs.replace(
        target.ssh, identity_file=absolute(target.ssh.identity_file), known_hosts=absolute(target.ssh.known_hosts)
    )
    return msgspec.structs.replace(target, ssh=ssh)

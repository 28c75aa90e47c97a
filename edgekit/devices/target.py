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
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edgekit.devices.settings import (
    AdbSettings,
    BenchSettings,
    BrowserSettings,
    Limits,
    Name,
    SshSettings,
    Text,
)
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
    browser: BrowserSettings | None = None
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
        target = msgspec.convert(data, Target)
    except msgspec.ValidationError as error:
        raise _explain(str(error), data, text, path) from error
    browser = target.browser
    if browser is not None and browser.start and not browser.listen.startswith("127."):
        raise TargetError(
            f"{path}, line {_line_of(text, ('browser', 'listen'))}: browser.listen = {browser.listen} will not do.",
            remedy="A browser that EdgeKit starts needs loopback only. Write start = false for one that you open "
            "elsewhere.",
        )
    return target


_LOOKED_AT = msgspec.json.Decoder(Target)
"""Made here: msgspec 0.22 crashes when two threads look at a type for the first time at once, as `devices` does."""
_FIELD = re.compile(r"unknown field `([^`]*)`|missing required field `([^`]*)`")
_STRUCTS: dict[tuple[str, ...], Any] = {
    (): Target,
    ("ssh",): SshSettings,
    ("adb",): AdbSettings,
    ("browser",): BrowserSettings,
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
    def absolute(path: str | None) -> str | None:
        return None if path is None else str((folder / Path(path).expanduser()).absolute())

    ssh, browser = target.ssh, target.browser
    if ssh is not None:
        ssh = msgspec.structs.replace(
            ssh, identity_file=absolute(ssh.identity_file), known_hosts=absolute(ssh.known_hosts)
        )
    if browser is not None:
        browser = msgspec.structs.replace(browser, litert_js=absolute(browser.litert_js))
    return msgspec.structs.replace(target, ssh=ssh, browser=browser)

"""A new target: the device is asked what it is, and a commented TOML is written of the answer.

Nothing is written on the device. An unknown host key is refused unless its fingerprint was confirmed; then it is pinned
in a known_hosts file beside the target, never in the user's own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.devices.host_keys import KnownHosts, fingerprint, pinned
from edgekit.devices.scripts.looking import INTRODUCE
from edgekit.devices.target import ADB_ROOT, Target, load_target
from edgekit.errors import HostKeyError, TargetError
from edgekit.files import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN_HOSTS = "known_hosts"
MOST_THREADS = 4
"""More than that seldom helps one small model, and leaves a phone no core for itself."""
_ADDRESS = re.compile(r"ssh://(?:(?P<user>[^@/\s]+)@)?(?P<host>\[[0-9A-Fa-f:]+\]|[^:/@\s]+)(?::(?P<port>\d+))?/?")
_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10", "python")
_ASK = """
import importlib.util, sys
if sys.version_info >= (3, 8):
    print("python=%s %d.%d.%d" % ((sys.argv[1],) + sys.version_info[:3]))
    for name in "NAMES".split():
        try:
            if importlib.util.find_spec(name):
                print("package=" + name)
        except Exception:  # a broken package of the device's counts as none
            pass
"""


class Introduction(msgspec.Struct, frozen=True):
    """What a device told. `python` is a path and a version; `core_khz` the highest frequency of each core, or 0."""

    machine: str
    model: str
    os: str
    python: str | None
    python_version: str | None
    runtimes: tuple[str, ...]
    core_khz: tuple[int, ...]
    memory_bytes: int | None
    home_writable: bool

    @property
    def threads(self) -> int:
        """A number of threads to begin with: the fastest cores, four at most."""
        fastest = sum(1 for khz in self.core_khz if khz == max(self.core_khz))
        return max(1, min(fastest, MOST_THREADS))

    @property
    def labels(self) -> tuple[str, ...]:
        """Words by which scripts choose targets."""
        system = re.findall(r"[a-z0-9.]+", self.os.lower())[:1]
        model = re.findall(r"[a-z]+\s?\d+", self.model.lower())[:1]
        words = [self.machine, *system, *model]
        return tuple(dict.fromkeys(word.replace(" ", "-") for word in words if word))


def read_address(name: str, address: str, identity_file: str | None = None) -> Target:
    """A target for `ssh://user@host:port` or `adb:SERIAL`, before the device was asked anything.

    Raises:
        TargetError: neither of them, or a part of it that no target may have.
    """
    data: dict[str, object] = {"name": name}
    found = _ADDRESS.fullmatch(address)
    if found is not None:
        given = {"user": found["user"], "port": int(found["port"] or 22), "identity_file": identity_file}
        ssh = {"host": found["host"].strip("[]"), **{key: value for key, value in given.items() if value is not None}}
        data |= {"transport": "ssh", "ssh": ssh}
    elif address.startswith("adb:") and address != "adb:":
        data |= {"transport": "adb", "root": ADB_ROOT, "adb": {"serial": address.removeprefix("adb:")}}
    else:
        raise TargetError(
            f"{address!r} is no address of a device.",
            remedy="Write ssh://user@host, ssh://user@host:port or adb:SERIAL.",
        )
    try:
        return msgspec.convert(data, Target)
    except msgspec.ValidationError as error:
        raise TargetError(f"{name} at {address!r} cannot be a target: {error}.", remedy="Correct it.") from error


def confirm_host_key(target: Target, folder: Path, *, expected: str | None, accept: bool) -> Target:
    """Sees to it that the host key of an SSH target is known.

    Args:
        target: not yet written; with an [ssh] table.
        folder: of the targets, with a known_hosts file of its own perhaps.
        expected: the fingerprint that the key must have, `SHA256:...`.
        accept: take whatever key is presented.

    Returns:
        The target, with `known_hosts` where the key is pinned beside it.

    Raises:
        StorageError: it cannot be pinned.
        HostKeyError: the key is unknown and was not confirmed, is not the expected one, or has changed.
    """
    from edgekit.devices.ssh import SshTransport

    assert target.ssh is not None
    beside = folder / KNOWN_HOSTS
    key = SshTransport(target).host_key()
    kind, blob = key.get_name(), key.asbytes()
    presented = fingerprint(blob)
    if expected is not None and expected.rstrip("=") != presented:
        raise HostKeyError(
            f"{target.ssh.host} presents the host key {kind} {presented}, and not {expected}. Nothing was sent.",
            remedy="Ask the device itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub. If that differs too, "
            "somebody answers in its place.",
        )
    for ssh in (target.ssh, msgspec.structs.replace(target.ssh, known_hosts=str(beside.absolute()))):
        known = KnownHosts(target, ssh)
        if known.any_known:
            known.check(key)
            return msgspec.structs.replace(target, ssh=ssh)
    if expected is None and not accept:
        raise HostKeyError(
            f"The host key of {target.ssh.host} is not known: it presents {kind} {presented}. Nothing was sent.",
            remedy="Compare it with the device's own (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and if "
            f"they are equal, run this again with --fingerprint {presented}",
        )
    write_file(beside, pinned(beside, target.ssh, kind, blob))
    return msgspec.structs.replace(target, ssh=ssh)


def introduce(target: Target) -> Introduction:
    """Asks a device what it is, in one round trip, writing nothing there.

    Raises:
        DeviceError: it cannot be reached; see `Transport.connect`.
    """
    packages = {
        package: name for name in plugins.names("runtime") for package in plugins.load("runtime", name).PACKAGES
    }
    transport = plugins.load("transport", target.transport)(target)
    transport.connect()
    try:
        argv = ["sh", "-c", INTRODUCE, "edgekit", _ASK.replace("NAMES", " ".join(packages)), *_PYTHONS]
        answer = transport.run(argv, timeout_s=60, step="asking what it is")
    finally:
        transport.close()
    return read_introduction(answer.stdout.decode("utf-8", "replace"), packages)


def read_introduction(text: str, packages: Mapping[str, str]) -> Introduction:
    """From the script's lines. `packages` gives the runtime of each import name."""
    said: dict[str, str] = {}
    cores: list[int] = []
    runtimes: set[str] = set()
    pythons = 0
    for line in text.splitlines():
        key, _, value = line.partition("=")
        value = re.sub(r"[\x00-\x1f\x7f]", "", value).strip()[:200]
        pythons += key == "python"
        if key == "core":
            cores.append(int(value) if value.isdigit() else 0)
        elif key == "package" and pythons == 1 and value in packages:
            runtimes.add(packages[value])
        elif value:
            said.setdefault(key, value)
    if not cores and said.get("cores", "").isdigit():
        slow = int(said["cores"]) - int(said.get("performance_cores", said["cores"]))
        cores = [2] * (int(said["cores"]) - slow) + [1] * slow
    python, _, version = said.get("python", "").rpartition(" ")
    memory = said.get("memory_kib", "")
    return Introduction(
        machine=said.get("machine", ""),
        model=said.get("model", ""),
        os=said.get("os", ""),
        python=python or None,
        python_version=version or None,
        runtimes=tuple(sorted(runtimes)),
        core_khz=tuple(cores),
        memory_bytes=int(memory) * 1024 if memory.isdigit() else None,
        home_writable="home" in said,
    )


def write_target(target: Target, told: Introduction, path: Path, *, overwrite: bool = False) -> Target:
    """Writes the file of a new target (`targets/NAME.toml`), and reads it back.

    Args:
        target: how it was reached.
        told: what it said.
        path: where it goes.
        overwrite: replace a file that is there.

    Raises:
        TargetError: the file exists.
        StorageError: it cannot be written.
    """
    if path.exists() and not overwrite:
        raise TargetError(f"{path} exists.", remedy="Choose another name, or replace it with --force.")
    write_file(path, target_text(target, told, path.parent).encode())
    return load_target(str(path))


def target_text(target: Target, told: Introduction, folder: Path) -> str:
    """The TOML of a new target, each choice with its reason."""
    description = ", ".join(part for part in (told.model, told.os) if part) or target.name
    root = target.root if target.transport != "ssh" or told.home_writable else "/var/tmp/edgekit"  # noqa: S108 - there
    memory = f", {told.memory_bytes / 1e9:.1f} GB of memory" if told.memory_bytes else ""
    fast = sum(1 for khz in told.core_khz if khz == max(told.core_khz))
    cores = f"{len(told.core_khz)} cores" + (f", {fast} of them fast" if fast < len(told.core_khz) else "")
    lines = [
        f"# Written by `edgekit targets add`: {description}. docs/formats/target.md has every key.",
        f"# It has {cores}{memory}. `edgekit doctor {target.name}` tells what works there.",
        "schema = 1",
        f"name = {_toml(target.name)}",
        f"transport = {_toml(target.transport)}",
        f"description = {_toml(description)}",
        f"labels = [{', '.join(_toml(label) for label in told.labels)}]",
        "",
        "# EdgeKit's folder there: artifacts, runtimes, the lock. Choose a fast disk with room.",
        f"root = {_toml(root)}",
        "",
    ]
    if told.python is not None:
        found = ", ".join(told.runtimes)
        lines += [
            f"# Python {told.python_version}. Runtimes that it has: {found or 'none'}."
            + ("" if found else f" `edgekit provision {target.name}` brings one."),
            f"python = {_toml(told.python)}",
        ]
    else:
        lines += [
            "# No Python 3.8 or newer was found: the native runner does without.",
            f"# `edgekit provision {target.name}` brings its libraries.",
            '# python = "python3"',
        ]
    lines += ["", *_connection(target, folder), "", "[bench]", *_bench(told), ""]
    return "\n".join(lines)


def _connection(target: Target, folder: Path) -> list[str]:
    if target.ssh is None:
        serial = target.adb.serial if target.adb is not None else None
        return ["[adb]", f"serial = {_toml(serial)}"] if serial is not None else []
    ssh = target.ssh
    lines = ["[ssh]", f"host = {_toml(ssh.host)}", f"port = {ssh.port}"]
    no_user = '# user = "me"                            # default: the local user'
    lines.append(f"user = {_toml(ssh.user)}" if ssh.user else no_user)
    if ssh.identity_file:
        lines.append(f"identity_file = {_toml(str(Path(ssh.identity_file).expanduser().absolute()))}")
    else:
        lines.append('# identity_file = "~/.ssh/id_ed25519"    # default: your usual keys, then the agent')
    if ssh.known_hosts and Path(ssh.known_hosts) == (folder / KNOWN_HOSTS).absolute():
        lines.append(f"known_hosts = {_toml(KNOWN_HOSTS)}                # beside this file: its key is pinned there")
    return lines


def _bench(told: Introduction) -> list[str]:
    return [
        f"threads = {told.threads}                              # the fast cores, {MOST_THREADS} at most",
        "",
        "# Outside of these EdgeKit waits, then gives the block up: docs/bench.md.",
        "# [limits]",
        f"# max_load_1min = {max(0.5, len(told.core_khz) / 4):g}                    # something else runs",
        "# max_temperature_c = 70                  # wait until it has cooled down",
    ]


def _toml(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text)

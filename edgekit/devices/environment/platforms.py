"""Which wheels and libraries a device can load: its system, processor, C library, and Python, asked by one script.

The kernel's word for the processor is not enough: a Raspberry Pi with a 32-bit system says aarch64. So the width comes
from Python, or from a program of the system where there is no Python.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from packaging import tags

from edgekit.devices.scripts.looking import PLATFORM
from edgekit.errors import RemoteCommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices.device import Device

OLDEST_PYTHON = (3, 8)
"""What the runner needs."""
_OLDEST_GLIBC_MINOR = 17
_32_BIT = {"aarch64": "armv7l", "x86_64": "i686", "armv8l": "armv7l"}
_ASK_PYTHON = """
import os, platform, struct, sys, sysconfig
print("python=%d.%d.%d" % sys.version_info[:3])
print("implementation=" + sys.implementation.name)
print("threaded=%s" % ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))
print("python_machine=" + platform.machine())
print("bits=%d" % (8 * struct.calcsize("P")))
print("python_debug=%d" % hasattr(sys, "gettotalrefcount"))
try:
    print("python_libc=" + os.confstr("CS_GNU_LIBC_VERSION"))
except Exception:  # another C library: that there is no answer is the answer
    pass
"""


class Platform(msgspec.Struct, frozen=True):
    """What decides which wheels fit. `libc` is glibc, musl or bionic; `python` is None where none (3.8+) runs."""

    system: str
    machine: str
    libc: str = ""
    libc_version: str = ""
    macos: str = ""
    python: str | None = None
    implementation: str = ""
    abi: str = ""

    @property
    def text(self) -> str:
        """For people: `aarch64 Linux, glibc 2.36, CPython 3.11.2`."""
        libc = f"Android {self.libc_version}" if self.libc == "bionic" else f"{self.libc} {self.libc_version}".strip()
        name = {"cpython": "CPython"}.get(self.implementation, self.implementation)
        python = f"{name} {self.python}" if self.python else "no Python 3.8 or newer"
        system = f"{self.machine} {'macOS' if self.system == 'Darwin' else self.system}"
        return ", ".join(part for part in (system, self.macos, libc, python) if part)

    @property
    def python_minor(self) -> tuple[int, int] | None:
        """(3, 11); None without a Python."""
        if self.python is None:
            return None
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    @property
    def without_python(self) -> Platform:
        """The same device, were there no Python on it."""
        return msgspec.structs.replace(self, python=None, implementation="", abi="")

    def wheel_platforms(self) -> list[str]:
        """The platform tags of wheels that load here, best first (PEP 600, PEP 656)."""
        if self.system == "Darwin":
            parts = [int(part) for part in re.findall(r"\d+", self.macos)[:2]] or [11, 0]
            version = (parts[0], parts[1] if len(parts) > 1 else 0)
            return list(tags.mac_platforms(version, {"aarch64": "arm64"}.get(self.machine, self.machine)))
        if self.system != "Linux":
            return []
        return [*self._linux(), f"linux_{self.machine}"]

    def _linux(self) -> Iterator[str]:
        numbers = [int(part) for part in re.findall(r"\d+", self.libc_version)[:2]]
        if len(numbers) < 2:
            return
        if self.libc == "musl":
            for minor in range(numbers[1], -1, -1):
                yield f"musllinux_{numbers[0]}_{minor}_{self.machine}"
        if self.libc == "glibc":
            for minor in range(numbers[1], _OLDEST_GLIBC_MINOR - 1, -1):
                yield f"manylinux_{numbers[0]}_{minor}_{self.machine}"
                if minor == _OLDEST_GLIBC_MINOR:
                    yield f"manylinux2014_{self.machine}"

    def tags(self) -> set[tags.Tag]:
        """Every wheel tag that fits this platform and its Python."""
        minor = self.python_minor
        if minor is None:
            return set()
        platforms = self.wheel_platforms()
        interpreter = f"cp{minor[0]}{minor[1]}"
        found = set(tags.compatible_tags(minor, interpreter, platforms))
        if self.implementation == "cpython":
            found |= set(tags.cpython_tags(minor, [self.abi], platforms))
        return found

    def markers(self) -> dict[str, str]:
        """The environment in which a requirement's markers are to be read: the device's, not ours (PEP 508)."""
        minor = self.python_minor or (3, 11)
        darwin = self.system == "Darwin"
        return {
            "implementation_name": self.implementation or "cpython",
            "implementation_version": self.python or "",
            "os_name": "posix",
            "platform_machine": "arm64" if darwin and self.machine == "aarch64" else self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": self.python or f"{minor[0]}.{minor[1]}.0",
            "python_version": f"{minor[0]}.{minor[1]}",
            "sys_platform": "darwin" if darwin else "linux",
            "extra": "",
        }


def ask_platform(device: Device) -> Platform:
    """Asks a device what it is; one round trip.

    Raises:
        RemoteCommandError: it does not tell even the processor.
        DeviceError: the link failed.
    """
    argv = ["sh", "-c", PLATFORM, "edgekit", device.target.python, _ASK_PYTHON]
    answer = device.run(argv, timeout_s=60, step="asking what it is")
    platform = read_platform(answer.stdout.decode("utf-8", "replace"))
    if not platform.machine:
        raise RemoteCommandError(
            f"{device.name} does not tell which processor it has.", remedy="EdgeKit needs `uname` there."
        )
    return platform


def read_platform(text: str) -> Platform:
    """The platform from the script's `key=value` lines; the first value of a key counts."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and value.strip():
            said.setdefault(key, value.strip())
    machine = said.get("python_machine", said.get("machine", ""))
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)
    bits = said.get("bits") or {"01": "32", "02": "64"}.get(said.get("elf_class", ""), "")
    if bits == "32":
        machine = _32_BIT.get(machine, machine)
    libc, version = _libc(said)
    python: str | None = said.get("python")
    if python is not None and tuple(int(part) for part in python.split(".")[:2]) < OLDEST_PYTHON:
        python = None
    short = "".join(python.split(".")[:2]) if python else ""
    return Platform(
        system=said.get("system", ""),
        machine=machine,
        libc=libc,
        libc_version=version,
        macos=said.get("macos", ""),
        python=python,
        implementation=said.get("implementation", "") if python else "",
        abi=f"cp{short}{said.get('threaded', '')}{'d' if said.get('python_debug') == '1' else ''}" if python else "",
    )


def _libc(said: dict[str, str]) -> tuple[str, str]:
    for text in (said.get("python_libc", ""), said.get("libc", "")):
        words = text.split()
        if len(words) == 2 and words[0] in ("glibc", "musl", "bionic"):
            return words[0], words[1]
    found = re.search(r"GNU C Library.* version (\d+\.\d+)", said.get("libc_says", ""))
    return ("glibc", found[1]) if found else ("", "")

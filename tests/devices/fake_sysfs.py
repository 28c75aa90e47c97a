"""A /sys of one's own: a tree of real files that a real sshd's sessions find at /sys, and that tests write to.

    with Sysfs() as sysfs, ThrowawaySshd(enter=sysfs.enter) as sshd:
        sysfs.temperature_c = 85

The sshd runs in a mount namespace in which `class` and `devices/system/cpu` of this tree are mounted over the kernel's.
What reads them there are EdgeKit's own scripts and runners; only what the files say is made up. Mounting takes root.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

CORES = 2
MOST_KHZ = 1_800_000
_CPU = Path("/sys/devices/system/cpu")
_ENTER = """
mount --make-rprivate / && mount --bind "$1/class" /sys/class && mount --bind "$1/cpu" /sys/devices/system/cpu || exit 1
shift
exec "$@"
"""


class Sysfs:
    """The tree, in `folder`; `reset` makes it that of a cool board with fixed clocks."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="edgekit-sysfs-"))
        self.reset()

    def __enter__(self) -> Sysfs:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def enter(self) -> list[str]:
        """Put before an argv, it runs that where this tree is /sys."""
        return ["unshare", "--mount", "sh", "-c", _ENTER, "sysfs", str(self.folder)]

    def reset(self) -> None:
        """Two cores at 1.8 GHz under the governor `performance`, one thermal zone at 41.5 °C, and nothing else."""
        for name in ("class", "cpu"):
            folder = self.folder / name
            folder.mkdir(exist_ok=True)  # they stay, for they are mounted
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for name in ("online", "present", "possible"):
            with suppress(OSError):
                self.write(f"cpu/{name}", (_CPU / name).read_text().strip())
        for core in range(CORES):
            with suppress(OSError):
                shutil.copytree(_CPU / f"cpu{core}/topology", self.folder / f"cpu/cpu{core}/topology")
            for name, value in (("cpuinfo_max_freq", MOST_KHZ), ("scaling_max_freq", MOST_KHZ),
                                ("scaling_cur_freq", MOST_KHZ), ("scaling_governor", "performance")):  # fmt: skip
                self.write(f"cpu/cpu{core}/cpufreq/{name}", value)
            self.write(f"cpu/cpu{core}/thermal_throttle/core_throttle_count", 3)
        self.write("class/thermal/thermal_zone0/type", "cpu-thermal")
        self.temperature_c = 41.5

    def write(self, path: str, value: object) -> None:
        """Puts a value into a file, whole: whoever reads it sees the old one or the new one."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}")
        beside.write_text(f"{value}\n")
        beside.replace(file)

    @property
    def temperature_c(self) -> float:
        return int((self.folder / "class/thermal/thermal_zone0/temp").read_text()) / 1000

    @temperature_c.setter
    def temperature_c(self, degrees: float) -> None:
        self.write("class/thermal/thermal_zone0/temp", round(1000 * degrees))

    def cores(self, name: str, value: object) -> None:
        """The same cpufreq setting for every core."""
        for core in range(CORES):
            self.write(f"cpu/cpu{core}/cpufreq/{name}", value)

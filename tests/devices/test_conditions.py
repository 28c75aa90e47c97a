"""The conditions of a device, read by the real script from trees and commands that are like those of real devices.

The texts follow what these commands print according to published output and their sources; none was recorded here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.bench.distortions import judge
from edgekit.devices.android import THERMAL_STATUS, read_battery, read_screen, read_thermal
from edgekit.devices.conditions import Conditions, ask_conditions, read_conditions
from edgekit.devices.scripts.looking import CONDITIONS

if TYPE_CHECKING:
    from edgekit.devices import Device

BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: {usb}
  Wireless powered: false
  Max charging current: 500000
  status: {status}
  health: 2
  present: true
  level: {level}
  scale: 100
  voltage: 3944
  temperature: {tenths}
  technology: Li-ion
  level: 7
"""
POWER = """POWER MANAGER (dumpsys power)

Power Manager State:
  mDirty=0x0
  mWakefulness={wakefulness}
  mIsPowered=false

Display Power: state={display}
"""
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 2
Thermal Status: {status}
Cached temperatures:
\tTemperature{{mValue=99.0, mType=0, mName=CPU-OLD, mStatus=5}}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{{mValue=44.8, mType=0, mName=AP, mStatus=0}}
\tTemperature{{mValue=41.5, mType=3, mName=SKIN, mStatus={skin}}}
\tTemperature{{mValue=-2.7E-3, mType=4, mName=USB, mStatus=0}}
Current cooling devices from HAL:
\tCoolingDevice{{mValue=0, mType=2, mName=cpu}}
"""
MEMINFO = "MemTotal: 8000000 kB\nMemAvailable: {available} kB\nSwapTotal: 100000 kB\nSwapFree: 40000 kB\n"


def tree(root: Path, files: dict[str, str]) -> None:
    """Writes files below a root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def command(folder: Path, name: str, body: str) -> None:
    """A program of that name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def ask(root: Path, shell: tuple[str, ...] = ("sh",)) -> Conditions:
    """Runs the script on a tree of its own, with the commands in ROOT/bin; the second that it waits is left out."""
    command(root / "bin", "sleep", f"cp '{root}/proc/stat2' '{root}/proc/stat' 2>/dev/null; true")
    script = CONDITIONS
    for top in ("proc", "sys"):
        script = script.replace(f"/{top}/", f"{root}/{top}/")
    environment = {"PATH": f"{root / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*shell, "-c", script, "edgekit"], capture_output=True, text=True, env=environment, timeout=30
    )
    assert done.stderr == ""
    return read_conditions(done.stdout)


def warnings(now: Conditions) -> dict[str, str]:
    """Subjects and texts of what is wrong."""
    return {finding.subject: finding.what for finding in judge(now) if finding.level == "warning"}


def calm(root: Path) -> None:
    """A board on which nothing is wrong."""
    tree(root, {
        "proc/stat": "cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1 1 1 1\n",
        "proc/stat2": "cpu  101 0 101 1398 0 0 0 0 0 0\ncpu0 1 1 1 1\n",
        "proc/vmstat": "nr_free_pages 5\npswpin 7\npswpout 9\n",
        "proc/loadavg": "0.20 0.30 0.40 1/100 1234\n",
        "proc/meminfo": MEMINFO.format(available=7000000),
        "sys/devices/system/cpu/online": "0-3\n",
        "sys/devices/system/cpu/present": "0-3\n",
        **{
            f"sys/devices/system/cpu/cpu{core}/cpufreq/{name}": value
            for core in range(4)
            for name, value in (("scaling_governor", "performance\n"), ("cpuinfo_max_freq", "1800000\n"),
                                ("scaling_max_freq", "1800000\n"), ("scaling_cur_freq", "1800000\n"))
        },
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
        "sys/class/thermal/thermal_zone0/trip_point_0_temp": "80000\n",
        "sys/class/thermal/thermal_zone0/trip_point_1_type": "critical\n",
        "sys/class/thermal/thermal_zone0/trip_point_1_temp": "110000\n",
        "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
        "sys/class/thermal/cooling_device0/cur_state": "3\n",
        "sys/class/thermal/cooling_device0/max_state": "4\n",
        "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
        "sys/class/thermal/cooling_device1/cur_state": "0\n",
        "sys/class/thermal/cooling_device1/max_state": "9\n",
    })  # fmt: skip
    command(root / "bin", "vcgencmd", "echo throttled=0x0")


SHELLS = [shell for shell in (("sh",), ("dash",), ("bash",), ("busybox", "sh")) if shutil.which(shell[0])]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_calm_board_has_nothing_wrong(tmp_path: Path, shell: tuple[str, ...]) -> None:
    calm(tmp_path)
    now = ask(tmp_path, shell)
    assert warnings(now) == {}
    if shell[0] != "busybox":  # which takes its own `sleep`, and so sees two equal counts
        assert (now.busy, now.stolen) == (0.005, 0.0)
    assert (now.load_1min, now.cores) == (0.2, 4)
    assert now.zones[0].passive_c == 80.0
    assert now.clocks[3].most_khz == 1800000
    assert {f.subject for f in judge(now)} == {
        "other load", "frequency governor", "frequency cap", "temperature", "memory", "swap"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "subject", "says"),
    [
        ({"proc/stat2": "cpu  400 0 100 1100 0 0 0 0 0 0\n"}, "other load", "75% of all cores"),
        ({"proc/loadavg": "3.90 1 1 1/1 1\n"}, "other load", "load 3.90 on 4 cores"),
        ({"proc/stat2": "cpu  100 0 100 1360 0 0 0 40 0 0\n"}, "stolen time", "10%"),
        ({"sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "ondemand\n"}, "frequency governor", "ondemand"),
        ({"sys/devices/system/cpu/cpu2/cpufreq/scaling_max_freq": "600000\n"}, "frequency cap",
         "1 of 4 cores may not run at full speed: core 2 at 0.60 of 1.80 GHz"),
        ({"sys/devices/system/cpu/online": "0,2-3\n"}, "cores off", "3 of 4"),
        ({"sys/class/thermal/thermal_zone0/temp": "71000\n"}, "temperature", "71 °C (cpu-thermal), throttles at 80 °C"),
        ({"sys/class/thermal/cooling_device1/cur_state": "2\n"}, "throttling", "cpufreq-cpu0 at step 2 of 9"),
        ({"proc/meminfo": MEMINFO.format(available=300000)}, "memory", "0.31 of 8.19 GB"),
        ({"sys/class/power_supply/BAT0/type": "Battery\n", "sys/class/power_supply/BAT0/capacity": "17\n",
          "sys/class/power_supply/BAT0/status": "Discharging\n", "sys/class/power_supply/AC/type": "Mains\n",
          "sys/class/power_supply/AC/online": "0\n"}, "battery", "17 %, on battery"),
    ],
)  # fmt: skip
def test_each_trouble_of_a_board_is_told(tmp_path: Path, files: dict[str, str], subject: str, says: str) -> None:
    calm(tmp_path)
    tree(tmp_path, files)
    found = warnings(ask(tmp_path))
    assert list(found) == [subject], "that one, and no other"
    assert says in found[subject]
    assert all(f.remedy for f in judge(ask(tmp_path)) if f.level == "warning")


def test_the_firmware_of_a_raspberry_pi(tmp_path: Path) -> None:
    calm(tmp_path)
    command(tmp_path / "bin", "vcgencmd", "echo throttled=0x50005")
    assert warnings(ask(tmp_path)) == {"throttling": "now: under-voltage, throttled"}
    command(tmp_path / "bin", "vcgencmd", "echo throttled=0x80000")
    assert warnings(ask(tmp_path)) == {"throttling": "since its start: soft temperature limit"}


def test_a_jetson_that_saves_power(tmp_path: Path) -> None:
    calm(tmp_path)
    command(tmp_path / "bin", "nvpmodel", "printf 'NV Power Mode: 15W\\n0\\n'")
    assert warnings(ask(tmp_path)) == {"power mode": "15W"}
    command(tmp_path / "bin", "nvpmodel", "printf 'NV Power Mode: MAXN_SUPER\\n2\\n'")
    assert warnings(ask(tmp_path)) == {}


def phone(root: Path, *, battery: str, power: str, thermal: str, build: str = "user", debuggable: str = "0") -> None:
    """Commands as a phone has them."""
    calm(root)
    tree(root, {"battery": battery, "power": power, "thermalservice": thermal})
    command(root / "bin", "dumpsys", f"cat '{root}'/\"$1\"")
    command(root / "bin", "settings", "echo 0")
    command(
        root / "bin", "getprop", f"case $1 in ro.build.type) echo {build};; ro.debuggable) echo {debuggable};; esac"
    )
    (root / "bin" / "vcgencmd").unlink()


def test_a_phone_that_is_ready(tmp_path: Path) -> None:
    phone(
        tmp_path,
        battery=BATTERY.format(usb="true", status=2, level=84, tenths=298),
        power=POWER.format(wakefulness="Asleep", display="OFF"),
        thermal=THERMAL.format(status=0, skin=0),
    )
    now = ask(tmp_path)
    assert warnings(now) == {}
    assert now.battery is not None
    assert (now.battery.level_percent, now.battery.plugged, now.battery.charging, now.battery.temperature_c) == (
        84.0, True, True, 29.8
    )  # fmt: skip


def test_a_phone_on_which_all_is_wrong(tmp_path: Path) -> None:
    phone(
        tmp_path,
        battery=BATTERY.format(usb="false", status=3, level=12, tenths=415),
        power=POWER.format(wakefulness="Awake", display="ON"),
        thermal=THERMAL.format(status=2, skin=2),
        build="userdebug",
        debuggable="1",
    )
    command(tmp_path / "bin", "settings", "echo 1")
    assert warnings(ask(tmp_path)) == {
        "battery": "12 %, on battery, 42 °C",
        "battery saver": "on",
        "screen": "on",
        "system build": "userdebug, debuggable",
        "temperature": "SKIN 42 °C",
        "thermal status": "moderate",
    }


def test_androids_texts_of_other_versions() -> None:
    assert read_battery("Can't find service: battery") is None
    assert read_battery("  present: false\n  level: 0\n  scale: 100") is None
    assert read_battery("  level: 40\n  scale: 50\n") is not None
    assert read_screen("  mWakefulness=Dozing\n") is False
    assert read_screen("  mWakefulnessRaw=Awake\n") is True
    assert read_screen("") is None
    assert read_thermal("") == (None, ())
    status, sensors = read_thermal("Thermal Status: 1\nCached temperatures:\n\tTemperature{mValue=38.1, mType=0, mName=AP, mStatus=1}")  # fmt: skip # noqa: E501
    assert (status, sensors[0].name, sensors[0].temperature_c) == (1, "AP", 38.1)
    assert THERMAL_STATUS[3] == "severe"


def test_a_mac_on_battery_that_is_hot() -> None:
    now = read_conditions(
        "== system\nDarwin\n== loadavg\n{ 1.23 1.11 1.05 }\n== pmset_batt\nNow drawing from 'Battery Power'\n"
        " -InternalBattery-0 (id=4325475)\t85%; discharging; 5:12 remaining present: true\n"
        "== pmset_therm\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 70\n"
    )
    assert now.load_1min == 1.23
    assert warnings(now)["battery"] == "85 %, on battery"
    assert warnings(now)["speed limit"] == "70 %"


@pytest.mark.parametrize(
    "text",
    ["", "== stat\n", "== stat\ncpu x y\n== stat_after\ncpu 1 2\n", "== cpus\n|||\n0|a\n", "== zones\nx|y|z\n",
     "== throttled\nthrottled=0xzz\n", "\x00\xff== == ==\n== meminfo\nMemTotal: kB\n", "== loadavg\nnothing\n"],
)  # fmt: skip
def test_garbage_is_nothing(text: str) -> None:
    now = read_conditions(text)
    assert warnings(now) == {}


@pytest.mark.device
def test_this_machine_tells(device: Device) -> None:
    now = ask_conditions(device)
    assert now.system == os.uname().sysname
    assert now.memory_bytes
    assert now.busy is not None

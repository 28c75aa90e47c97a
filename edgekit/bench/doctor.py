"""What works on a device, what is missing, and what will distort a measurement there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edgekit.devices.runner_client import device_info, install_remedy
from edgekit.devices.runners import runner_for
from edgekit.errors import ConnectionLostError, EdgeKitError, RemoteTimeoutError, RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices import Device

MIN_FREE_BYTES = 200_000_000
BUSY_SHARE = 0.5
HOT_C = 70.0


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was looked at. `remedy` is empty where nothing need be done.

    "missing" stops any measurement; "absent" only that of the artifacts that need it.
    """

    level: Literal["ok", "warning", "missing", "absent"]
    subject: str
    what: str
    remedy: str = ""


def examine(device: Device) -> list[Finding]:
    """Looks at a connected device; never raises for what it finds there, only for a link that is lost.

    Raises:
        ConnectionLostError, RemoteTimeoutError: the link went down.
    """
    findings = [Finding("ok", "connection", f"{device.transport.describe}, store in {device.root}")]
    try:
        runner = runner_for(device)
        if runner.kind == "python":
            _need_python(device)
        info = device_info(device)
    except (ConnectionLostError, RemoteTimeoutError):
        raise
    except EdgeKitError as error:
        return [*findings, Finding("missing", "runner", error.what, error.remedy)]
    values = info["facts"]["values"]
    system = f"{values['os'] or values['kernel']}, {values['machine']}"
    if runner.kind == "native":
        findings.append(Finding("ok", "runner", f"native, {runner.path.stat().st_size / 1e3:.0f} kB; {system}"))
    else:
        findings.append(Finding("ok", "Python", f"{values['python']}, {system}"))
    findings.extend(_runtimes(device, info))
    findings.append(_disk(device))
    findings.extend(_distortions(values, info["facts"]["missing"]))
    return findings


def _need_python(device: Device) -> None:
    python = device.target.python
    if device.run([python, "--version"], step="asking for Python").code != 0:
        raise RunnerError(
            f"{python} does not run there.",
            remedy="Install Python 3.8 or newer, or set `python` in the target, or take --runner native.",
        )


def _runtimes(device: Device, info: dict[str, Any]) -> Iterator[Finding]:
    runtimes: dict[str, dict[str, Any]] = info["runtimes"]
    if not any("package" in found for found in runtimes.values()):
        reasons = "; ".join(f"{name}: {found['reason']}" for name, found in runtimes.items())
        yield Finding("missing", "runtime", f"there is none ({reasons})", install_remedy(device, "litert"))
        return
    for name, found in runtimes.items():
        if "package" in found:
            yield Finding("ok", f"runtime {name}", f"{found['package']} {found['version'] or '(version unknown)'}")
        else:
            yield Finding("absent", f"runtime {name}", found["reason"])


def _disk(device: Device) -> Finding:
    answer = device.run(["df", "-Pk", device.root], step="asking for free space")
    words = answer.stdout.decode(errors="replace").splitlines()[-1:] or [""]
    fields = words[0].split()
    if answer.code != 0 or len(fields) < 4 or not fields[3].isdigit():
        return Finding("warning", "free space", "the device does not tell")
    free = int(fields[3]) * 1024
    if free < MIN_FREE_BYTES:
        return Finding("warning", "free space", f"{free / 1e6:.0f} MB", "Make room, or move `root` in the target.")
    return Finding("ok", "free space", f"{free / 1e9:.1f} GB")


def _distortions(values: dict[str, Any], missing: dict[str, str]) -> Iterator[Finding]:
    load, cores = values["load_1min"], values["cores"]
    if load is not None and cores:
        busy = load / cores
        text = f"load {load:.2f} on {cores} cores"
        if busy > BUSY_SHARE:
            yield Finding("warning", "other load", text, "Stop what else runs there: it will be in the measurement.")
        else:
            yield Finding("ok", "other load", text)
    governor = values["governor"]
    if governor is None:
        yield Finding("ok", "frequency governor", f"not exposed ({missing.get('governor', 'unknown')})")
    elif governor != ["performance"]:
        yield Finding(
            "warning", "frequency governor", ", ".join(governor),
            "Set it to performance: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )  # fmt: skip
    else:
        yield Finding("ok", "frequency governor", "performance")
    temperatures = values["temperature_c"]
    if temperatures:
        hottest = max(temperatures.values())
        if hottest >= HOT_C:
            yield Finding("warning", "temperature", f"{hottest:.0f} °C", "Let it cool down: it may be throttled.")
        else:
            yield Finding("ok", "temperature", f"{hottest:.0f} °C")

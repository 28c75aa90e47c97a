"""What works on a device, what is missing, and what will distort a measurement there.

Each part is asked for itself: a device without a runner still tells its load and its battery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.bench.distortions import judge
from edgekit.bench.doctor_page import about_page
from edgekit.bench.finding import Finding
from edgekit.bench.guards import unchecked, violations
from edgekit.bench.sense import sensible
from edgekit.devices.device import Device
from edgekit.devices.environment import Platform, ask_platform, differing, installed
from edgekit.devices.runner_client import device_info
from edgekit.devices.runners import install_remedy, natively_served, runner_for
from edgekit.errors import ConnectionLostError, EdgeKitError, RemoteTimeoutError, RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices import RunnerDevice, Target
    from edgekit.devices.conditions import Conditions

MIN_FREE_BYTES = 200_000_000


def examine(device: RunnerDevice) -> list[Finding]:
    """Looks at a connected device; never raises for what it finds there, only for a link that is lost.

    What only a shell can tell (environment, Python, free space) is left out where there is none.

    Raises:
        ConnectionLostError, RemoteTimeoutError: the link went down.
    """
    shell = device if isinstance(device, Device) else None
    store = "" if shell is None else f", store in {shell.root}"
    findings = [Finding("ok", "connection", f"{device.describe}{store}")]
    conditions = device.conditions()  # first: what follows loads the device itself
    findings += _looked_at("lock", _lock(device))
    if shell is not None:
        findings += _looked_at("environment", _environment(shell))
        findings += _looked_at("runner", _runner(shell))
        findings += _looked_at("free space", _disk(shell))
    else:
        findings += _looked_at("runner", _page(device))
    findings += judge(conditions) if conditions.system else ()
    findings += _limits(conditions, device.target)
    return findings


def _limits(now: Conditions, target: Target) -> Iterator[Finding]:
    """How the device is outside of its target's limits now, and which of them it does not tell enough for."""
    remedy = "Let it cool down or calm down: bench waits for that. Or change [limits] in the target."
    yield from (Finding("warning", "limit", outside, remedy) for outside in violations(now, target, before=True))
    names = ", ".join(unchecked(now, target))
    if names:
        yield Finding("warning", "limit", f"it does not tell enough to check {names}", "Remove them from the target.")


def _looked_at(subject: str, part: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of one part; what stops it is one more."""
    try:
        yield from part
    except (ConnectionLostError, RemoteTimeoutError):
        raise
    except EdgeKitError as error:
        yield Finding("missing", subject, error.what, error.remedy)


def _lock(device: RunnerDevice) -> Iterator[Finding]:
    user = device.holder()
    if user is None:
        yield Finding("ok", "lock", "free")
        return
    yield Finding(
        "warning", "lock", user.told,
        f"Wait (--wait 10m), or ask them. If they are gone for good: edgekit targets unlock {device.target.name}",
    )  # fmt: skip


def _environment(device: Device) -> Iterator[Finding]:
    """What `edgekit provision` brought, if anything."""
    found = installed(device)
    if found is None:
        return
    again = f"Run: edgekit provision {device.target.name}"
    if found.record is None:
        yield Finding("warning", "environment", "its record is damaged", again)
        return
    bad = differing(device, found.record, device.path("env", found.id))
    if bad:
        yield Finding("warning", "environment", f"{len(bad)} files are damaged or gone, such as {bad[0]}", again)
        return
    made, now = found.record.platform, ask_platform(device)
    said = f"{', '.join(found.record.runtimes)}, whole, for {made.text}"
    fits = made.python is None or _fit(made) == _fit(now)
    yield (
        Finding("ok", "environment", said)
        if fits
        else Finding("warning", "environment", f"made for {made.text}; now it is {now.text}", again)
    )


def _fit(platform: Platform) -> tuple[object, ...]:
    return platform.system, platform.machine, platform.libc, platform.abi


def _page(device: RunnerDevice) -> Iterator[Finding]:
    with sensible(device):
        info = device_info(device)
        findings = [*about_page(info["facts"]["values"], info["facts"]["missing"]), *_runtimes(device, info)]
    yield from findings


def _runner(device: Device) -> Iterator[Finding]:
    runner = runner_for(device)
    if runner.kind == "python":
        _need_python(device)
    with sensible(device):
        info = device_info(device)
        values = info["facts"]["values"]
        system = f"{values['os'] or values['kernel']}, {values['machine']}"
        python = values["python"]
    if runner.kind == "native":
        brought = f", with a {values['libc']} that was brought" if runner.loader else ""
        yield Finding("ok", "runner", f"native, {runner.path.stat().st_size / 1e3:.0f} kB{brought}; {system}")
    else:
        yield Finding("ok", "Python", f"{python}, {system}")
    if runner.kind == "python" and device.target.runner == "auto":
        _add_native(device, info["runtimes"])
    yield from _runtimes(device, info)


def _add_native(device: Device, runtimes: dict[str, dict[str, Any]]) -> None:
    """What Python does not have there, and the native runner would."""
    if all("package" in found for found in runtimes.values()):
        return
    for name, paths in natively_served(device).items():
        if "package" not in runtimes.get(name, {}):
            runtimes[name] = {"package": f"the native runner's {paths[0]}", "version": ""}


def _need_python(device: Device) -> None:
    python = device.target.python
    if device.run([python, "--version"], step="asking for Python").code != 0:
        raise RunnerError(
            f"{python} does not run there.",
            remedy="Install Python 3.8 or newer, or set `python` in the target, or take --runner native.",
        )


def _runtimes(device: RunnerDevice, info: dict[str, Any]) -> Iterator[Finding]:
    runtimes: dict[str, dict[str, Any]] = info["runtimes"]
    if not any("package" in found for found in runtimes.values()):
        whose = "there is none of" if info["python"] is None else "its Python has none of"
        told = [f"{name}: {found['reason']}" for name, found in runtimes.items()]
        why = "; ".join(one for one in told if "No module named" not in one)  # one that is there, and broken
        said = f"{whose} {', '.join(runtimes)}{f' ({why})' if why else ''}"
        yield Finding("missing", "runtime", said, install_remedy(device, "litert"))
        return
    for name, found in runtimes.items():
        if "package" in found:
            yield Finding("ok", f"runtime {name}", _package(found))
        else:
            yield Finding("absent", f"runtime {name}", found["reason"])


def _package(found: dict[str, Any]) -> str:
    version = "(version unknown)" if found["version"] is None else found["version"]
    return f"{found['package']} {version}".strip()


def _disk(device: Device) -> Iterator[Finding]:
    answer = device.run(["df", "-Pk", device.root], step="asking for free space")
    words = answer.stdout.decode(errors="replace").splitlines()[-1:] or [""]
    fields = words[0].split()
    if answer.code != 0 or len(fields) < 4 or not fields[3].isdigit():
        yield Finding("warning", "free space", "the device does not tell")
        return
    free = int(fields[3]) * 1024
    if free < MIN_FREE_BYTES:
        yield Finding("warning", "free space", f"{free / 1e6:.0f} MB", "Make room, or move `root` in the target.")
    else:
        yield Finding("ok", "free space", f"{free / 1e9:.1f} GB")

"""The runner on the device: sends one request, reads its events (docs/formats/runner-protocol.md).

Whatever else comes out of the device is an error that quotes it: a runner that says nothing sensible measures nothing
sensible. A failed golden check is no error here; its event is among those returned, and the caller decides.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from edgekit import plugins
from edgekit.devices.events import MAX_BYTES, MAX_EVENTS, parse_event
from edgekit.devices.fitting import too_old
from edgekit.devices.runners import install_remedy
from edgekit.errors import RemoteTimeoutError, RunnerError, RuntimeMissingError
from edgekit.runner import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.devices.process import Completed
    from edgekit.devices.runner_device import RunnerDevice
    from edgekit.devices.runners import Runner

TOTAL_TIMEOUT_S = 4 * 3600.0
_QUOTED = 300


def run_request(
    device: RunnerDevice,
    request: dict[str, Any],
    *,
    idle_timeout_s: float,
    total_timeout_s: float = TOTAL_TIMEOUT_S,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    passing: frozenset[str] = frozenset(),
    runtime: str = "",
) -> list[dict[str, Any]]:
    """Runs one request in a fresh process on the device and returns all its events, `hello` to `done`.

    Args:
        device: where.
        request: the request without its schema, such as `{"do": "info", "runtimes": ["litert"]}`.
        idle_timeout_s: how long the runner may say nothing.
        total_timeout_s: how long it may take, whatever it says.
        on_event: told each event as it comes.
        passing: names of large events, which `on_event` alone gets: they are not among those returned, and how many
            bytes they may take together is not bounded here.
        runtime: whose runner answers, if the request does not say it.

    Raises:
        RuntimeMissingError: the device has no runtime for the request.
        RunnerError: the runner failed, ended early, or said what is no event.
        RemoteTimeoutError: it said nothing for too long, or nothing but signs of life; it was ended.
        ConnectionLostError: the link went down.
    """
    runner = device.runner(runtime or request.get("runtime", ""))
    asked = {"schema": SCHEMA, **request, **runner.fields}
    step = f"running the runner ({request.get('do')})"
    events: list[dict[str, Any]] = []
    end = time.monotonic() + total_timeout_s
    with device.start(runner, asked, idle_timeout_s=idle_timeout_s, step=step) as lines:
        received = 0
        for count, line in enumerate(lines, start=1):
            event = _parse(device, runner, line)
            if event["event"] not in passing:
                received += len(line)
                events.append(event)
            if received > MAX_BYTES or count > MAX_EVENTS or time.monotonic() > end:
                raise _endless(device, step, received, count)
            if event["event"] == "error":
                raise _failure(device, runner, request, event)
            if on_event is not None:
                on_event(event)
            device.keep_lock()
        completed = lines.wait()
    if not events or events[-1]["event"] != "done":
        raise _ended_early(device, runner, request, completed, events)
    return events


def device_info(device: RunnerDevice, *, timeout_s: float = 180) -> dict[str, Any]:
    """Facts and runtimes of a device. Each runtime is imported to be found: a slow board takes its time for that.

    Returns:
        `{"python": path, "facts": {"values": ..., "missing": ...}, "runtimes": {name: {"package", "version"} or
        {"reason": why there is none}}}`

    Raises:
        DeviceError: as `run_request`.
    """
    events = run_request(device, {"do": "info", "runtimes": plugins.names("runtime")}, idle_timeout_s=timeout_s)
    info: dict[str, Any] = {"python": None, "facts": {"values": {}, "missing": {}}, "runtimes": {}}
    for event in events:
        if event["event"] == "hello":
            info["python"] = event.get("python")
        elif event["event"] == "facts":
            info["facts"] = {"values": event.get("values", {}), "missing": event.get("missing", {})}
        elif event["event"] == "runtime":
            info["runtimes"][event["name"]] = {"package": event.get("package"), "version": event.get("version")}
        elif event["event"] == "no-runtime":
            info["runtimes"][event["name"]] = {"reason": event.get("reason")}
    return info


def _parse(device: RunnerDevice, runner: Runner, line: str) -> dict[str, Any]:
    event = parse_event(line)
    if event is not None:
        return event
    remedy = "Check that `python` in the target is a Python 3.8 or newer, and that nothing prints at its start."
    if runner.kind == "browser":
        remedy = "Check what the page at this address is, and that nothing changes it on its way."
    raise RunnerError(f"{device.name} sent a line that is no event of the runner: {line[:_QUOTED]!r}.", remedy=remedy)


def _failure(
    device: RunnerDevice, runner: Runner, request: dict[str, Any], event: dict[str, Any]
) -> RunnerError | RuntimeMissingError:
    message = str(event.get("message", "no reason given"))[: 2 * _QUOTED].rstrip(".")
    if event.get("kind") == "runtime-missing":
        runtime = str(_asked(request, event).get("runtime"))
        return RuntimeMissingError(
            f"{device.name} has no runtime {runtime!r}: {message}.",
            remedy=install_remedy(device, runtime, has_python=runner.kind == "python"),
        )
    remedy = (
        too_old(message) or "Check the artifact with `edgekit verify`, and the runtime's version with `edgekit doctor`."
    )
    refused = event.get("kind") != "failed" or "shape that varies" in message
    if runner.kind == "native" and refused:
        remedy = "The native runner cannot do that; the Python runner can, where there is a Python: --runner python."
    return RunnerError(f"The runner failed on {_lower(device.name)} ({event.get('kind')}): {message}.", remedy=remedy)


def _asked(request: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """The request that an event answers: one of two, if they take turns."""
    side, requests = event.get("side"), request.get("requests")
    if requests is None or side not in (0, 1):
        return request
    asked: dict[str, Any] = json.loads(requests[side])
    return asked


def _endless(device: RunnerDevice, step: str, received: int, events: int) -> RemoteTimeoutError:
    return RemoteTimeoutError(
        f"{device.name} did not come to an end while {step}: it sent {events} events ({received / 1e6:.0f} MB).",
        remedy="The runner was ended. Check what runs there in its place (`edgekit doctor`), and run it again.",
    )


def _ended_early(
    device: RunnerDevice, runner: Runner, request: dict[str, Any], completed: Completed, events: list[dict[str, Any]]
) -> RunnerError:
    said = completed.stderr.decode("utf-8", "replace").strip()[-2 * _QUOTED :]
    last = f"after its {events[-1]['event']!r} event" if events else "before its first event"
    if not events and runner.kind == "native":
        remedy = (
            "The native runner does not start there: its root must be on a file system that lets programs run, and the "
            "system needs glibc. --runner python does without it, where there is a Python."
        )
    elif not events and completed.code in (126, 127):
        remedy = "Install Python 3.8 or newer there, or set `python` in the target to its path."
    elif (old := too_old(said)) is not None:
        remedy = old
    elif completed.code == 137:
        remedy = "It was killed, most likely for want of memory: free some, or take a smaller artifact."
        if request.get("do") == "turns":
            remedy += " turn_s = 0 in the target's [bench] keeps a gate from loading both at once."
    else:
        remedy = (
            "Run `edgekit doctor` on it, and check that its Python is 3.8 or newer and its runtime fits its system."
        )
    return RunnerError(
        f"The runner on {_lower(device.name)} ended {last} with exit status {completed.code}: "
        f"{said or 'it said nothing'}.",
        remedy=remedy,
    )


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]

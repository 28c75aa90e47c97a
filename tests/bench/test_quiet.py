"""The guard before a block: a device with other load is not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench import measure
from edgekit.devices import connect
from edgekit.errors import DeviceBusyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.artifact import Artifact
    from edgekit.devices import Completed, Device, Target


def limited(target: Target, limit: float) -> Target:
    return msgspec.structs.replace(target, bench=msgspec.structs.replace(target.bench, max_load_1min=limit))


def telling(monkeypatch: pytest.MonkeyPatch, device: Device, *loads: str) -> list[str]:
    """Makes the device tell these loads, one after the other; returns those that are not told yet."""
    answers, real = list(loads), device.run

    def run(argv: Sequence[str], **more: Any) -> Completed:
        done = real(argv, **more)
        return msgspec.structs.replace(done, stdout=answers.pop(0).encode()) if "/proc/loadavg" in argv else done

    monkeypatch.setattr(device, "run", run)
    return answers


def test_a_loaded_device_is_given_up(target: Target, tiny_artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "QUIET_WAIT_S", 0.0)
    with connect(limited(target, 1.5)) as device:
        telling(monkeypatch, device, "2.25 1 1 1/100 1")
        with pytest.raises(DeviceBusyError, match=r"load of 2\.25, above the 1\.5 .*Nothing was measured"):
            measure.bench(device, tiny_artifact, threads=1, blocks=1)


def test_it_is_waited_for(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "QUIET_POLL_S", 0.01)
    with connect(limited(target, 5.0)) as device:
        left = telling(monkeypatch, device, "9.0 1 1", "7.5 1 1", "4.9 1 1", "never asked")
        measure._wait_for_quiet(device)
    assert left == ["never asked"]


def test_a_device_that_does_not_tell_is_measured(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(limited(target, 0.5)) as device:
        telling(monkeypatch, device, "")
        measure._wait_for_quiet(device)


def test_no_limit_asks_nothing(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(target) as device:
        monkeypatch.setattr(device, "run", None)
        measure._wait_for_quiet(device)

"""Extra runs beside the timed blocks: a profile, and a sustained run. Neither is ever mixed with them.

They come after the blocks, the sustained run last, because it heats the device. What an extra run does not give costs
the blocks nothing: the Run is kept, with the reason in the extra's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edgekit.bench.guards import await_limits
from edgekit.bench.profile import Profile, profile
from edgekit.bench.sustained import Sustained, nothing, sustain
from edgekit.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from edgekit.bench.measure import Prepared
    from edgekit.bench.run import Run
    from edgekit.devices import RunnerDevice


@dataclass(frozen=True)
class Extras:
    """What to run beside the blocks: for how long, if at all, sustained; and whether to profile."""

    sustained_s: float | None = None
    profile: bool = False


def add_extras(
    device: RunnerDevice, prepared: Prepared, run: Run, extras: Extras, on_event: Callable[[dict[str, Any]], None]
) -> Run:
    """The Run with its extra runs; the caller holds the device's lock. A failure becomes the extra's `because`."""
    if extras.profile:
        run = msgspec.structs.replace(run, profile=_profiled(device, prepared, on_event))
    if extras.sustained_s is not None:
        run = msgspec.structs.replace(run, sustained=_sustained(device, prepared, extras.sustained_s, on_event))
    return run


def _profiled(device: RunnerDevice, prepared: Prepared, on_event: Callable[[dict[str, Any]], None]) -> Profile:
    try:
        return profile(device, prepared, on_event)
    except DeviceError as error:
        return Profile((), because=error.what)


def _sustained(
    device: RunnerDevice, prepared: Prepared, seconds: float, on_event: Callable[[dict[str, Any]], None]
) -> Sustained:
    try:
        _, outside = await_limits(
            device, prepared.patience, lambda because: on_event({"event": "waiting", "because": because})
        )
        return nothing(seconds, outside) if outside else sustain(device, prepared, seconds, on_event)
    except DeviceError as error:
        return nothing(seconds, error.what)

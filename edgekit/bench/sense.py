"""What a device says of a measurement, held against what can be: types, and that it is one and the same start of it.

Events come from programs on the device, which may be broken or somebody else's. Their fields are used as if they were
right, inside `sensible`, and what was made of them is checked at the end by `whole`: a wrong type, a number that no
clock gives or a missing field is one error that names the device, never a traceback, and never a file.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from edgekit.devices.device import connect_runner
from edgekit.errors import DeviceError, RebootedError, RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices import RunnerDevice

Value = TypeVar("Value", bound=msgspec.Struct)


@contextmanager
def sensible(device: RunnerDevice) -> Iterator[None]:
    """Turns whatever an event's content breaks in the block into an error that names the device.

    Raises:
        RunnerError: instead of a wrong type, a missing field or a number out of bounds.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, msgspec.MsgspecError) as error:
        what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise RunnerError(
            f"The runner on {device.name[0].lower()}{device.name[1:]} sent events that make no sense: "
            f"{what[:300].rstrip('.')}.",
            remedy="Nothing of it was kept. Check what runs there in the runner's place, and run it again.",
        ) from error


_LOOKING = threading.Lock()
"""msgspec 0.22 crashes when two threads look at a type for the first time at once, as `bench --on label=...` may."""


def whole(value: Value) -> Value:
    """The same value, with the types that its fields are declared with.

    Raises:
        msgspec.MsgspecError, OverflowError, ...: it has others; use it in `sensible`.
    """
    with _LOOKING:
        return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


def whole_runtime(event: dict[str, Any]) -> dict[str, Any]:
    """A `runtime` event whose name and package are text, and its version text or nothing.

    Raises:
        TypeError: they are not; use it in `sensible`.
    """
    for field in ("name", "package", "version"):
        if not isinstance(event[field], str) and (field != "version" or event[field] is not None):
            raise TypeError(f"its runtime's {field} is {event[field]!r}"[:200])
    return event


def same_boot(device: RunnerDevice, boot_id: object, step: str) -> None:
    """Remembers the first boot id of a connection, and refuses another one. A device that tells none is believed.

    Raises:
        RebootedError: it is another one.
    """
    if not isinstance(boot_id, str) or not boot_id:
        return
    if device.boot_id is None:
        device.boot_id = boot_id
    if device.boot_id != boot_id:
        raise _rebooted(device, boot_id, step)


def rebooted_meanwhile(device: RunnerDevice, step: str) -> RebootedError | None:
    """Asks a device that was lost, once and within the bound for connecting, whether it has started anew.

    None where that cannot be told: it does not answer (yet), or was lost before it told its first boot id.
    """
    if device.boot_id is None:
        return None
    try:
        with connect_runner(device.target) as again:
            boot_id = again.ask_boot_id()
    except DeviceError:
        return None
    return _rebooted(device, boot_id, step) if boot_id and boot_id != device.boot_id else None


def _rebooted(device: RunnerDevice, boot_id: str, step: str) -> RebootedError:
    return RebootedError(
        f"{device.name} rebooted while {step}: its boot id was {str(device.boot_id)[:8]} and is {boot_id[:8]} now. "
        "What was measured before and after is not one run; nothing of it was kept.",
        remedy="Check its power supply, its temperature and its kernel's log, let it settle, and run it again.",
    )

"""Energy: what an inference costs in joules, where the device has a counter.

The runner measures what the device takes during the sampling of a block, and for a second before it loads the model,
while it sleeps. Both are kept. What an inference costs is the difference: without the model, the device would have
taken the idle part as well. On a device that nobody else uses, that is what the battery pays for it.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured around the samples of a block.

    source: such as `powercap`. joules: all that the device took in `seconds`, in which `invokes` inferences ran.
    idle_w: watts while the runner slept. What was not measured is None, `because` of something.
    """

    source: str | None
    joules: float | None
    idle_w: float | None
    seconds: float
    invokes: int
    because: str | None = None

    @property
    def gross_j(self) -> float | None:
        """Joules per inference, with what the device takes anyway."""
        return None if self.joules is None or not self.invokes else self.joules / self.invokes

    @property
    def net_j(self) -> float | None:
        """Joules per inference beyond what the device takes when idle; None where that is not known."""
        if self.joules is None or self.idle_w is None or not self.invokes:
            return None
        return (self.joules - self.idle_w * self.seconds) / self.invokes


def read_energy(event: dict[str, Any] | None) -> Energy:
    """From the runner's `energy` event; a runner that sends none does not know."""
    if event is None:
        return Energy(None, None, None, 0.0, 0, "this runner does not tell")
    return msgspec.convert({name: value for name, value in event.items() if name != "event"}, Energy)


def middle_net_j(found: list[Energy]) -> float | None:
    """The median of blocks, in joules per inference; None if no block has it."""
    known = sorted(one for one in (energy.net_j for energy in found) if one is not None)
    if not known:
        return None
    half = len(known) // 2
    return known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2

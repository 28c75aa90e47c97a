"""Delegation: what was asked to execute a model, and what did.

A runtime hands what it can to a delegate (an execution provider, a backend) and executes the rest itself. A delegate
that takes nothing slows nothing down and breaks nothing; it is only that the figures are of something else than was
asked for. So it is recorded with each block, and told loudly.
"""

from __future__ import annotations

from typing import Any

import msgspec

PLAIN = frozenset({"none", "CPUExecutionProvider"})
"""What can be asked for that takes no operator, by design."""
_SHOWN = 4


class Backend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A delegate, how many of the model's operators it executes, and in how many partitions."""

    name: str
    operators: int
    partitions: int


class Delegation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was asked for (None: the runtime's own choice), and what took what.

    operators: all that the model has. left: by type, those that no backend took and the runtime's own kernels execute.
    because: why any of it is not known.
    """

    asked: str | None
    backends: tuple[Backend, ...]
    operators: int | None
    left: dict[str, int] | None
    because: str | None = None

    @property
    def delegated(self) -> int:
        """How many operators backends execute."""
        return sum(backend.operators for backend in self.backends)

    @property
    def ignored(self) -> bool:
        """Whether a delegate was asked for, and nothing was handed over."""
        return self.asked is not None and self.asked not in PLAIN and self.operators is not None and not self.delegated

    @property
    def told(self) -> str:
        """For people: `xnnpack: 29 of 31 operators in 2 partitions; left: RESHAPE ×2`."""
        if self.operators is None:
            return f"not known: {self.because}"
        parts = [
            f"{b.name}: {b.operators} of {self.operators} operators in {b.partitions} "
            f"partition{'s' * (b.partitions != 1)}"
            for b in self.backends
        ]
        if not parts:
            wanted = f"{self.asked} took none of" if self.ignored else "the runtime's own kernels execute all"
            return f"{wanted} {self.operators} operators"
        left = sorted((self.left or {}).items(), key=lambda one: (-one[1], one[0]))
        shown = ", ".join(f"{name} ×{count}" for name, count in left[:_SHOWN])
        more = f" and {len(left) - _SHOWN} more kinds" if len(left) > _SHOWN else ""
        return "; ".join(parts) + (f"; left: {shown}{more}" if left else "")


def read_delegation(event: dict[str, Any] | None) -> Delegation:
    """From the runner's `delegation` event; a runner that sends none does not know."""
    if event is None:
        return Delegation(None, (), None, None, "this runner does not tell")
    fields = {name: value for name, value in event.items() if name != "event"}
    return msgspec.convert(fields, Delegation)

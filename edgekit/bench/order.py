"""In which order two artifacts take turns on a device.

Blocks come in fours, ABBA or BAAB, drawn at random with a recorded seed. Whatever drifts steadily (heat, a battery)
weighs on both sides alike within each four, and whatever comes at regular times meets no regular pattern.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Side = Literal["baseline", "candidate"]
Pair = tuple[Side, Side]

_AB: Pair = ("baseline", "candidate")
_BA: Pair = ("candidate", "baseline")


def pairs(seed: int) -> Iterator[Pair]:
    """Pairs without end: who is first, who second. The same seed gives the same order."""
    draw = random.Random(seed)  # noqa: S311 - an order of measurement, not a secret
    while True:
        first, second = (_AB, _BA) if draw.random() < 0.5 else (_BA, _AB)
        yield first
        yield second

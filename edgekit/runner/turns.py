"""Two processes that take turns on one device: what a process of the two does (docs/formats/runner-protocol.md).

A device whose speed changes within a second (a neighbour, a frequency, heat) is not the same device for two blocks that
follow each other. In turns of a few milliseconds it is: whatever lasts longer than that weighs on both sides alike, and
is gone from the ratio of the two, turn by turn. The turn is a byte in a pipe, so that only one of them ever works.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from typing import TYPE_CHECKING

from .measure import timed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MORE, ENOUGH, OVER = b"m", b"e", b"x"
LOOK_MS = 500
"""How often who waits looks whether anybody is left to wait for."""
GRACE_S = 5
"""How long who was left alone waits to be ended: why the other one is gone is not for this one to say."""
_ALONE = "the other process of the pair ended"


class Turn:
    """The right to work: `first` begins. `take` waits for it, `give` passes it on."""

    def __init__(self, first: bool, take: int, give: int) -> None:
        self.first = first
        self._take, self._give = take, give
        self._parent = os.getppid()

    @classmethod
    def of(cls, text: str) -> Turn:
        """From `ROLE,TAKE,GIVE`. Raises ValueError for anything else."""
        role, take, give = text.split(",")
        if role not in ("first", "second"):
            raise ValueError("no role: %r" % role)
        return cls(role == "first", int(take), int(give))

    def take(self) -> bytes:
        """Waits for the turn, without a word; what the other side gave with it.

        Raises:
            EOFError: the other side is gone.
        """
        poll = select.poll()
        poll.register(self._take, select.POLLIN)
        while not poll.poll(LOOK_MS):
            if os.getppid() != self._parent:
                sys.exit(1)  # nobody listens any more
        given = os.read(self._take, 1)
        if not given:
            time.sleep(GRACE_S)
            raise EOFError(_ALONE)
        return given

    def give(self, what: bytes) -> None:
        """Passes it on. Raises EOFError: the other side is gone."""
        try:
            os.write(self._give, what)
        except BrokenPipeError as error:
            time.sleep(GRACE_S)
            raise EOFError(_ALONE) from error


def sample(
    turn: Turn,
    invoke: Callable[[], object],
    turn_ns: int,
    bounds: Sequence[int],
    heartbeat: Callable[[], object],
) -> tuple[list[int], list[int]]:
    """Samples, turn by turn, until both sides have enough.

    Args:
        turn: given away already.
        invoke: what is timed; once a turn it is not, because the other side has had the caches.
        turn_ns: how long a turn is, from its first sample on; one sample at least.
        bounds: `min_samples`, `min_ns`, `max_ns`: enough is the first two, or the third, of all turns together.
        heartbeat: called after every sample.

    Returns:
        (samples in ns, how many of them each turn has)
    """
    min_samples, min_ns, max_ns = bounds
    clock = time.perf_counter_ns
    samples, turns, spent = [], [], 0  # type: list[int], list[int], int
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        while True:
            given = turn.take()
            if given == OVER:
                return samples, turns
            invoke()
            before, began = len(samples), clock()
            while len(samples) == before or clock() - began < turn_ns:
                samples.extend(timed(invoke, 1))
                heartbeat()
            turns.append(len(samples) - before)
            spent += clock() - began
            enough = (len(samples) >= min_samples and spent >= min_ns) or spent >= max_ns
            if not turn.first and enough and given == ENOUGH:
                turn.give(OVER)
                return samples, turns
            turn.give(ENOUGH if turn.first and enough else MORE)
    finally:
        if was_enabled:
            gc.enable()

"""The open window: what was counted so far, since when, and when it is over. Whoever uses it has the lock."""

from __future__ import annotations

import math
import os

from .recorder import Observed, Recorder
from .records import TYPE_CHECKING
from .window import Window

if TYPE_CHECKING:
    from typing import Any

    from .bootstrap import Bootstrap
    from .reference import Reference
    from .settings import Settings

MOST_INFERENCES = 1 << 31
"""Counters have 32 bits: a window that would come near is sealed."""
CLOCK_EVERY = 16
"""Without a keeper, the clock is looked at after so many inferences."""
_NO_REFERENCE = "0" * 64


class OpenWindow:
    """Counts calls, and turns them into windows that `sealed` collects."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.boot = os.urandom(16).hex()
        self.seq = 0
        self.device = settings.device or "unknown"
        self.reference = settings.reference
        self.made: Reference | None = None
        """A reference that was made here and is not saved yet."""
        self.sealed: list[Window] = []
        self.wake: Any = None
        """What to call when one begins, ends, or when a checkpoint is due; it must not wait."""
        self.recorder: Recorder | Bootstrap
        self._bootstrap: Bootstrap | None = None
        self._previous: Observed | None = None
        self._begin_recording()
        self._clear()

    def _begin_recording(self) -> None:
        way = self.settings.way
        if self.reference is None:
            from .bootstrap import Bootstrap

            self.recorder = self._bootstrap = Bootstrap(way)
        else:
            self.recorder, self._bootstrap = Recorder(self.reference, way), None
        self.straight = self.recorder.straight
        """The counter whose `tick` needs no lock; when it is true, `on_due` is to be called, with the lock."""

    def _clear(self) -> None:
        self._so_far: Observed | None = None
        self._start_wall_ns = self._start_ns = 0
        self._ends_wall_ns = 0
        self._started = False
        self._set_due(1)  # the first observation begins it

    def use(self, reference: Reference) -> None:
        """A reference from an earlier run, before anything was counted."""
        if self.reference is None and not self._started:
            self.reference = reference
            self._begin_recording()

    def fresh(self) -> OpenWindow:
        """Another one for the same model, that has counted nothing: for the child of a fork."""
        window = OpenWindow(self.settings._replace(reference=self.reference))
        window.device = self.device
        return window

    def observe(self, inputs: Any, outputs: Any, latency_ns: float | None, error: Any) -> None:
        """Counts one call.

        Raises:
            Exception: it does not fit, and nothing was counted.
        """
        self.recorder.observe(inputs, outputs, latency_ns, error)
        if self.recorder.inferences >= self.due:
            self.on_due()

    def dropped(self) -> None:
        """One call that did not fit."""
        if not self._started:
            self._start()
        self.recorder.dropped += 1

    def _start(self) -> None:
        clock = self.settings.clock
        self._start_wall_ns, self._start_ns = clock.wall_ns(), clock.monotonic_ns()
        length = max(1, int(self.settings.window_s * 1e9))
        self._ends_wall_ns = (self._start_wall_ns // length + 1) * length
        self._started = True
        if self.wake is not None:
            self.wake()

    def is_over(self) -> bool:
        """Whether its time is over, by either clock."""
        return self._started and self.left_s() <= 0

    def left_s(self) -> float:
        """Seconds until its time is over, by the clock that says so first."""
        if not self._started:
            return math.inf
        clock = self.settings.clock
        by_wall = (self._ends_wall_ns - clock.wall_ns()) / 1e9
        return min(by_wall, self.settings.window_s - (clock.monotonic_ns() - self._start_ns) / 1e9)

    def _set_due(self, inferences: int) -> None:
        self.due = inferences
        if self.straight is not None:
            self.straight.due = max(1, inferences - self.recorder.others)

    def on_due(self) -> None:
        """Begins the window with its first inference, ends it with its last, and has checkpoints written between."""
        if not self._started:
            self._start()
        if self.straight is not None:
            self.straight.settle()
        inferences = self.recorder.inferences
        before = 0 if self._so_far is None else self._so_far.inferences
        most = (self.settings.window_count or MOST_INFERENCES) - before
        self._set_due(most)
        if inferences >= most:
            self.seal()
        elif self._bootstrap is not None:
            return
        elif not self.settings.background:
            if self.is_over():
                self.seal()
            else:
                self._set_due(min(most, inferences + CLOCK_EVERY))
        elif inferences < self.settings.checkpoint_count:
            self._set_due(min(most, self.settings.checkpoint_count))
            return
        if self.wake is not None:
            self.wake()

    def uncounted(self) -> int:
        """Inferences since the last snapshot."""
        return self.recorder.inferences

    def _take(self) -> Observed | None:
        if not isinstance(self.recorder, Recorder):
            return None
        observed = self.recorder.take()
        self._so_far = observed if self._so_far is None else self._so_far.merge(observed)
        self._set_due(1)  # the next observation finds out what is due now
        return self._so_far

    def snapshot(self) -> Window | None:
        """The window as it is now, for a checkpoint; None if nothing was counted (or no cells are there yet)."""
        if not self._started:
            return None
        observed = self._take()
        return None if observed is None else self._window(observed)

    def seal(self) -> None:
        """Ends it, if anything was observed: it goes to `sealed`, and the next call begins another one."""
        if not self._started:
            return
        if self._bootstrap is not None:
            try:
                made = self._bootstrap.finish(self.settings.model, self.device)
            except Exception:
                made = None
            if made is None:
                self._begin_recording()
                self._clear()
                return
            self.reference = self.made = made[0]
            observed: Observed | None = made[1]
            self._begin_recording()
        else:
            observed = self._take()
        if observed is not None:
            self.sealed.append(self._window(observed))
            self._previous = None if self.made is not None else observed  # it would be compared with itself
        self.seq += 1
        self._clear()

    def _window(self, observed: Observed) -> Window:
        clock, settings = self.settings.clock, self.settings
        return observed.put(
            Window(
                self.device,
                self.boot,
                self.seq,
                settings.model,
                settings.artifact,
                self.reference.id if self.reference is not None else _NO_REFERENCE,
                self._start_wall_ns,
                clock.wall_ns(),
                clock.monotonic_ns() - self._start_ns,
                clock.synced(),
                self.reference is not None and self.reference.bootstrapped,
                settings.labels,
            )
        )

    def recent(self, enough: int) -> tuple[Reference | None, Observed | None]:
        """The reference, and the counts of this window; below `enough` inferences together with the one before."""
        now = self._take() if self._started else None
        if now is None or self._previous is None or now.inferences >= enough:
            return self.reference, now or self._previous
        return self.reference, self._previous.merge(now)

    def status(self) -> dict[str, Any]:
        """What it is of, and how much it has seen."""
        done = 0 if self._so_far is None else self._so_far.inferences
        dropped = 0 if self._so_far is None else self._so_far.dropped
        return {
            "device": self.device,
            "model": self.settings.model,
            "artifact": self.settings.artifact,
            "reference": None if self.reference is None else self.reference.id,
            "bootstrapped": self.reference is None or self.reference.bootstrapped,
            "inferences": done + self.recorder.inferences,
            "dropped": dropped + self.recorder.dropped,
        }

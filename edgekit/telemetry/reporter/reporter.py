"""Reporter: three calls in the user's program, and two threads behind them.

    Reporter.open(artifact)     reads the reference, takes up what an earlier run left
    reporter.observe(x, y)      counts; never raises, never waits for a disk or a network
    reporter.close()            seals the window and writes it; tries to send what waits

`observe` shares a lock with the threads that is only ever held for work in memory. The keeper (a daemon thread) writes
checkpoints, seals windows when their time is over, and hands them to the outbox, whose journal is on the disk. The
sender (another one, if there is a collector) sends what the outbox has. Both live in `background`. Without them
(`background=False`, for programs that sleep) the program calls `flush` when it suits.

After a fork the child counts from zero, under a new boot and in a folder of its own; what the parent had stays its own.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from contextlib import suppress

from .background import Background
from .clock import Clock
from .distance import DRIFT, N_MIN, THETA, FeatureDrift, judge
from .opening import OpenWindow
from .outbox import QUEUE_BYTES
from .records import TYPE_CHECKING, NamedTuple
from .settings import settings_of

if TYPE_CHECKING:
    from typing import Any, Mapping

    from typing_extensions import Self

    from .reference import Reference
    from .settings import Settings

CLOSE_S = 5.0
_ALL: weakref.WeakSet[Reporter] = weakref.WeakSet()


class Drift(NamedTuple):
    """What the device itself says: by the same rule as the checker, over the window that is open; while it has
    few inferences, together with the one before.

    Attributes:
        drifted: whether any input or output feature has.
        features: one entry a feature; empty while a device without a reference is making one.
        inferences: how many calls the counts are of.
    """

    drifted: bool
    features: tuple[FeatureDrift, ...]
    inferences: int


class Reporter:
    """See the module. Made by `open`; safe to use from several threads, and as a context manager."""

    def __init__(self, settings: Settings) -> None:
        """For `open`."""
        self.settings = settings
        self._lock = threading.RLock()
        self._window = OpenWindow(settings)
        self._background = Background(settings, self._window, self._lock)
        self._closed = False
        self._last_error = ""
        _ALL.add(self)
        self._background.open_state()
        if settings.background:
            self._background.start()

    @classmethod
    def open(
        cls,
        source: Reference | str | os.PathLike[str] | None = None,
        *,
        model: str = "",
        artifact: str = "",
        state: str | os.PathLike[str] | None = None,
        device: str = "",
        collector: str = "",
        token: str = "",
        key_id: str = "",
        key: bytes = b"",
        labels: Mapping[str, str] | None = None,
        window_s: float = 3600.0,
        window_count: int = 0,
        checkpoint_s: float = 60.0,
        checkpoint_count: int = 1000,
        queue_bytes: int = QUEUE_BYTES,
        background: bool = True,
        way: str | None = None,
        clock: Clock | None = None,
    ) -> Reporter:
        """Begins to report.

        Args:
            source: an artifact's folder, a reference.json, or a `Reference`; None makes cells from the first window.
            model: the model's name; only needed without a reference.
            artifact: the artifact's id, if it is not told by `source`.
            state: a directory of its own for what must survive; by default below EDGEKIT_STATE or the user's state.
            device: the device's name; by default the one that it enrolled as, or a random one that it keeps.
            collector: its address, such as https://telemetry.example.com; empty: nothing is sent.
            token: enrols the device, once, where it has no key yet.
            key_id, key: its key, if it was not enrolled by a token.
            labels: at most 16, such as {"app": "1.4.2", "cohort": "beta"}.
            window_s: length of a window; windows end at its multiples on the wall clock.
            window_count: ends a window after so many inferences as well, if above 0.
            checkpoint_s, checkpoint_count: the open window is written after so many seconds or inferences, and at
                most once a second.
            queue_bytes: bound of what waits to be sent; older windows are merged to stay below.
            background: False for a program that calls `flush` itself.
            way: "native", "numpy" or "stdlib" counting; None takes the fastest there is.
            clock: the system's clocks, unless a test brings its own.

        Raises:
            ReporterError: settings or a reference that cannot be used. A state directory that cannot be written is no
                reason: `status()["trouble"]` tells of it.
        """
        return cls(
            settings_of(
                source,
                model=model,
                artifact=artifact,
                state=state,
                device=device,
                collector=collector,
                token=token,
                key_id=key_id,
                key=key,
                labels=labels,
                window_s=window_s,
                window_count=window_count,
                checkpoint_s=checkpoint_s,
                checkpoint_count=checkpoint_count,
                queue_bytes=queue_bytes,
                background=background,
                way=way,
                clock=Clock() if clock is None else clock,
            )
        )

    def observe(self, inputs: Any, outputs: Any = None, latency_ns: float | None = None, error: Any = None) -> None:
        """Counts one call of the model.

        Args:
            inputs: what went in: a value, or a mapping from the names of tensors; None if that is not known.
            outputs: what came out, likewise.
            latency_ns: how long it took.
            error: anything but None or False if the call failed.

        What does not fit is counted as dropped, and `status()["last_error"]` tells why.
        """
        straight = self._window.straight
        if straight is not None and outputs is None and latency_ns is None and error is None:
            try:
                due = straight.tick(inputs)
            except Exception:
                due = None
            if due is not None:
                if due:
                    self._on_due()
                return
        try:
            with self._lock:
                self._window.observe(inputs, outputs, latency_ns, error)
        except Exception as problem:
            self._drop(problem)

    def _on_due(self) -> None:
        try:
            with self._lock:
                self._window.on_due()
        except Exception as problem:
            self._last_error = "%s: %.300s" % (type(problem).__name__, problem)

    def _drop(self, problem: Exception) -> None:
        with self._lock:
            self._window.dropped()
            self._last_error = "%s: %.300s" % (type(problem).__name__, problem)

    def drift(self, *, theta: float = THETA, n_min: int = N_MIN) -> Drift:
        """Judges the window that is open against the reference; below `n_min` inferences with the one before."""
        with self._lock:
            reference, observed = self._window.recent(n_min)
        if reference is None or observed is None:
            return Drift(False, (), 0)
        found = tuple(
            [
                judge(feature, counts.cells, theta=theta, n_min=n_min)
                for feature, counts in zip(reference.features, observed.features)
            ]
        )
        return Drift(any(each.verdict == DRIFT for each in found), found, observed.inferences)

    def flush(self, timeout_s: float = 30.0, *, seal: bool = False) -> bool:
        """Writes what was counted and sends what waits, here and now; tells whether nothing waits any more.

        Args:
            timeout_s: bound for the sending, beside the one request that is under way.
            seal: ends the window first, whatever its time.
        """
        with self._lock:
            if seal:
                self._window.seal()
        self._background.keep(checkpoint=True)
        return self._background.send(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Seals the window, writes it, tries for `timeout_s` to send what waits. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(Exception):
                self._window.seal()
        _ALL.discard(self)
        self._background.stop(timeout_s)

    def status(self) -> dict[str, Any]:
        """For logs and people: what it reports as, what waits, and what is wrong."""
        with self._lock:
            state = dict(self._window.status(), last_error=self._last_error, closed=self._closed)
        return dict(state, **self._background.status())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._window = self._window.fresh()
        self._background = Background(self.settings, self._window, self._lock, forked_from=self._background)


def _after_fork_in_child() -> None:
    for reporter in list(_ALL):
        reporter._after_fork()  # noqa: SLF001 - its own module


def _at_exit() -> None:
    for reporter in list(_ALL):
        reporter.close(0.0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)

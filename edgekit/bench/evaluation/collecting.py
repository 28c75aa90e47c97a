"""Asks a device until every sample is answered: after a cut, a kill or a reboot over again, with a bound.

Each attempt is a connection of its own, with the lock. One that got answers starts the count of failures anew: a
device that fails for ever fails at the same sample for ever. A device that is away at the first attempt is not waited
for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.evaluation.asking import Answering, ask, who_answers
from edgekit.bench.evaluation.kept import KeptAnswers
from edgekit.errors import (
    ConnectionLostError,
    DeviceError,
    RemoteTimeoutError,
    RunnerError,
    RuntimeMissingError,
    UnreachableDeviceError,
    UnsuitableArtifactError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy as np

    from edgekit.bench.evaluation.asking import Asked
    from edgekit.devices import RunnerDevice

LINK_WAITS_S = (1.0, 5.0, 15.0, 30.0)
"""Before each further attempt after the link failed: a board boots within their sum."""
RUNNER_WAITS_S = (1.0,)
"""After the runner failed or hung: what fails twice at the same sample fails for ever."""
_LINK = (ConnectionLostError, UnreachableDeviceError)
_RUNNER = (RemoteTimeoutError, RunnerError)


@dataclass(frozen=True)
class Telling:
    """Who is told how it goes: how many samples are answered of how many; and what failed, and how long it waits."""

    on_answers: Callable[[int, int], None] = lambda _known, _of: None
    on_retry: Callable[[DeviceError, float], None] = lambda _error, _wait_s: None


@dataclass(frozen=True)
class Collected:
    """All answers, one array an output, `(n, *shape)`; who gave them; how many were kept from an earlier call, how many
    connections it took. `kept` is to be removed when the answers were used."""

    outputs: tuple[np.ndarray, ...]
    answering: Answering
    resumed: int
    connections: int
    kept: KeptAnswers


def collect(
    open_device: Callable[[], AbstractContextManager[RunnerDevice]],
    asked: Asked,
    telling: Telling | None = None,
    *,
    again: bool = True,
) -> Collected:
    """Collects the answers to all samples.

    Args:
        open_device: connects, and takes the lock where there is somebody to keep out; called for each attempt.
        asked: what is asked for.
        telling: who is told how it goes.
        again: whether to go on after a failure; else the first one is raised.

    Raises:
        RuntimeMissingError, UnsuitableArtifactError, DeviceStorageError, ...: the device cannot do it at all.
        UnreachableDeviceError, ConnectionLostError, RemoteTimeoutError, RunnerError: it failed over and over; the
            answers that came stay for the next call, which is said.
    """
    telling = telling or Telling()
    attempt = _Attempts(open_device, asked, telling)
    failures = 0
    while True:
        before = attempt.answered
        try:
            return attempt.once()
        except (RuntimeMissingError, UnsuitableArtifactError):
            raise
        except (*_LINK, *_RUNNER) as error:
            if attempt.answered > before:
                failures = 0
            waits = LINK_WAITS_S if isinstance(error, _LINK) else RUNNER_WAITS_S
            if not again or not attempt.has_met or failures >= len(waits):
                raise attempt.given_up(error) from error
            telling.on_retry(error, waits[failures])
            time.sleep(waits[failures])
            failures += 1


class _Attempts:
    def __init__(
        self, open_device: Callable[[], AbstractContextManager[RunnerDevice]], asked: Asked, telling: Telling
    ) -> None:
        self._open_device, self._asked, self._telling = open_device, asked, telling
        self._resumed: int | None = None
        self._kept: KeptAnswers | None = None
        self.connections = 0
        self.answered = 0
        self.has_met = False
        """Whether a connection stood in this call."""

    def once(self) -> Collected:
        """One connection, to its end."""
        count = self._asked.samples.count
        with self._open_device() as device:
            self.has_met = True
            self.connections += 1
            answering = who_answers(device, self._asked)
            kept = KeptAnswers(answering.key(self._asked), count, self._asked.samples.outputs)
            self._kept = kept
            if self._resumed is None:
                self._resumed = kept.known
            self._telling.on_answers(kept.known, count)

            def on_batch(some: int) -> None:
                self.answered += some
                self._telling.on_answers(kept.known, count)

            ask(device, self._asked, kept, on_batch)
        return Collected(kept.outputs(), answering, self._resumed, self.connections, kept)

    def given_up(self, error: DeviceError) -> DeviceError:
        """The same error, with what stays for the next call."""
        known = self._kept.known if self._kept is not None else 0
        if not known:
            return error
        said = (
            f"{known} of {self._asked.samples.count} samples are answered and kept here: the next call goes on there."
        )
        again: DeviceError = type(error)(f"{error.what} {said}", remedy=error.remedy)
        return again

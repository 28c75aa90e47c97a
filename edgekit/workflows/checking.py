"""Arms on the device: whether who leads a race gives the right answers there, and not to golden inputs only.

Whoever would beat others in the race, and whoever is to be named, answers the model's evaluation data on the device. If
it is less accurate there than here, or beyond the budget there, it is out, and whoever leads then is asked. So one or
two evaluations are what it costs, unless something is wrong; and nothing is beaten by what is wrong.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.bench.evaluation.summary import sentence
from edgekit.convert.budget import parse_max_drop
from edgekit.errors import RemoteTimeoutError, RunnerError
from edgekit.units import metric
from edgekit.workflows.evaluate import Options, evaluate, load_subject
from edgekit.workflows.tuned import Arm, ranked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Artifact
    from edgekit.bench.evaluation.result import OnDevice
    from edgekit.convert.load import ModelRef
    from edgekit.devices import Device
    from edgekit.workflows.evaluate import Subject
    from edgekit.workflows.tuned import Limits, State

EVALUATE_S = 300.0
"""What an arm is evaluated for at most, by its latency: a slow one on the first samples only."""
LEAST_SAMPLES = 100

Checked = Literal["winner", "front", "none"]
"""Which arms are evaluated on the device."""


@dataclass(frozen=True)
class Found:
    """What an evaluation found of an arm, and, if that puts it out, as what and why."""

    on_device: OnDevice | None
    out: State | None = None
    because: str = ""


class Checking:
    """Evaluates arms on the device, each once: by artifact and thread count."""

    def __init__(
        self,
        device: Device,
        ref: ModelRef,
        artifacts: Sequence[Artifact],
        limits: Limits,
        on_evaluation: Callable[[str], None],
    ) -> None:
        self._device, self._ref, self._limits, self._tell = device, ref, limits, on_evaluation
        self._artifacts = {artifact.id: artifact for artifact in artifacts}
        self._subject: Subject | None = None
        self._found: dict[tuple[str, int], Found] = {}

    def found(self, key: tuple[str, int], latency_ns: float) -> Found:
        """What an evaluation finds of an arm that takes so long for a sample."""
        if key not in self._found:
            self._found[key] = self._evaluate(self._artifacts[key[0]], key[1], latency_ns)
        return self._found[key]

    def marked(self, arm: Arm) -> Arm:
        """An arm with what was found of it, if it was evaluated."""
        found = self._found.get((str(arm.artifact), arm.threads))
        if found is None:
            return arm
        arm = msgspec.structs.replace(arm, on_device=found.on_device)
        return arm if found.out is None else msgspec.structs.replace(arm, state=found.out, because=found.because)

    def settle(self, arms: Sequence[Arm], tolerance: float, *, whole_front: bool) -> list[Arm]:
        """The same arms, when the winner, or the whole front, was evaluated and holds."""
        states = ("winner", "front") if whole_front else ("winner",)
        current = list(arms)
        while True:
            named = [arm for arm in ranked(current, tolerance) if arm.state in states]
            unknown = [arm for arm in named if (str(arm.artifact), arm.threads) not in self._found]
            if not unknown:
                return current
            first = min(unknown, key=lambda arm: arm.state != "winner")
            self.found((str(first.artifact), first.threads), first.latency_ns or 0.0)
            current = [self.marked(arm) for arm in current]

    def _evaluate(self, artifact: Artifact, threads: int, latency_ns: float) -> Found:
        self._tell(f"{artifact.manifest.recipe} ×{threads}")
        if self._subject is None:
            self._subject = load_subject(self._ref, artifact)
        limit = max(LEAST_SAMPLES, int(EVALUATE_S * 1e9 / max(1.0, latency_ns)))
        options = Options(limit=limit, threads=threads, again=False)
        try:
            made, answers = evaluate(lambda: nullcontext(self._device), artifact, self._subject, options)
        except (RunnerError, RemoteTimeoutError) as error:
            return Found(None, "failed", error.what)
        answers.kept.remove()
        accuracy, budget = made.accuracy, self._limits.max_drop
        if made.outcome == "worse":
            return Found(accuracy, "failed", f"wrong on the device: {sentence(made)}")
        if budget is None or accuracy.source is None or accuracy.lost is None:
            return Found(accuracy)
        if parse_max_drop(budget, accuracy.unit).allows(accuracy.lost, accuracy.source):
            return Found(accuracy)
        because = f"on the device it loses {metric(accuracy.lost, accuracy.unit)} of its {accuracy.metric}"
        return Found(accuracy, "over a limit", because)

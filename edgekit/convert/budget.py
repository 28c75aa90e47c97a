"""The accuracy budget: which layers are to blame for a loss, and how few of them must stay in floating point.

Two questions, both answered by measuring, on the held-out data and through the very runtime that proves artifacts:

1. Sensitivity. For each layer the model is converted with that layer alone quantized. The lower the SNR of its outputs
   against the source's, the more the layer is to blame. (Post-training sensitivity analysis as in H. Wu et al. 2020,
   "Integer Quantization for Deep Learning Inference", arXiv:2004.09602, section 6.1; by SNR rather than by the metric,
   whose steps are too coarse for a single layer on a few hundred samples.)
2. Search. The k worst layers are kept; k doubles until the metric's drop is inside the budget, then bisection finds
   the smallest such k. More kept layers are taken to be better ones, which need not hold exactly: every artifact that
   is returned was measured, so a budget is never believed to be met, but it may be met with fewer layers than found.

`search_layers` runs in a worker process: one import of the converter serves all attempts.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import LayerSensitivity, Trial
from edgekit.convert.formats import KEEP
from edgekit.convert.prove import from_payload, metric_of, to_payload
from edgekit.convert.steps import HELD_OUT, REFERENCE, Job, SourceFacts, load_arrays
from edgekit.errors import EdgeKitError, RecipeError
from edgekit.runner.compare import compare
from edgekit.runner.session import run_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from edgekit.convert.formats import Exported, Format

SENSITIVITY_SAMPLES = 64
"""Held-out samples that a layer's sensitivity is measured on; the search itself uses all of them."""


class Sensitivity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """sensitivity.json: the layers, the worst first; what was tried; the layers to keep, None if no number suffices."""

    layers: tuple[LayerSensitivity, ...]
    trials: tuple[Trial, ...]
    keep: tuple[str, ...] | None


_SENSITIVITY = msgspec.json.Decoder(Sensitivity)
"""Made here: msgspec 0.22 crashes when two threads look at a type for the first time at once."""


def read_sensitivity(content: bytes) -> Sensitivity:
    """Decodes sensitivity.json."""
    return _SENSITIVITY.decode(content)


class MaxDrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the metric may be lost: an absolute amount in the metric's unit, or a share of the source's value."""

    amount: float
    relative: bool

    def amount_of(self, source: float) -> float:
        """How much a metric of this value may lose, in its unit."""
        return self.amount * abs(source) if self.relative else self.amount

    def allows(self, drop: float, source: float) -> bool:
        """Whether a drop is inside the budget."""
        return drop <= self.amount_of(source) + 1e-12


def parse_max_drop(text: str, unit: str) -> MaxDrop:
    """Reads "1%" or "0.02".

    A percentage of a metric that is itself shown in percent means points: 1% of an accuracy of 97 % allows 96 %. Of any
    other metric it means that share of the source's value. A plain number is in the metric's own unit.

    Raises:
        RecipeError: neither, or a negative amount.
    """
    number = text.strip().removesuffix("%").strip()
    try:
        amount = float(number)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise RecipeError(f"{text!r} is no accuracy budget.", remedy="Write --max-drop 1%, or an amount such as 0.02.")
    percent = text.strip().endswith("%")
    return MaxDrop(amount / 100 if percent else amount, relative=percent and unit != "%")


class _Attempts:
    """Converts and measures one recipe with different layers kept."""

    def __init__(
        self, job: Job, facts: SourceFacts, form: Format, exported: Exported, calibration: Mapping[str, np.ndarray]
    ) -> None:
        assert job.recipe is not None
        assert job.max_drop is not None
        assert facts.metric_value is not None
        self._job, self._facts, self._form, self._exported, self._calibration = job, facts, form, exported, calibration
        self._recipe, self._lowered = job.recipe, Path(str(job.lower_folder))
        self._budget = parse_max_drop(job.max_drop, facts.metric_unit)
        source = Path(str(job.source_folder))
        self._inputs = load_arrays(source, HELD_OUT, len(facts.inputs))
        self._reference = load_arrays(source, REFERENCE, len(facts.outputs))

    def answers(self, keep: tuple[str, ...], samples: int | None) -> tuple[list[np.ndarray], int]:
        """What the recipe answers with `keep` kept, and the payload's bytes."""
        options = {**self._recipe.options, KEEP: list(keep)}
        recipe = msgspec.structs.replace(self._recipe, options=options)
        folder = Path(self._job.work) / "attempt"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        payload = folder / self._form.payload
        converted = self._form.convert(self._exported, self._lowered, recipe, self._calibration, payload)
        session, _ = self._form.session(converted.stand_in or payload, converted.bindings)
        pairs = zip(self._facts.inputs, self._inputs, strict=True)
        outputs = run_samples(session, [to_payload(array[:samples], spec, converted) for spec, array in pairs])
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.rmtree(folder)
        return [from_payload(a, s, converted) for s, a in zip(self._facts.outputs, outputs, strict=True)], size

    def snr_db(self, outputs: list[np.ndarray]) -> float | None:
        """The worst output's SNR in dB; None where all are equal to the bit; -inf where one is not finite."""
        count = len(outputs[0])
        results = [compare(r[:count], o) for r, o in zip(self._reference, outputs, strict=True)]
        if not all(result["finite"] for result in results):
            return float("-inf")
        return min((float(result["snr_db"]) for result in results if result["snr_db"] is not None), default=None)

    def trial(self, keep: tuple[str, ...]) -> Trial:
        """One attempt on all held-out samples."""
        try:
            outputs, size = self.answers(keep, None)
        except EdgeKitError as error:
            return Trial(str(self._recipe), len(keep), None, None, None, None, inside=False, because=error.what)
        value = metric_of(self._job, self._facts, outputs)
        source = self._facts.metric_value
        assert value is not None
        assert source is not None
        drop = source - value if self._facts.higher_is_better else value - source
        snr = self.snr_db(outputs)
        floor = self._form.precisions[self._recipe.precision].min_snr_db
        proven = snr is None or snr >= floor
        return Trial(
            recipe=str(self._recipe),
            kept=len(keep),
            payload_bytes=size,
            snr_db=None if snr is None or snr == float("-inf") else round(snr, 3),
            metric=value,
            drop=drop,
            inside=self._budget.allows(drop, source) and proven,
            because="" if proven else f"its parity is below {floor:.0f} dB",
        )


def search_layers(
    job: Job, facts: SourceFacts, form: Format, exported: Exported, calibration: Mapping[str, np.ndarray],
    progress: Callable[[str], None],
) -> Sensitivity:  # fmt: skip
    """Ranks the layers, and finds the fewest to keep so that the metric's drop is inside `job.max_drop`."""
    assert job.recipe is not None
    attempts = _Attempts(job, facts, form, exported, calibration)
    names = form.layers(exported, Path(str(job.lower_folder)), job.recipe)
    ranked: list[LayerSensitivity] = []
    for i, name in enumerate(names):
        progress(f"{i + 1} of {len(names)}")
        others = tuple(other for other in names if other != name)
        outputs, _ = attempts.answers(others, SENSITIVITY_SAMPLES)
        snr = attempts.snr_db(outputs)
        ranked.append(LayerSensitivity(name, None if snr is None else round(max(snr, -1e3), 3)))
    ranked.sort(key=lambda layer: float("inf") if layer.snr_db is None else layer.snr_db)
    order = tuple(layer.layer for layer in ranked)
    trials: dict[int, Trial] = {}

    def inside(count: int) -> bool:
        if count not in trials:
            progress(f"keeping {count}")
            trials[count] = attempts.trial(order[:count])
        return trials[count].inside

    kept = fewest(len(order), inside)
    return Sensitivity(
        layers=tuple(ranked),
        trials=tuple(trials[count] for count in sorted(trials)),
        keep=None if kept is None else order[:kept],
    )


def fewest(limit: int, inside: Callable[[int], bool]) -> int | None:
    """The smallest count in 0..limit-1 for which `inside` holds, if it is monotonic; None if it holds for none.

    All layers kept would be the unquantized model, so `limit` itself is not tried. Doubling, then bisection.
    """
    low, high = -1, 0
    while not inside(high):
        low = high
        if high >= limit - 1:
            return None
        high = min(max(1, high * 2), limit - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if inside(middle) else (middle, high)
    return high

"""The model's metric here against the metric there, over the same samples, and what the difference is worth.

The same samples go through the same payload twice, so the two metrics are paired, and what a sample is worth (an easy
image, a short text) cancels. How the interval of the drop is made depends on what the metric is, which is tried, never
assumed: a metric that equals the mean of its values on single samples has one value a sample.

    tango    values of 0 and 1 (accuracy): the score interval for a difference of paired proportions (Tango 1998,
             Statistics in Medicine 17, 891-908), which says something even where no sample differs; and McNemar's
             exact test
    student  other values, fewer than 20 samples
    bca      other values: bias-corrected accelerated bootstrap of their differences (Efron 1987)
    resampled   a metric that is no mean (F1, a correlation): computed anew on 1,000 resamples of the samples

The outcome, with a drop being how much worse the device is than this machine:

    worse         the drop is beyond what is allowed, and no accident of these samples: its interval lies above zero.
                  Answers that are no numbers are worse, whatever the metric says
    same          the drop is not beyond it, and either the interval's upper end is not, or the answers themselves agree
                  as closely as the artifact asks of a device
    inconclusive  anything else: too few samples to tell

Without a metric the answers decide alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from edgekit.artifact import OutputParity

    Outputs = Mapping[str, np.ndarray]
    Compute = Callable[[Outputs, np.ndarray], float]

CONFIDENCE = 0.95
BOOTSTRAP_FROM = 20
RESAMPLES = 10_000
METRIC_RESAMPLES = 1000
SEED = 20_241_127

Method = Literal["tango", "student", "bca", "resampled"]
Outcome = Literal["same", "worse", "inconclusive"]


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the drop, in the metric's unit. For 0 and 1: `lost` and `won` samples, right on one side alone, and McNemar's
    exact two-sided `p_value`."""

    low: float
    high: float
    confidence: float
    method: Method
    lost: int | None = None
    won: int | None = None
    p_value: float | None = None


def interval_of_drop(
    compute: Compute, here: Outputs, there: Outputs, targets: np.ndarray, *, higher_is_better: bool
) -> Interval | None:
    """The 95 % interval of how much worse `there` is than `here`; None for a single sample.

    Args:
        compute: the metric, of outputs by name, `(n, *shape)`, and n targets.
        here: this machine's answers.
        there: the device's.
        targets: `(n, ...)`.
        higher_is_better: whether a fall is a loss.
    """
    import numpy as np

    sign = 1.0 if higher_is_better else -1.0
    if len(targets) < 2:
        return None
    a, b = (_values(compute, outputs, targets) for outputs in (here, there))
    if a is None or b is None:
        return _resampled(compute, here, there, targets, sign)
    differences = sign * (a - b)
    if np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all():
        return tango(int((differences > 0).sum()), int((differences < 0).sum()), len(differences))
    return _of_mean(differences)


def tango(lost: int, won: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The score interval of `(lost - won) / n`, for n pairs of which `lost` and `won` differ one way and the other."""
    from scipy.optimize import brentq
    from scipy.stats import binomtest, norm

    z = float(norm.ppf(0.5 + confidence / 2))

    def score(drop: float) -> float:
        b = -lost - won + (2 * n - lost + won) * drop
        c = -won * drop * (1 - drop)
        won_share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * won_share + drop * (1 - drop))
        distance = lost - won - n * drop
        return (
            distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance) if distance else 0.0
        )

    middle, edge = (lost - won) / n, 1 - 1e-12
    low = -1.0 if score(-edge) < z else float(brentq(lambda d: min(score(d), 1e9) - z, -edge, middle))
    high = 1.0 if score(edge) > -z else float(brentq(lambda d: max(score(d), -1e9) + z, middle, edge))
    p_value = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return Interval(low, high, confidence, "tango", lost, won, p_value)


def verdict(
    drop: float | None,
    allowed: float,
    interval: Interval | None,
    outputs: Sequence[OutputParity],
    *,
    agreed: bool | None,
) -> tuple[Outcome, str]:
    """The outcome, and why, as a phrase.

    Args:
        drop: how much worse the device is; None without a metric, or without this machine's value.
        allowed: what it may be at most, in the metric's unit.
        interval: of the drop, where it has one.
        outputs: the device's answers against this machine's.
        agreed: whether those agree as closely as the artifact asks of a device; None where nothing was compared.
    """
    broken = [row.output for row in outputs if not row.finite]
    if broken:
        return "worse", f"the answers in {', '.join(broken)} are not finite"
    if drop is None:
        if agreed is None:
            return "inconclusive", "there was nothing to compare the answers with"
        said = "" if agreed else "the answers differ by more than the artifact allows a device"
        return ("same" if agreed else "worse"), said
    if drop > allowed + 1e-12:
        if interval is None or interval.low > 0:
            return "worse", "the loss is beyond what is allowed"
        return "inconclusive", "the loss is beyond what is allowed, but so few samples may differ by accident"
    if agreed or interval is None or interval.high <= allowed + 1e-12:
        return "same", ""
    return "inconclusive", "so few samples cannot rule out a loss beyond what is allowed, and the answers differ"


def _values(compute: Compute, outputs: Outputs, targets: np.ndarray) -> np.ndarray | None:
    """The metric of each single sample, `(n,)`, if their mean is the metric of all; else None."""
    import numpy as np

    try:
        single = [
            float(compute({name: array[k : k + 1] for name, array in outputs.items()}, targets[k : k + 1]))
            for k in range(len(targets))
        ]
    except Exception:  # a user's metric may refuse a single sample in any way; then it is no mean
        return None
    values = np.array(single)
    if not np.isfinite(values).all():
        return None
    whole = float(compute(outputs, targets))
    return values if math.isclose(float(values.mean()), whole, rel_tol=1e-6, abs_tol=1e-9) else None


def _of_mean(differences: np.ndarray) -> Interval:
    import numpy as np
    from scipy.special import stdtrit
    from scipy.stats import bootstrap

    n, mean = len(differences), float(differences.mean())
    if n < BOOTSTRAP_FROM or not np.ptp(differences):
        reach = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * float(differences.std(ddof=1)) / math.sqrt(n)
        return Interval(mean - reach, mean + reach, CONFIDENCE, "student")
    made: Any = bootstrap(
        (differences,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="BCa", batch=100,
        rng=np.random.default_rng(SEED),
    ).confidence_interval  # fmt: skip
    return Interval(float(made.low), float(made.high), CONFIDENCE, "bca")


def _resampled(
    compute: Compute, here: Outputs, there: Outputs, targets: np.ndarray, sign: float
) -> Interval | None:  # fmt: skip
    """From percentiles over resamples; None where the metric cannot be computed on most of them."""
    import numpy as np

    random = np.random.default_rng(SEED)
    drops = []
    for _ in range(METRIC_RESAMPLES):
        chosen = random.integers(0, len(targets), len(targets))
        a, b = ({name: array[chosen] for name, array in outputs.items()} for outputs in (here, there))
        try:
            drop = sign * (float(compute(a, targets[chosen])) - float(compute(b, targets[chosen])))
        except Exception:  # noqa: S112 - a resample without one class is no ground for some metrics: it says nothing
            continue
        if math.isfinite(drop):
            drops.append(drop)
    if len(drops) < METRIC_RESAMPLES / 2:
        return None
    low, high = np.quantile(drops, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high), CONFIDENCE, "resampled")

"""What other tools would have said of the blocks of a gate: rules replayed on the very same samples.

Each takes the baseline's and the candidate's blocks (arrays of latencies in ns, in the order of measurement) and says
"regressed", "improved" or "same".

asv (airspeed velocity 0.6, `asv compare`): a benchmark runs in two processes, each giving ten samples of at least 10 ms
    (the mean of as many calls as that takes). Two results differ if their medians' ratio passes the factor (1.1 unless
    told otherwise) and Mann and Whitney's U test gives p < 0.002. Here: the first two blocks of each side.
FAI-PEP (its DelayRegressionDetector): a p50 is too large if it exceeds the 90th percentile of the p90s of the earlier
    runs (at least five) plus a tenth of their range; the last two runs must both be. What is found is run again, and
    must be found again. It never says improved. Here: a block is a run, all blocks of the baseline are the earlier
    runs, and the candidate's blocks are the last two, then two more to verify.
fixed: a ratio of means beyond 5 %, of one process a side or of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import mannwhitneyu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Blocks = Sequence[NDArray[np.int64]]
    Rule = Callable[[Blocks, Blocks], str]

Said = Literal["regressed", "improved", "same"]
SAMPLE_NS = 10_000_000
SAMPLES_A_PROCESS = 10
PROCESSES = 2
P_VALUE = 0.002


def asv(factor: float) -> Rule:
    """asv's rule with a factor; see the module."""

    def rule(baseline: Blocks, candidate: Blocks) -> Said:
        a, b = (np.concatenate([_asv_samples(block) for block in side[:PROCESSES]]) for side in (baseline, candidate))
        ratio = np.median(b) / np.median(a)
        if 1 / factor <= ratio <= factor or mannwhitneyu(a, b).pvalue >= P_VALUE:
            return "same"
        return "regressed" if ratio > 1 else "improved"

    return rule


def fai_pep(baseline: Blocks, candidate: Blocks) -> Said:
    """FAI-PEP's rule; see the module."""
    p90s = sorted(float(np.percentile(block, 90)) for block in baseline)
    limit = p90s[len(p90s) * 9 // 10] + (p90s[-1] - p90s[0]) // 10
    slow = [float(np.median(block)) > limit for block in candidate[:4]]
    return "regressed" if len(p90s) >= 5 and all(slow) else "same"


def fixed(share: float, processes: int | None) -> Rule:
    """A ratio of means beyond a share, of that many processes a side; None: all."""

    def rule(baseline: Blocks, candidate: Blocks) -> Said:
        a, b = (np.concatenate(side[:processes]).mean() for side in (baseline, candidate))
        ratio = b / a
        return "regressed" if ratio > 1 + share else "improved" if ratio < 1 - share else "same"

    return rule


RULES: dict[str, Rule] = {
    "asv, factor 1.1 (its default)": asv(1.1),
    "asv, factor 1.03": asv(1.03),
    "FAI-PEP": fai_pep,
    "5 % of the mean, one process a side": fixed(0.05, 1),
    "5 % of the mean, all processes": fixed(0.05, None),
}


def _asv_samples(block: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of consecutive latencies, each of at least 10 ms in all; at most ten, the first of the block."""
    number = max(1, int(np.ceil(SAMPLE_NS / np.median(block))))
    count = min(SAMPLES_A_PROCESS, max(1, len(block) // number))
    return (
        block[: count * number].reshape(count, -1).mean(axis=1) if len(block) >= number else block.mean(keepdims=True)
    )

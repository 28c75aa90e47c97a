"""A target against itself: how often its gate would err, and what it can see.

N gates of one artifact against the same artifact. Nothing changed between the sides, so every "regressed" or "improved"
is a false alarm. Power is computed from the same gates: a slow-down by a constant factor adds a constant to each log
ratio, so the measured ratios are shifted by it and judged again (by the pairs that were measured: an extension might
still settle what is open, so the true power is no less).

Rates come with Clopper and Pearson's 95 % interval: 0 of 20 is no proof of 0 %.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.bench.compare import middle
from edgekit.bench.effect import Paired
from edgekit.bench.gate import Plan
from edgekit.bench.pairing import pairs_of
from edgekit.bench.run import Context, new_run_id
from edgekit.bench.verdict import Outcome, judge
from edgekit.errors import ArtifactError
from edgekit.files import write_file
from edgekit.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.gate import Gated

SCHEMA = 1
SUFFIX = ".aa.json"
SLOW_DOWNS = (0.01, 0.02, 0.03, 0.05, 0.10)


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """k of n, and the 95 % interval of the share behind it."""

    k: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """k / n."""
        return self.k / self.n


class OneGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One gate of the artifact against itself: the log ratios of its pairs, and what it said."""

    log_ratios: tuple[float, ...]
    outcome: Outcome
    detectable: float | None
    confidence: float


class AATest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a target's gate is worth, for one artifact and thread count.

    detectable: the median of what the gates could have seen, as a share.
    power: by slow-down, the rate of gates that would have called it a regression.
    """

    id: str
    started_at: str
    artifact: str
    model: str
    recipe: Recipe
    context: Context
    plan: Plan
    gates: tuple[OneGate, ...]
    false_alarms: Rate
    inconclusive: Rate
    power: dict[str, Rate]
    detectable: float | None
    schema: int = SCHEMA


def summarise(gated: Sequence[Gated]) -> AATest:
    """From gates whose two sides were the same artifact; at least one."""
    first = gated[0].baseline
    gates = tuple(_one(found) for found in gated)
    seen = [gate.detectable for gate in gates if gate.detectable is not None]
    return AATest(
        id=new_run_id(),
        started_at=first.started_at,
        artifact=first.artifact,
        model=first.model,
        recipe=first.recipe,
        context=first.context,
        plan=gated[0].plan,
        gates=gates,
        false_alarms=rate([gate.outcome in ("regressed", "improved") for gate in gates]),
        inconclusive=rate([gate.outcome in ("inconclusive", "incomparable") for gate in gates]),
        power={
            f"{share:g}": rate([_would_see(gate, share, gated[0].plan.tolerance) for gate in gates])
            for share in SLOW_DOWNS
        },
        detectable=middle(seen) if seen else None,
    )


def rate(hits: Sequence[bool]) -> Rate:
    """The share of hits, with Clopper and Pearson's interval.

    Raises:
        ValueError: of nothing there is no share.
    """
    from scipy.stats import binomtest

    if not hits:
        raise ValueError("a rate of nothing")
    interval = binomtest(sum(hits), len(hits)).proportion_ci(0.95)
    return Rate(sum(hits), len(hits), float(interval.low), float(interval.high))


def write_aa_test(made: AATest, folder: Path) -> Path:
    """Writes it under `folder/TARGET/` and returns its file.

    Raises:
        StorageError: it cannot be written; then nothing is.
    """
    stamp = made.started_at.replace("-", "").replace(":", "")
    name = f"{stamp}-{made.model}-{made.recipe.slug}-{made.id[:6]}{SUFFIX}"
    path = folder / made.context.target / name
    write_file(path, msgspec.json.encode(made) + b"\n")
    return path


def latest_aa_test(folder: Path, of: Context, recipe: Recipe, model: str) -> AATest | None:
    """The last one that was made of the same model, recipe, target, runtime and threads; None if there is none.

    Raises:
        ArtifactError: a file there is not an A/A test of this version.
    """
    found = [read_aa_test(path) for path in sorted((folder / of.target).glob(f"*{SUFFIX}"))]
    fitting = [
        made
        for made in found
        if (made.model, made.recipe, made.context.runtime, made.context.threads)
        == (model, recipe, of.runtime, of.threads)
    ]
    return max(fitting, key=lambda made: made.started_at, default=None)


def read_aa_test(path: Path) -> AATest:
    """Reads a A/A test's file.

    Raises:
        ArtifactError: it is none, or of another schema.
    """
    try:
        made = msgspec.json.decode(path.read_bytes(), type=AATest)
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactError(
            f"{path} is not an A/A test: {error}.", remedy="Remove it, and make another: edgekit bench ... --aa 20."
        ) from error
    if made.schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {made.schema}.", remedy=f"This version reads schema {SCHEMA}.")
    return made


def _one(found: Gated) -> OneGate:
    verdict = found.comparison.verdict
    ratios = pairs_of(found.baseline.blocks, found.candidate.blocks).log_ratios
    confidence = verdict.interval.confidence if verdict.interval else 0.95
    return OneGate(ratios, verdict.outcome, verdict.detectable, confidence)


def _would_see(gate: OneGate, slow_down: float, tolerance: float) -> bool:
    if gate.detectable is None:  # it never settled: it would have seen nothing
        return False
    shifted = Paired(tuple(ratio + math.log1p(slow_down) for ratio in gate.log_ratios))
    return judge([shifted], tolerance, gate.confidence)[0].outcome == "regressed"

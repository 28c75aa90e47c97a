"""What a check found, as values: one verdict, its features, its cohorts, and the rules that were broken.

docs/formats/drift-verdict.md has every field. The command line prints them as a table, as JSON (exactly these fields),
or as Markdown (`edgekit.telemetry.drift.markdown`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgekit.errors import EXIT_DONE, EXIT_FAILED_CHECK, EXIT_INCONCLUSIVE
from edgekit.telemetry.store import Finding

SCHEMA = 1
Outcome = Literal["quiet", "drift", "too few", "not judged"]
Shape = Literal["sudden", "gradual", "periodic", "temporary"]


class Broken(msgspec.Struct, frozen=True, gc=False):
    """A rule that a feature, or the model as a whole, broke.

    `value` is what was found and `limit` what is allowed, mostly shares; `told` is a sentence for people.
    """

    rule: str
    value: float
    limit: float
    told: str


class FeatureVerdict(msgspec.Struct, frozen=True, gc=False):
    """One feature of the window.

    Attributes:
        feature, role, kind: as in the reference.
        outcome: "drift" if its distance is above the threshold or a rule is broken; "too few" for fewer than `n_min`
            values on either side, "not judged" where the reference has no counts.
        n, missing: values of the window.
        distance, threshold: what decides: KS for a number, the largest change of a share for a category, for a
            joint that of the mean vectors (`edgekit.telemetry.reporter.joint`).
        distance_most: KS of the raw values is between `distance` and this, whatever they are (see `distances`).
        d1, psi, js, wasserstein, kl: reported; null for what does not apply (all of them for a joint) or was not
            asked for.
        mean, sd, reference_mean, reference_sd: null for a category.
        broken: the rules that it broke.
        shape, began: kind of drift and when it began (a time, or a row of a table); null where it is not known.
        told: what changed, in a sentence; empty if nothing did.
    """

    feature: str
    role: str
    kind: str
    outcome: Outcome
    n: int
    missing: int
    distance: float
    distance_most: float
    threshold: float
    d1: float | None
    psi: float | None
    js: float | None
    wasserstein: float | None
    kl: float | None
    mean: float | None
    sd: float | None
    reference_mean: float | None
    reference_sd: float | None
    broken: tuple[Broken, ...] = ()
    shape: Shape | None = None
    began: str | None = None
    told: str = ""


class CohortVerdict(msgspec.Struct, frozen=True):
    """One cohort: `drifted` names its features. Fewer than k devices: "too few", and nothing else is told of it."""

    cohort: str
    outcome: Outcome
    devices: int | None
    n: int | None
    drifted: tuple[str, ...] = ()


class DriftVerdict(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        model, reference: what was judged, against which reference (its id).
        outcome: "drift", "quiet", or "inconclusive" where too little was seen to say so; `because` tells why.
        start, end: the judged span, times in UTC or rows of a table.
        n, devices: inferences (or rows), and different devices (null for a table).
        against: what it was compared with.
        cohort, phase: what was asked for, if anything.
        shape, began: of the feature that moved the most.
        outputs_moved: whether any output or score drifted too; null if none could be judged. Inputs that drift need not
            hurt.
        broken: rules that concern the model as a whole: volume, errors, schema, reference.
        features: the drifted first, by how far they are beyond their thresholds.
        cohorts: those that were looked at.
        theta, n_min: as they were set.
    """

    model: str
    reference: str
    outcome: Literal["quiet", "drift", "inconclusive"]
    because: str
    start: str
    end: str
    n: int
    devices: int | None
    against: str
    cohort: str | None
    phase: str | None
    shape: Shape | None
    began: str | None
    outputs_moved: bool | None
    broken: tuple[Broken, ...]
    features: tuple[FeatureVerdict, ...]
    cohorts: tuple[CohortVerdict, ...]
    theta: float
    n_min: int
    schema: int = SCHEMA

    @property
    def drifted(self) -> tuple[FeatureVerdict, ...]:
        """The features that drifted."""
        return tuple(feature for feature in self.features if feature.outcome == "drift")

    @property
    def exit_status(self) -> int:
        """0 quiet, 3 drift, 4 inconclusive."""
        return {"quiet": EXIT_DONE, "drift": EXIT_FAILED_CHECK, "inconclusive": EXIT_INCONCLUSIVE}[self.outcome]

    def findings(self) -> tuple[Finding, ...]:
        """The same as the collector's alert log keeps it: one a broken rule, and one a feature that moved."""
        named = (self.model, self.reference, self.cohort or "")
        found = [Finding(*named, "", broken.rule, broken.told, _numbers(broken)) for broken in self.broken]
        for feature in self.drifted:
            found += [Finding(*named, feature.feature, b.rule, b.told, _numbers(b)) for b in feature.broken]
            if feature.distance > feature.threshold:
                rule = {"number": "ks", "category": "share"}.get(feature.kind, feature.kind)
                details = {
                    "distance": feature.distance,
                    "threshold": feature.threshold,
                    "n": feature.n,
                    "shape": feature.shape,
                    "began": feature.began,
                    "role": feature.role,
                    "start": self.start,
                    "end": self.end,
                }
                found.append(Finding(*named, feature.feature, rule, f"{feature.feature}: {feature.told}", details))
        return tuple(found)


def _numbers(broken: Broken) -> dict[str, object]:
    return {"value": broken.value, "limit": broken.limit}

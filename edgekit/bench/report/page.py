"""The report's page, from its template. Everything in it is escaped; nothing in it is fetched."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.bench.comparable import FACTS
from edgekit.bench.evaluation.summary import difference
from edgekit.bench.report.remarks import remarks
from edgekit.bench.report.theme import SERIES, to_svg
from edgekit.units import decibel, duration, metric, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.bench.compare import Comparison
    from edgekit.bench.evaluation import Evaluated
    from edgekit.bench.history import Series
    from edgekit.bench.report.figures import Plot
    from edgekit.bench.run import Run
    from edgekit.bench.statistics import Percentile

OUTCOMES = {
    "regressed": "slower than the baseline, beyond the tolerance",
    "improved": "faster than the baseline, beyond the tolerance",
    "equivalent": "no change beyond the tolerance",
    "inconclusive": "not settled by what was measured",
    "incomparable": "not measured alike",
}
MARKS = {"regressed": "regressed", "improved": "improved", "shifted": "inconclusive", "steady": "equivalent"}
"""How a history's outcome is coloured: as the verdict that is nearest to it."""
ACCURACY_MARKS = {"same": "equivalent", "worse": "regressed", "inconclusive": "inconclusive"}
"""Likewise an evaluation's."""


def page(
    title: str,
    runs: Sequence[Run],
    comparisons: Sequence[Comparison],
    plots: Sequence[Plot],
    histories: Sequence[Series] = (),
    evaluations: Mapping[str, Evaluated] | None = None,
) -> str:
    """The page as one HTML document.

    Args:
        title: its heading.
        runs: a row each; their raw samples are inside, for download.
        comparisons: verdicts, shown first; empty for none.
        plots: of the runs.
        histories: a row each, before the runs; empty for none.
        evaluations: by a run's id, its artifact's accuracy on the device.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        decibel=decibel, duration=duration, size=size, metric=metric, percent=percent, percentile=percentile, fact=fact
    )
    folder = files(__package__)
    template = environment.from_string(folder.joinpath("page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        runs=runs,
        comparisons=comparisons,
        histories=histories,
        marks=MARKS,
        evaluations=evaluations or {},
        accuracy_marks=ACCURACY_MARKS,
        headline=headline(runs, comparisons, histories, evaluations or {}),
        plots=[{"title": p.title, "says": p.says, "svg": to_svg(p.figure, f"{p.title}. {p.says}")} for p in plots],
        outcomes=OUTCOMES,
        difference=difference,
        remarks=[remark for run in runs for remark in remarks(run)],
        environment=environment_rows(runs),
        style=folder.joinpath("page.css").read_text(encoding="utf-8"),
        series=len(SERIES),
        raw=_raw(runs),
    )


def headline(
    runs: Sequence[Run],
    comparisons: Sequence[Comparison],
    histories: Sequence[Series] = (),
    evaluations: Mapping[str, Evaluated] | None = None,
) -> tuple[str, str]:
    """The verdict on everything: its outcome, and a sentence. What is wrong comes before what is slow."""
    wrong = [made for made in (evaluations or {}).values() if made.outcome == "worse"]
    if wrong:
        named = ", ".join(sorted({f"{made.model} {made.recipe} on {made.context.target}" for made in wrong}))
        return "regressed", f"Less accurate on the device than on the host: {named}."
    if comparisons:
        outcomes = [comparison.verdict.outcome for comparison in comparisons]
        for outcome in ("regressed", "inconclusive", "incomparable", "improved"):
            if outcome in outcomes:
                return outcome, f"{outcomes.count(outcome)} of {len(outcomes)} {outcome}: {OUTCOMES[outcome]}."
        return "equivalent", f"All {len(outcomes)} equivalent: {OUTCOMES['equivalent']}."
    slower = sum(series.outcome == "regressed" for series in histories)
    if slower:
        return "regressed", f"{slower} of {len(histories)} series of runs became slower, beyond the tolerance."
    lost = sum(bool(run.given_up) for run in runs)
    if lost:
        return "inconclusive", f"In {lost} of {len(runs)} runs blocks were given up; the conditions below say why."
    restless = sum(not run.steady for run in runs)
    if restless:
        return "inconclusive", f"{restless} of {len(runs)} runs never settled; they are no ground for a verdict."
    return "equivalent", f"{len(runs)} run{'s' * (len(runs) != 1)}, all steady. Nothing to compare them with was given."


def environment_rows(runs: Sequence[Run]) -> list[tuple[str, list[str], bool]]:
    """(field, its value for each run, whether all are equal): what makes two runs incomparable shows at a glance."""
    facts = (*FACTS, "libc", "memory_total_bytes", "boot_id")
    rows = [(name, [fact(getattr(run.context, name)) for run in runs]) for name in runs[0].context.__struct_fields__]
    rows += [(name, [fact(run.blocks[0].before.values.get(name) if run.blocks else None) for run in runs])
             for name in facts]  # fmt: skip
    return [(name, values, len(set(values)) == 1) for name, values in rows]


def percent(share: float, digits: int = 1) -> str:
    """A signed change, in percent."""
    return f"{share:+.{digits}%}".replace("%", " %")


def percentile(found: Percentile) -> str:
    """A percentile, or the bound for it that its samples support."""
    if found.value_ns is not None:
        return duration(found.value_ns)
    return "–" if found.bound_ns is None else f"≤ {duration(found.bound_ns)}"


def fact(value: Any) -> str:
    """A fact for people; – where a device did not tell it."""
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _raw(runs: Sequence[Run]) -> str:
    """The runs as JSON that cannot end its script element early."""
    return msgspec.json.encode(list(runs)).decode().replace("<", "\\u003c")

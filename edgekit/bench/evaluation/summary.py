"""An evaluation in a sentence, and as Markdown for a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bench.ci import SIGNS, as_cell
from edgekit.units import decibel, metric

if TYPE_CHECKING:
    from edgekit.bench.evaluation.result import Evaluated, OnDevice

_SIGN_OF = {"same": "equivalent", "worse": "regressed", "inconclusive": "inconclusive"}


def difference(accuracy: OnDevice) -> str:
    """What the device loses against this machine, with its interval: `0.28 % (-0.51 % to 1.55 %)`."""
    if accuracy.drop is None:
        return "–"
    told = metric(accuracy.drop, accuracy.unit)
    if accuracy.interval is None:
        return told
    low, high = (metric(end, accuracy.unit) for end in (accuracy.interval.low, accuracy.interval.high))
    return f"{told} ({low} to {high})"


def sentence(made: Evaluated) -> str:
    """What was found, in one or two sentences."""
    accuracy, data = made.accuracy, made.data
    where = f"on {made.context.target}, over {data.samples} of {data.of} samples"
    if accuracy.device is None:
        found = f"no metric ({accuracy.because})"
    else:
        found = f"{accuracy.metric} {metric(accuracy.device, accuracy.unit)}"
        if accuracy.here is not None:
            found += f", here {metric(accuracy.here, accuracy.unit)}: a loss of {difference(accuracy)}"
    because = f" {made.because[0].upper()}{made.because[1:]}." if made.because else ""
    return f"{made.model} {made.recipe} {where}: {found}.{because}"


def markdown(made: Evaluated) -> str:
    """A short comment: the outcome first, then the figures, then what is to be known."""
    accuracy, agreement = made.accuracy, made.agreement
    name = f"{made.model} {made.recipe}"
    title = {"same": "as accurate as here", "worse": "less accurate than here", "inconclusive": "not settled"}
    values = (metric(value, accuracy.unit) for value in (accuracy.source, accuracy.here, accuracy.device))
    answers = decibel(agreement.worst_snr_db, exact=bool(agreement.outputs))
    cells = [as_cell(accuracy.metric or "–"), *values, difference(accuracy), answers]
    lines = [
        f"### {SIGNS[_SIGN_OF[made.outcome]]} {title[made.outcome]}: {as_cell(name)} on {as_cell(made.context.target)}",
        "",
        "| metric | source | here | on the device | loss | answers |",
        "|---|---:|---:|---:|---:|---:|",
        f"| {' | '.join(cells)} |",
    ]
    notes = [text for text in (made.because, accuracy.because, *made.data.changed) if text]
    allowed = f"a loss of up to {as_cell(made.max_drop)} counts as none"
    told = f"<sub>{made.data.samples} of {made.data.of} samples; {allowed}.</sub>"
    return "\n".join([*lines, *([""] if notes else []), *(f"- {as_cell(note)}" for note in notes), "", told, ""])

"""Verdicts for a CI system: JUnit XML for its test view, Markdown for a pull request's comment.

A regression is a failure; what could not be settled is skipped, with the reason: a team that is shown red for an
unplugged phone switches its device tests off.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.compare import Comparison
    from edgekit.bench.verdict import Verdict

SIGNS = {"regressed": "🔴", "improved": "🟢", "equivalent": "⚪", "inconclusive": "🟡", "incomparable": "🟣"}
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(suite: str, comparisons: Sequence[Comparison]) -> bytes:
    """A JUnit document with a test case a comparison."""
    outcomes = [comparison.verdict.outcome for comparison in comparisons]
    skipped = sum(outcome in ("inconclusive", "incomparable") for outcome in outcomes)
    root, cases = _suite(suite, tests=len(outcomes), failures=outcomes.count("regressed"), skipped=skipped)
    for comparison in comparisons:
        case = ET.SubElement(
            cases,
            "testcase",
            classname=_clean(f"edgekit.{comparison.target}.{comparison.model}"),
            name=_clean(f"{comparison.recipe} ×{comparison.threads}"),
        )
        said = _clean(sentence(comparison))
        if comparison.verdict.outcome == "regressed":
            ET.SubElement(case, "failure", message=said).text = said
        elif comparison.verdict.outcome in ("inconclusive", "incomparable"):
            ET.SubElement(case, "skipped", message=said)
        else:
            ET.SubElement(case, "system-out").text = said
    return _encoded(root)


def junit_unmeasured(suite: str, because: str) -> bytes:
    """A JUnit document for a device that could not be measured: one skipped test case."""
    root, cases = _suite(suite, tests=1, failures=0, skipped=1)
    case = ET.SubElement(cases, "testcase", classname="edgekit", name=_clean(suite))
    ET.SubElement(case, "skipped", message=_clean(because))
    return _encoded(root)


def markdown_unmeasured(title: str, because: str) -> str:
    """A comment for a device that could not be measured."""
    return f"### {SIGNS['inconclusive']} not measured: {title}\n\n{as_cell(because)}\n"


def markdown(title: str, comparisons: Sequence[Comparison], remark: str = "") -> str:
    """A short comment: the verdict first, then a row a comparison, then the reasons of what is open, then a remark."""
    lines = [f"### {_headline(comparisons)} {title}", ""]
    lines += ["| artifact | on | baseline | candidate | change | interval | verdict |",
              "|---|---|---:|---:|---:|---:|---|"]  # fmt: skip
    lines += [
        f"| {as_cell(f'{c.model} {c.recipe} ×{c.threads}')} | {as_cell(c.target)} | {_ms(c.baseline_ns)} "
        f"| {_ms(c.candidate_ns)} | {_change(c.verdict)} | {_interval(c.verdict)} "
        f"| {SIGNS[c.verdict.outcome]} {c.verdict.outcome} |"
        for c in comparisons
    ]
    reasons = [
        f"- {as_cell(f'{c.model} {c.recipe}')}: {as_cell(c.verdict.because)}" for c in comparisons if c.verdict.because
    ]
    tolerance = comparisons[0].verdict.tolerance if comparisons else 0.0
    more = f" {as_cell(remark)}." if remark else ""
    told = f"<sub>Up to ±{tolerance:.1%} counts as equivalent; a block is a process.{more}</sub>"
    return "\n".join([*lines, *([""] if reasons else []), *reasons, "", told, ""])


def sentence(comparison: Comparison) -> str:
    """A comparison in one line."""
    verdict = comparison.verdict
    measured = f"{_ms(comparison.baseline_ns)} to {_ms(comparison.candidate_ns)}"
    found = f", {_change(verdict)} ({_interval(verdict)})" if verdict.interval else ""
    return f"{verdict.outcome}: {measured}{found}{': ' if verdict.because else ''}{verdict.because}"


def _suite(name: str, **counts: int) -> tuple[ET.Element, ET.Element]:
    root = ET.Element("testsuites")
    told = {key: str(count) for key, count in counts.items()}
    return root, ET.SubElement(root, "testsuite", {"name": _clean(name), "errors": "0", **told})


def _encoded(root: ET.Element) -> bytes:
    ET.indent(root)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + bytes(ET.tostring(root, encoding="utf-8")) + b"\n"


def _headline(comparisons: Sequence[Comparison]) -> str:
    outcomes = [comparison.verdict.outcome for comparison in comparisons]
    for outcome in ("regressed", "inconclusive", "incomparable", "improved"):
        if outcome in outcomes:
            return f"{SIGNS[outcome]} {outcomes.count(outcome)} of {len(outcomes)} {outcome}:"
    return f"{SIGNS['equivalent']} nothing changed:"


def _change(verdict: Verdict) -> str:
    return f"{verdict.interval.ratio - 1:+.1%}" if verdict.interval else "–"


def _interval(verdict: Verdict) -> str:
    return f"{verdict.interval.low - 1:+.1%} to {verdict.interval.high - 1:+.1%}" if verdict.interval else "–"


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.4g} ms"


def as_cell(text: str) -> str:
    """Text that stays text in a table cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("�", text)

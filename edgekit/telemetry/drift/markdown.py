"""A verdict in Markdown: for an issue, a chat, a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.telemetry.drift.verdict import DriftVerdict, FeatureVerdict


def markdown(verdict: DriftVerdict) -> str:
    """The headline, what moved as a table, cohorts, and what it was compared with."""
    lines = [f"## {headline(verdict)}", "", *(f"- {line}" for line in facts(verdict)), ""]
    if verdict.drifted:
        lines += [
            "| feature | role | distance | threshold | PSI | kind | since | what changed |",
            "|---|---|---:|---:|---:|---|---|---|",
            *(_row(feature) for feature in verdict.drifted),
            "",
        ]
    quiet = [feature.feature for feature in verdict.features if feature.outcome == "quiet"]
    if quiet:
        lines += [f"Quiet: {', '.join(map(_escaped, quiet))}.", ""]
    if verdict.cohorts:
        lines += ["| cohort | verdict | devices | n | drifted |", "|---|---|---:|---:|---|"]
        lines += [
            f"| {_escaped(c.cohort or '(none)')} | {c.outcome} | {_or_dash(c.devices)} | {_or_dash(c.n)} "
            f"| {_escaped(', '.join(c.drifted))} |"
            for c in verdict.cohorts
        ]
        lines.append("")
    return "\n".join(lines)


def headline(verdict: DriftVerdict) -> str:
    """`car_loan: drift in 5 of 10 features (sudden, since 2019-04-01T00:00:00Z)`."""
    said = f"{verdict.model}: {verdict.outcome}"
    if verdict.drifted:
        said += f" in {len(verdict.drifted)} of {len(verdict.features)} features"
    told = [verdict.shape or "", f"since {verdict.began}" if verdict.began else ""]
    told = [part for part in told if part]
    return said + (f" ({', '.join(told)})" if told else "")


def facts(verdict: DriftVerdict) -> list[str]:
    """What was judged, against what, and what that means for the outputs, a line each."""
    seen = f"{verdict.n} observations from {verdict.start} to {verdict.end}"
    if verdict.devices is not None:
        seen += f", {verdict.devices} devices"
    lines = [seen, f"against {verdict.against} (reference {verdict.reference[:12]})"]
    if verdict.outcome == "inconclusive" or (verdict.outcome == "quiet" and verdict.because):
        lines.append(verdict.because)
    lines += [rule.told for rule in verdict.broken]
    if verdict.drifted:
        lines.append(
            {
                True: "the model's outputs moved too",
                False: "the model's outputs did not move: inputs that drift need not hurt",
                None: "whether the outputs moved is not known: none could be judged",
            }[verdict.outputs_moved]
        )
    return lines


def _row(feature: FeatureVerdict) -> str:
    psi = "–" if feature.psi is None else f"{feature.psi:.3f}"
    return (
        f"| {_escaped(feature.feature)} | {feature.role} | {feature.distance:.3f} | {feature.threshold:.3f} "
        f"| {psi} | {feature.shape or '–'} | {feature.began or '–'} | {_escaped(feature.told)} |"
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)

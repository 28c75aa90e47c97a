"""How `convert` shows why: the accuracy budget's trade-off and ranking, and how an artifact will execute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from edgekit.cli import output

if TYPE_CHECKING:
    from edgekit.artifact import Budget
    from edgekit.convert import Outcome

SHOWN_LAYERS = 10


def print_budget(outcome: Outcome) -> None:
    """The trade-off table, and the layers by blame; nothing where the wanted precision was inside the budget."""
    if outcome.artifact is None or outcome.artifact.manifest.budget is None:
        return
    manifest = outcome.artifact.manifest
    budget = manifest.budget
    assert budget is not None
    rows = []
    for trial in budget.trials:
        verdict = Text("inside", "green") if trial.inside else Text(trial.because or "outside", "yellow")
        rows.append([
            f"{trial.recipe}, {trial.kept} kept" if trial.kept else trial.recipe,
            "–" if trial.payload_bytes is None else output.size(trial.payload_bytes),
            output.decibel(trial.snr_db, exact=False),
            output.metric(trial.metric, manifest.accuracy.unit),
            "–" if trial.drop is None else output.metric(trial.drop, manifest.accuracy.unit),
            verdict,
        ])  # fmt: skip
    columns = ["tried", "size", "SNR", manifest.accuracy.metric or "metric", "drop", "budget"]
    output.print_table(
        f"{budget.wanted} within {budget.max_drop}", columns, rows, right="|".join(columns[1:5]), titled=True
    )
    _print_layers(budget, frozenset(manifest.recipe.options.get("keep", ())))


def _print_layers(budget: Budget, kept: frozenset[str]) -> None:
    if not budget.layers:
        return
    shown = budget.layers[: max(SHOWN_LAYERS, len(kept))]
    rows = [
        [str(i + 1), layer.layer, output.decibel(layer.snr_db, exact=True), "kept" if layer.layer in kept else ""]
        for i, layer in enumerate(shown)
    ]
    output.print_table("layers, the worst first", ["", "quantized alone", "SNR", ""], rows, right="|SNR", titled=True)
    if len(budget.layers) > len(shown):
        output.console().print(f"[dim]and {len(budget.layers) - len(shown)} more; the manifest has all[/]")


def print_explanation(outcome: Outcome) -> None:
    """Operator by operator, where it runs, and what to change."""
    told = outcome.explanation
    if told is None:
        return
    rows = [[operator.name, str(operator.count), operator.runs, operator.advice] for operator in told.operators]
    columns = ["operator", "count", "runs", "advice"]
    title = f"{outcome.recipe}, operator by operator"
    output.print_table(title, columns, rows, right="count", droppable="advice", titled=True)
    out = output.console()
    if told.partitions is not None:
        out.print(f"partitions of the delegate: {told.partitions}")
    if told.because:
        out.print(told.because, markup=False)
    for advice in told.advice:
        out.print(f"→ {advice}", markup=False)

"""A rollout, as a table of its stages: printed once, live, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from edgekit.cli import output

if TYPE_CHECKING:
    from edgekit.deploy.rollout import Journal, State

_COLUMNS = (
    ("waiting", ("waiting",)),
    ("deploying", ("deploying",)),
    ("done", ("done",)),
    ("failed", ("failed",)),
    ("absent", ("absent",)),
    ("back", ("rolling-back", "rolled-back", "kept")),
)


def _rows(journal: Journal, state: State) -> list[list[str]]:
    return [
        [stage.name, str(len(stage.devices)), *(str(state.count(stage, *its) or "–") for _, its in _COLUMNS)]
        for stage in journal.plan.stages
    ]


def table(journal: Journal, state: State) -> Any:
    """Rich's table, to be shown while it changes."""
    from rich.table import Table

    made = Table(title=_title(journal, state), title_justify="left", box=None, pad_edge=False)
    for name in ("stage", "devices", *(name for name, _ in _COLUMNS)):
        made.add_column(name, justify="left" if name == "stage" else "right")
    for row in _rows(journal, state):
        made.add_row(*row)
    return made


def _title(journal: Journal, state: State) -> str:
    return f"{journal.plan.id}: {journal.plan.title}, {state.phase}{': ' + state.why if state.why else ''}"


def print_rollout(journal: Journal, state: State) -> None:
    """The table, what went wrong where, and how to go on."""
    columns = ["stage", "devices", *(name for name, _ in _COLUMNS)]
    title = f"{journal.plan.id}: {journal.plan.title}, {state.phase}"
    output.print_table(title, columns, _rows(journal, state), right="|".join(columns[1:]))
    if state.why:
        output.console().print(Text(f"{state.phase}: {state.why}."))
    for name in [*state.names("failed"), *state.names("absent")][:10]:
        output.console().print(Text(f"{name} {state.devices[name]}: {state.reasons.get(name, '')}", "yellow"))
    hints = {
        "paused": "Go on with `edgekit rollout resume`, or take it back with `edgekit rollout rollback`.",
        "running": "If nobody carries it out now, go on with `edgekit rollout resume`.",
    }
    if state.phase in hints:
        output.console().print(hints[state.phase])


def print_rollout_json(command_name: str, journal: Journal, state: State) -> None:
    """The plan and the state."""
    output.print_json(command_name, plan=journal.plan, state=state)

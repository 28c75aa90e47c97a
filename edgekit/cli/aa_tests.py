"""How A/A tests are run from the command line and shown. (No command of its own.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.bench.gate import Plan, gate
from edgekit.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress

    from edgekit.artifact import Artifact
    from edgekit.bench.aa_test import AATest, Rate
    from edgekit.devices import RunnerDevice


def run_aa_test(
    device: RunnerDevice, artifact: Artifact, threads: int, *, gates: int, plan: Plan, progress: Progress
) -> AATest:
    """`gates` gates of an artifact against itself; the caller holds the device's lock.

    Raises:
        WrongAnswerError, RuntimeMissingError, ConnectionLostError, ...: see `gate`.
    """
    from edgekit.bench.aa_test import summarise

    task = progress.add_task(f"{artifact.title} ×{threads} against itself", total=gates, stage="pushing")
    done = []
    for number in range(gates):

        def on_block(side: str, pair: int, event: dict[str, Any], number: int = number) -> None:
            if event["event"] == "hello":
                progress.update(task, stage=f"gate {number + 1} of {gates}, pair {pair + 1}: {side}")

        own = Plan(pairs=plan.pairs, max_pairs=plan.max_pairs, tolerance=plan.tolerance)  # with an order of its own
        done.append(gate(device, artifact, artifact, plan=own, threads=threads, on_block=on_block))
        progress.advance(task)
    return summarise(done)


def print_aa_tests(made: Sequence[AATest]) -> None:
    """A row a test: false alarms, what stayed open, power by slow-down, the smallest effect that it can see."""
    slow_downs = list(made[0].power)
    columns = ["artifact", "gates", "false alarms", "inconclusive", "detectable"]
    powers = [f"sees {float(share):+.0%}" for share in slow_downs]
    rows = [
        [
            f"{one.model} {one.recipe} ×{one.context.threads}",
            str(len(one.gates)),
            share(one.false_alarms),
            share(one.inconclusive),
            "–" if one.detectable is None else f"{one.detectable:.1%}",
            *(share(one.power[slow_down]) for slow_down in slow_downs),
        ]
        for one in made
    ]
    title = f"{made[0].context.target} against itself"
    output.print_table(title, [*columns, *powers], rows, right="|".join([*columns[1:], *powers]),
                       droppable="|".join(powers[:3]))  # fmt: skip
    output.console().print(
        "[dim]shares with their 95 % intervals (Clopper and Pearson); what it sees is computed by shifting the "
        "measured ratios[/]"
    )


def told_beside_a_verdict(made: AATest) -> str:
    """One line for a later verdict on the same target."""
    seen = "" if made.detectable is None else f"; it can see a slow-down of {made.detectable:.1%}"
    return (
        f"this gate against itself, {made.started_at[:10]}: {made.false_alarms.k} false alarms in "
        f"{made.false_alarms.n} (at most {made.false_alarms.high:.1%}, 95 % confidence){seen}"
    )


def share(rate: Rate) -> str:
    """`5 % (1 to 25)`."""
    return f"{rate.share:.0%} ({rate.low:.0%} to {rate.high:.0%})".replace("%", " %")

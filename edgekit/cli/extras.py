"""What `edgekit bench` prints beside its table: limits, delegates, energy, sustained runs, profiles. (No command.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from edgekit.cli import output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgekit.bench import Run
    from edgekit.bench.profile import Profile
    from edgekit.bench.sustained import Sustained
    from edgekit.errors import EdgeKitError

_WIDTH = 24


def stage(event: dict[str, Any]) -> str | None:
    """What a progress line says of an event of an extra run, or of waiting."""
    name = event["event"]
    if name == "waiting":
        return f"waiting: {event['because']}"
    if name == "chunk":
        degrees = event.get("temperature_c")
        warm = f", {degrees:.0f} °C" if isinstance(degrees, int | float) else ""
        mean = event["total_ns"] / max(1, event["n"])
        return f"sustained: {event['at_ns'] / 1e9:.0f} s, {output.duration(mean)}{warm}"
    return {"hello": "extra run", "profile": "profiled"}.get(name)


def state(run: Run) -> Text:
    """Whether a run is ground for a verdict, in a word or two."""
    if run.given_up:
        return Text(f"{len(run.given_up)} of {len(run.given_up) + len(run.blocks)} blocks given up", "yellow")
    return Text("steady", "green") if run.steady else Text("unsteady", "yellow")


def trouble(run: Run) -> Iterator[EdgeKitError]:
    """Extra runs that were cut short, as errors: what they recorded is kept."""
    from edgekit.errors import DeviceError

    found = run.sustained
    if found is not None and not found.complete:
        last = found.seconds[-1] if found.seconds else 0.0
        yield DeviceError(
            f"The sustained run of {run.model} {run.recipe} ended after {last:.0f} of {found.asked_s:.0f} s: "
            f"{found.because}",
            remedy="What it had recorded until then is in the run's file.",
        )


def print_extras(target: str, runs: Sequence[Run]) -> None:
    """Everything below the table, for the runs that have it."""
    for run in runs:
        _print_guards(run)
    _print_unchecked(target, runs)
    for run in runs:
        _print_delegation(run)
        _print_energy(run)
        _print_size(run)
        if run.sustained is not None:
            _print_sustained(run, run.sustained)
        if run.profile is not None:
            _print_profile(run, run.profile)


def _name(run: Run) -> str:
    return f"{run.model} {run.recipe} ×{run.context.threads}"


def _say(run: Run, said: str, style: str = "dim") -> None:
    output.console().print(Text(f"{_name(run)}: {said}", style))


def _print_guards(run: Run) -> None:
    again = sum(block.attempts - 1 for block in run.blocks)
    if again:
        _say(run, f"{again} blocks were measured again, because something had disturbed them", "yellow")
    for given in run.given_up:
        _say(run, f"block {given.number + 1} was given up and counts for nothing: {given.because}", "yellow")
    waited = sum(block.guard.waited_s for block in run.blocks if block.guard is not None)
    if waited:
        _say(run, f"waited {waited:.0f} s for the device to come within its limits")


def _print_unchecked(target: str, runs: Sequence[Run]) -> None:
    names = {name for run in runs for block in run.blocks if block.guard is not None for name in block.guard.unchecked}
    if names:
        said = f"{target} does not tell enough to check its limits {', '.join(sorted(names))}"
        output.console().print(Text(said, "yellow"))


def _print_delegation(run: Run) -> None:
    found = run.delegation
    if found is None or found.operators is None:
        return
    if found.ignored:
        said = f"{found.asked} was asked for and TOOK NOTHING: these figures are the runtime's own kernels'"
        _say(run, said, "bold red")
    else:
        _say(run, found.told)


def _print_energy(run: Run) -> None:
    from edgekit.bench.energy import middle_net_j

    known = [block.energy for block in run.blocks if block.energy is not None]
    if not known or all(energy.joules is None for energy in known):
        return
    net = middle_net_j(known)
    last = known[-1]
    idle = f", beyond {last.idle_w:.2f} W idle" if last.idle_w is not None else ""
    told = f"{_joules(net)} an inference{idle}" if net is not None else f"{_joules(last.gross_j)} an inference, idle"
    _say(run, f"{told} ({last.source})")


def _joules(joules: float | None) -> str:
    return "–" if joules is None else f"{1000 * joules:.3g} mJ"


def _print_size(run: Run) -> None:
    if run.shipped_bytes is not None:
        share = run.shipped_bytes / max(1, run.payload_bytes)
        _say(run, f"{output.size(run.shipped_bytes)} as shipped, compressed ({share:.0%} of its size)")


def _print_sustained(run: Run, found: Sustained) -> None:
    if not found.seconds:
        return
    columns = ["sustained", "first", "end", "change", "slowest", "hottest", "lowest clock", "state"]
    degrees = [value for value in found.temperature_c if value is not None]
    clocks = [value for value in found.frequency_hz if value is not None]
    change = f"{found.ratio - 1:+.1%}" if found.ratio is not None else "–"
    state = (
        Text("settled", "green") if found.settled else Text("not settled" if found.complete else "cut short", "yellow")
    )
    row = [
        f"{_name(run)}, {found.seconds[-1]:.0f} s", output.duration(found.first_ns), output.duration(found.end_ns),
        change, output.duration(max(found.p50_ns)), f"{max(degrees):.0f} °C" if degrees else "–",
        f"{min(clocks) / 1e9:.2f} GHz" if clocks else "–", state,
    ]  # fmt: skip
    output.print_table("sustained", columns, [row], right="first|end|change|slowest|hottest|lowest clock", titled=True)
    said = f"first and end are the medians of {found.window_s:.0f} s each; slowest is the slowest second's median"
    output.console().print(Text(said, "dim"))
    for name, because in found.missing.items():
        output.console().print(Text(f"no {name.rsplit('_', 1)[0]}: {because}", "dim"))


def _print_profile(run: Run, found: Profile) -> None:
    if found.because is not None:
        _say(run, f"no profile: {found.because}", "yellow")
        return
    top, rest = found.top()
    most = max((operator.share for operator in top), default=0.0) or 1.0
    rows = [
        [operator.name, operator.type, f"{operator.calls:g}", output.duration(operator.total_ns),
         f"{operator.share:.1%}", "█" * round(_WIDTH * operator.share / most)]
        for operator in top
    ]  # fmt: skip
    if rest:
        rows.append([f"{len(rest)} more", "", "", output.duration(sum(one.total_ns for one in rest)),
                     f"{sum(one.share for one in rest):.1%}", ""])  # fmt: skip
    columns = ["operator", "type", "calls", "time", "share", ""]
    output.print_table(f"profile of {_name(run)}", columns, rows, right="calls|time|share", titled=True)
    parts = [f"{found.tool}, {found.invokes} inferences"]
    if found.accounted is not None:
        parts.append(f"operators add up to {found.accounted:.0%} of an inference")
    if found.overhead is not None:
        parts.append(f"with profiling it takes {found.overhead:+.0%} longer")
    output.console().print(Text("; ".join(parts), "dim"))

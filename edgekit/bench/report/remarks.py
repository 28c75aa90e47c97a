"""What a run's figures need to be read with: its conditions, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bench.energy import middle_net_j
from edgekit.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.bench.run import Run


@dataclass(frozen=True)
class Remark:
    """Something about one run that the figures need to be read with; `loud` where they are not what was asked for."""

    run: str
    said: str
    loud: bool = False


def remarks(run: Run) -> Iterator[Remark]:
    """Given-up blocks, limits that could not be checked, delegates, energy, size, extra runs that gave nothing."""
    name = f"{run.model} {run.recipe} ×{run.context.threads} on {run.context.target}"
    for given in run.given_up:
        yield Remark(
            name, f"block {given.number + 1} was given up, and counts for nothing: {given.because}.", loud=True
        )
    again = sum(block.attempts - 1 for block in run.blocks)
    if again:
        yield Remark(name, f"{again} block{'s' * (again != 1)} measured again, because something disturbed them.")
    unchecked = {limit for block in run.blocks if block.guard is not None for limit in block.guard.unchecked}
    if unchecked:
        yield Remark(name, f"the device does not tell enough to check its limits {', '.join(sorted(unchecked))}.")
    found = run.delegation
    if found is not None and found.operators is not None:
        yield Remark(name, f"{found.told}.", loud=found.ignored)
    energies = [block.energy for block in run.blocks if block.energy is not None]
    if energies:
        net = middle_net_j(energies)
        missing = f"energy is not known: {energies[-1].because}."
        yield Remark(name, f"{1000 * net:.3g} mJ an inference beyond idle." if net is not None else missing)
    if run.shipped_bytes is not None:
        yield Remark(name, f"{size(run.shipped_bytes)} as shipped, compressed.")
    if run.profile is not None and run.profile.because is not None:
        yield Remark(name, f"no profile: {run.profile.because}.")
    if run.sustained is not None and not run.sustained.complete:
        yield Remark(name, f"the sustained run was cut short: {run.sustained.because}", loud=True)

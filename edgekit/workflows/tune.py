"""Tune: which artifact of a model, with how many threads, is the best on a device, inside the limits.

Every recipe that the device has a runtime for is converted and proven; what breaks a limit on size or accuracy is out
before it is measured. The rest race on the device (`racing`), each with every thread count; what takes too
much memory is out when that is known. The winner is the fastest, or the smallest payload of those within the race's
tolerance of it. The Pareto front holds what nothing beats in latency, accuracy and size together.

Before it beats another, and before it is named, an arm answers the model's evaluation data on the device
(`edgekit.workflows.checking`): golden inputs are eight samples, and a runtime can be right on those, and fast, and
wrong. One that is less accurate there than here, or breaks the budget there, is out, and the next one is asked.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit import plugins
from edgekit.convert import convert
from edgekit.convert.load import is_model_folder
from edgekit.devices.runner_client import device_info
from edgekit.errors import RuntimeMissingError
from edgekit.files import point_to
from edgekit.recipe import Recipe
from edgekit.workflows.checking import Checked, Checking
from edgekit.workflows.racing import Racing
from edgekit.workflows.tuned import Arm, Limits, Tuned, ranked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.bench.race import Rules
    from edgekit.convert import Bounds, Outcome
    from edgekit.convert.load import ModelRef
    from edgekit.devices import Device

TRIPLES = {"aarch64": "aarch64-linux-gnu", "armv7l": "armv7-linux-gnueabihf", "x86_64": "x86_64-linux-gnu"}
"""What a compiled format is compiled for, by what a device calls its machine."""


@dataclass(frozen=True)
class Telling:
    """Who is told what is going on: a conversion's stage, and an arm's block."""

    on_stage: Callable[[str, str], None] = lambda _title, _stage: None
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None
    on_round: Callable[[int, int], None] = lambda _number, _arms: None
    on_block: Callable[[str], None] = lambda _arm: None
    on_evaluation: Callable[[str], None] = lambda _arm: None


def default_recipes(device: Device) -> list[Recipe]:
    """Every precision of every format that the device has a runtime for.

    Raises:
        RuntimeMissingError: it has none.
        DeviceError: see `device_info`.
    """
    info = device_info(device)
    there = {name for name, found in info["runtimes"].items() if "package" in found}
    machine = info["facts"]["values"].get("machine")
    recipes = []
    for name in plugins.names("format"):
        form = plugins.load("format", name)
        if form.runtime not in there or (form.compiled and machine not in TRIPLES):
            continue
        triple = TRIPLES[machine] if form.compiled else None
        recipes += [Recipe(name, precision, triple) for precision in form.precisions]
    if not recipes:
        raise RuntimeMissingError(
            f"{device.name} has no runtime for any format.", remedy=f"Run: edgekit provision {device.target.name}."
        )
    return recipes


def tune(
    device: Device,
    ref: ModelRef,
    recipes: Sequence[Recipe],
    *,
    threads: Sequence[int],
    limits: Limits,
    out: Path,
    rules: Rules,
    lock: Callable[[], AbstractContextManager[object]],
    bounds: Bounds | None = None,
    checked: Checked = "winner",
    telling: Telling | None = None,
) -> Tuned:
    """Converts, races, and links the winner as `out/MODEL/tuned-TARGET`.

    Args:
        device: connected.
        ref: the model.
        recipes: what takes part.
        threads: each recipe runs with each count.
        limits: what an artifact may cost.
        out: artifacts appear there, as for `convert`.
        rules: of the race.
        lock: gives the block in which the device is ours; entered when everything is converted.
        bounds: of the conversions.
        checked: which arms are evaluated on the device before they are named so.
        telling: who is told what is going on.

    Raises:
        RecipeError: an unknown recipe, or no such accuracy budget; nothing was run.
        ConnectionLostError, ...: the device was lost; see `edgekit.devices`.
    """
    telling = telling or Telling()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    outcomes = convert(
        ref, recipes, out=out, max_drop=limits.max_drop, bounds=bounds,
        on_stage=telling.on_stage, on_outcome=telling.on_outcome,
    )  # fmt: skip
    settled = [arm for outcome in outcomes for arm in _out_before_the_race(outcome, threads, limits)]
    artifacts = _distinct(outcomes, {str(arm.recipe) for arm in settled})
    with lock():
        checking = None
        if checked != "none" and is_model_folder(ref.path):
            checking = Checking(device, ref, artifacts, limits, telling.on_evaluation)
        racing = Racing(device, artifacts, threads, limits, telling.on_block, telling.on_round, checking)
        arms = [*settled, *racing.run(rules)]
        if checking is not None:
            arms = checking.settle(arms, rules.tolerance, whole_front=checked == "front")
    arms = ranked(arms, rules.tolerance)
    made = Tuned(secrets.token_hex(6), started, ref.name, device.target.name, limits, rules.seed, tuple(arms))
    if made.winner is not None:
        link = next(o.link for o in outcomes if o.artifact is not None and o.artifact.id == made.winner.artifact)
        assert link is not None
        point_to(out / ref.name / f"tuned-{device.target.name}", link.resolve())
    return made


def _out_before_the_race(outcome: Outcome, threads: Sequence[int], limits: Limits) -> Iterator[Arm]:
    """The arms of a recipe that failed or is too large, one for all thread counts."""
    if outcome.artifact is None:
        assert outcome.error is not None
        yield Arm(outcome.recipe, threads[0], "failed", because=outcome.error.what)
        return
    manifest = outcome.artifact.manifest
    if limits.max_size_bytes is not None and manifest.payload_bytes > limits.max_size_bytes:
        yield Arm(
            outcome.recipe, threads[0], "over a limit", outcome.artifact.id, size_bytes=manifest.payload_bytes,
            accuracy=manifest.accuracy, because=f"its payload has more than {limits.max_size_bytes / 1e6:g} MB",
        )  # fmt: skip


def _distinct(outcomes: Sequence[Outcome], out: set[str]) -> list[Artifact]:
    """Artifacts that take part, each once: under a budget two recipes may have ended in the same."""
    found: dict[str, Artifact] = {}
    for outcome in outcomes:
        if outcome.artifact is not None and str(outcome.recipe) not in out:
            found.setdefault(outcome.artifact.id, outcome.artifact)
    return list(found.values())

"""The chain: checks what is asked for, has each recipe's artifact built (`edgekit.convert.building`), publishes it.

A recipe that fails is not the end of the question: the precisions that its format calls the nearest are tried, and the
error names the first that works. Under an accuracy budget, what is published is the smallest artifact inside it.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.artifact import Artifact, Budget, LayerSensitivity, Trial, open_artifact
from edgekit.convert.budget import parse_max_drop
from edgekit.convert.building import Bounds, Builder
from edgekit.convert.cache import copy_whole
from edgekit.convert.formats import KEEP, Explanation, Format
from edgekit.convert.routes import format_of, route
from edgekit.errors import ConversionError, DataError, EdgeKitError, ParityError, RecipeError
from edgekit.files import point_to

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.convert.load import ModelRef
    from edgekit.recipe import Recipe

STORE = ".store"


@dataclass(frozen=True)
class Outcome:
    """What became of one recipe: an artifact and where its link is, or an error.

    Under an accuracy budget the artifact's own recipe (`artifact.manifest.recipe`) may be another than the one wanted.
    """

    recipe: Recipe
    artifact: Artifact | None
    link: Path | None
    error: EdgeKitError | None
    cached: bool
    seconds: float
    explanation: Explanation | None = None


def convert(
    ref: ModelRef,
    recipes: Sequence[Recipe],
    *,
    out: Path,
    on_stage: Callable[[str, str], None] = lambda _title, _stage: None,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
    max_drop: str | None = None,
    explain: bool = False,
    bounds: Bounds | None = None,
) -> list[Outcome]:
    """Converts a model by every recipe; one failed recipe never stops the others.

    Args:
        ref: the model, from `find_model`.
        recipes: checked before anything runs.
        out: artifacts appear as `out/MODEL/FORMAT-PRECISION`, links into `out/.store/ID`.
        on_stage: called with (recipe, or the name of a shared step; stage, at last `DONE`) from worker threads.
        on_outcome: called with each outcome as it is known, from worker threads.
        max_drop: the accuracy budget, "1%" or an amount (`edgekit.convert.budget.parse_max_drop`).
        explain: whether outcomes have an explanation.
        bounds: time, memory and parallelism.

    Returns:
        One outcome per recipe, in their order.

    Raises:
        RecipeError: an unknown format or precision, the same recipe twice, or no such budget; nothing was run.
        PluginError, MissingPackageError: a converter is missing; nothing was run.
    """
    _validate(ref, recipes)
    if max_drop is not None:
        parse_max_drop(max_drop, "")
    builder = Builder(ref, bounds or Bounds(), on_stage)
    chain = _Chain(builder, out, max_drop, explain=explain)
    outcomes: dict[int, Outcome] = {}
    pool = ThreadPoolExecutor(max_workers=min(32, len(recipes)))  # they wait; workers are admitted one by one
    try:
        futures: dict[Future[Outcome], int] = {
            pool.submit(chain.outcome, recipe): i for i, recipe in enumerate(recipes)
        }
        pending = set(futures)
        while pending:
            # A bounded wait, so that Ctrl-C is answered at once on every system.
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                outcomes[futures[future]] = future.result()
                on_outcome(outcomes[futures[future]])
    finally:
        builder.workers.stop()
        pool.shutdown(wait=True, cancel_futures=True)
    return [outcomes[i] for i in range(len(recipes))]


def _validate(ref: ModelRef, recipes: Sequence[Recipe]) -> None:
    if not recipes:
        raise RecipeError("No recipe was given.", remedy="Give --to FORMAT:PRECISION, such as --to tflite:int8.")
    source = plugins.load("source", ref.source)
    plugins.require(source.distributions, extra=source.extra, purpose=f"A {source.name} model")
    for recipe in recipes:
        if recipe.format not in plugins.names("format"):
            raise RecipeError(
                f"There is no format {recipe.format!r}.",
                remedy=f"Choose one of: {', '.join(plugins.names('format'))}.",
            )
        form: Format = plugins.load("format", recipe.format)()
        form.validate(recipe)
        kind = route(source, form)
        plugins.require(form.required(kind), extra=form.extra, purpose=f"The format {form.name}")
    titles = [str(recipe) for recipe in recipes]
    if len(set(titles)) != len(titles):
        raise RecipeError("A recipe was given twice.", remedy="Give each once.")


class _Chain:
    """What becomes of recipes in one call of `convert`."""

    def __init__(self, builder: Builder, out: Path, max_drop: str | None, *, explain: bool) -> None:
        self._builder = builder
        self._out = out
        self._max_drop = max_drop
        self._explain = explain

    def outcome(self, recipe: Recipe) -> Outcome:
        """Converts by one recipe, publishes, and never raises an EdgeKitError."""
        began = time.perf_counter()
        explanation = None
        try:
            artifact, cached = self._builder.artifact(recipe) if self._max_drop is None else self._inside_budget(recipe)
            if self._explain:
                explanation = self._builder.explanation(artifact)
            published, link = self._publish(artifact)
        except (ParityError, ConversionError) as error:
            told = self._with_nearest(recipe, error) if self._max_drop is None else error
            return Outcome(recipe, None, None, told, cached=False, seconds=time.perf_counter() - began)
        except EdgeKitError as error:
            return Outcome(recipe, None, None, error, cached=False, seconds=time.perf_counter() - began)
        seconds = time.perf_counter() - began
        return Outcome(recipe, published, link, None, cached=cached, seconds=seconds, explanation=explanation)

    def _publish(self, artifact: Artifact) -> tuple[Artifact, Path]:
        destination = self._out / STORE / artifact.id
        copy_whole(artifact.path, destination)
        link = self._out / artifact.manifest.model / artifact.manifest.recipe.slug
        point_to(link, destination)
        return open_artifact(destination), link

    def _with_nearest(self, recipe: Recipe, error: EdgeKitError) -> EdgeKitError:
        """The error, with the nearest precision that was found to work."""
        for name in format_of(recipe).precisions[recipe.precision].nearest:
            other = msgspec.structs.replace(recipe, precision=name, options=_without_keep(recipe))
            try:
                artifact, _ = self._builder.artifact(other)
            except EdgeKitError:
                continue
            snr = artifact.manifest.parity.worst_snr_db
            proven = "equal to its source to the bit" if snr is None else f"{snr:.1f} dB"
            remedy = f"The nearest precision that works is {other} ({proven}). {error.remedy}".strip()
            return type(error)(error.what, remedy=remedy)
        return error

    def _inside_budget(self, wanted: Recipe) -> tuple[Artifact, bool]:
        """The smallest artifact inside the budget: as wanted, with layers kept, or of a nearer precision.

        Raises:
            ParityError: nothing is inside it.
        """
        assert self._max_drop is not None
        trials: list[Trial] = []
        first = self._try(wanted, trials)
        if first is not None and trials[-1].inside:
            return first
        form = format_of(wanted)
        found: list[tuple[int, Recipe]] = []
        layers: tuple[LayerSensitivity, ...] = ()
        if form.mixed:
            told = self._builder.sensitivity(wanted, self._max_drop)
            layers = told.layers
            trials += [trial for trial in told.trials if trial.kept]
            if told.keep is not None:
                size = next(t.payload_bytes for t in told.trials if t.kept == len(told.keep))
                options = {**wanted.options, KEEP: list(told.keep)}
                found.append((size or 0, msgspec.structs.replace(wanted, options=options)))
        for name in form.precisions[wanted.precision].nearest:
            other = msgspec.structs.replace(wanted, precision=name, options=_without_keep(wanted))
            artifact = self._try(other, trials)
            if artifact is not None and trials[-1].inside:
                found.append((artifact[0].manifest.payload_bytes, other))
                break
        if not found:
            raise ParityError(
                f"{self._builder.model} {wanted}: nothing that {form.name} makes of it loses at most {self._max_drop}.",
                remedy="Allow a larger --max-drop, or see with `--to` what each precision loses.",
            )
        _, best = min(found, key=lambda pair: pair[0])
        return self._builder.artifact(best, Budget(self._max_drop, str(wanted), layers, tuple(trials)))

    def _try(self, recipe: Recipe, trials: list[Trial]) -> tuple[Artifact, bool] | None:
        """Converts, and notes how it went."""
        assert self._max_drop is not None
        try:
            artifact, cached = self._builder.artifact(recipe)
        except (ParityError, ConversionError) as error:
            trials.append(Trial(str(recipe), 0, None, None, None, None, inside=False, because=error.what))
            return None
        manifest = artifact.manifest
        accuracy = manifest.accuracy
        if accuracy.drop is None or accuracy.source is None:
            raise DataError(
                f"{self._builder.model} has no metric ({accuracy.because}), so there is nothing to hold within "
                f"{self._max_drop}.",
                remedy="Declare `metric=` and `evaluation=` in model.py, or leave --max-drop out.",
            )
        inside = parse_max_drop(self._max_drop, accuracy.unit).allows(accuracy.drop, accuracy.source)
        trials.append(
            Trial(str(recipe), 0, manifest.payload_bytes, manifest.parity.worst_snr_db, accuracy.artifact,
                  accuracy.drop, inside=inside)
        )  # fmt: skip
        return artifact, cached


def _without_keep(recipe: Recipe) -> dict[str, object]:
    return {name: value for name, value in recipe.options.items() if name != KEEP}

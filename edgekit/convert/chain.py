"""The chain: plan, look up, run what is missing, publish.

    source step ── derive step per further kind of export ── lower step per format ── recipe step per recipe

Each step's key is a hash over all that can change its result: the model's files and data, the recipe, the versions of
the tools, and the code of the chain itself. A step whose key is in the cache is not run.

A recipe that fails is not the end of the question: the precisions that its format calls the nearest are tried, and the
error names the first that works. Under an accuracy budget, what is published is the smallest artifact inside it.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.artifact import Artifact, Budget, Cost, LayerSensitivity, Trial, open_artifact
from edgekit.convert.budget import Sensitivity, parse_max_drop
from edgekit.convert.cache import Cache, Shared, copy_whole
from edgekit.convert.formats import KEEP, Explanation, Format
from edgekit.convert.memory import SHARE, available_bytes
from edgekit.convert.steps import COST, EXPLANATION, EXPORTED, SENSITIVITY, Job, read_facts
from edgekit.convert.workers import Workers
from edgekit.errors import ConversionError, DataError, EdgeKitError, ParityError, RecipeError
from edgekit.files import cache_folder, digest_of, digest_of_tree, point_to, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgekit.convert.load import ModelRef
    from edgekit.convert.sources import Source
    from edgekit.recipe import Recipe

STORE = ".store"
DEFAULT_TIMEOUT_S = 1800.0
DONE = "done"
"""The last stage of a step that recipes share."""


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


@dataclass(frozen=True)
class Bounds:
    """What a conversion may take: seconds and bytes for each step, and how many steps at once (None: the cores)."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    memory_bytes: int | None = None
    jobs: int | None = None


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
    chain = _Chain(ref, out, on_stage, bounds or Bounds(), max_drop, explain=explain)
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
        chain.workers.stop()
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
        kind = _route(source, form)
        plugins.require(form.required(kind), extra=form.extra, purpose=f"The format {form.name}")
    titles = [str(recipe) for recipe in recipes]
    if len(set(titles)) != len(titles):
        raise RecipeError("A recipe was given twice.", remedy="Give each once.")


def _route(source: Source | type[Source], form: Format) -> str:
    """The kind of export that a format reads from a source: of those that it accepts, the one that it likes best."""
    for kind in form.accepts:
        if kind in source.exports:
            return kind
    reached = [
        name for name in plugins.names("format") if set(plugins.load("format", name).accepts) & set(source.exports)
    ]
    raise RecipeError(
        f"The format {form.name} has no route from a {source.name} model: it reads {', '.join(form.accepts)}, and "
        f"{source.name} models are exported as {', '.join(source.exports)}.",
        remedy=f"Formats that take {source.name} models: {', '.join(reached)}."
        if reached
        else "Give the model in another form.",
    )


@cache
def _code_sha256() -> str:
    """Of the code that takes part in every conversion; plugins are hashed one by one, with the `parts` they name."""
    package = Path(__file__).parent
    modules = [*package.glob("*.py"), *(package.parent / "runner").glob("*.py")]
    bases = [package / "formats" / "base.py", package / "sources" / "base.py"]
    nouns = [package.parent / f"{noun}.py" for noun in ("model", "specs", "artifact", "recipe")]
    return digest_of_tree([*sorted(modules), *bases, *nouns])


class _Chain:
    """One call of `convert`: the keys, the cache, the shared steps."""

    def __init__(
        self, ref: ModelRef, out: Path, on_stage: Callable[[str, str], None], bounds: Bounds, max_drop: str | None, *,
        explain: bool,
    ) -> None:  # fmt: skip
        self._ref = ref
        self._out = out
        self._on_stage = on_stage
        self._max_drop = max_drop
        self._explain = explain
        self._cache = Cache(cache_folder())
        memory = bounds.memory_bytes or int(available_bytes() * SHARE)
        self.workers = Workers(bounds.timeout_s, memory, bounds.jobs or os.cpu_count() or 1)
        self._steps: Shared[Path] = Shared()
        self._artifacts: Shared[tuple[Artifact, bool]] = Shared()
        self._source: type[Source] = plugins.load("source", ref.source)
        self._job = Job(
            step="source",
            work="",
            model_path=str(ref.path),
            model_name=ref.name,
            source=ref.source,
            shapes=dict(ref.shapes),
            calibration=str(ref.calibration) if ref.calibration else None,
            source_sha256=ref.sha256(),
            trust=ref.trust,
        )
        calibration = sha256_of(ref.calibration) if ref.calibration else None
        self._source_key = digest_of(
            [_code_sha256(), plugins.code_sha256(self._source), ref.name, self._job.source_sha256, calibration,
             plugins.versions(self._source.distributions)]
        )  # fmt: skip

    def outcome(self, recipe: Recipe) -> Outcome:
        """Converts by one recipe, publishes, and never raises an EdgeKitError."""
        began = time.perf_counter()
        explanation = None
        try:
            artifact, cached = self._artifact(recipe) if self._max_drop is None else self._inside_budget(recipe)
            if self._explain:
                explanation = self._explained(artifact)
            published, link = self._publish(artifact)
        except (ParityError, ConversionError) as error:
            told = self._with_nearest(recipe, error) if self._max_drop is None else error
            return Outcome(recipe, None, None, told, cached=False, seconds=time.perf_counter() - began)
        except EdgeKitError as error:
            return Outcome(recipe, None, None, error, cached=False, seconds=time.perf_counter() - began)
        seconds = time.perf_counter() - began
        return Outcome(recipe, published, link, None, cached=cached, seconds=seconds, explanation=explanation)

    # ------------------------------------------------------------------------------------------------ one recipe

    def _artifact(self, recipe: Recipe, budget: Budget | None = None) -> tuple[Artifact, bool]:
        """The artifact of a recipe, and whether it came from the cache."""
        key = self._recipe_key(recipe, budget)
        return self._artifacts.once(key, lambda: self._find_or_build(recipe, key, budget))

    def _find_or_build(self, recipe: Recipe, key: str, budget: Budget | None) -> tuple[Artifact, bool]:
        if (found := self._cache.artifact(key)) is not None:
            return found, True
        job = self._prepared(recipe)
        if _format(recipe).validate(recipe).needs_calibration:
            self._require_calibration(recipe, Path(str(job.source_folder)))
        log = self._cache.log(f"{recipe.slug}-{key}")
        with self._cache.writing_artifact(key, log) as work:
            shared = {
                name: msgspec.json.decode((Path(folder) / COST).read_bytes(), type=Cost)
                for name, folder in (
                    ("source", job.source_folder), ("derive", job.exported_folder), ("lower", job.lower_folder)
                )
                if folder is not None and (Path(folder) / COST).is_file()
            }  # fmt: skip
            job = msgspec.structs.replace(job, step="recipe", work=str(work), budget=budget, shared=shared)
            self._run(job, log, str(recipe), f"{self._ref.name} {recipe}", recipe.format)
        built = self._cache.artifact(key)
        assert built is not None
        return built, False

    def _recipe_key(self, recipe: Recipe, budget: Budget | None) -> str:
        form = _format(recipe)
        return digest_of([self._lower_key(form), str(recipe), recipe.options, msgspec.to_builtins(budget)])

    def _lower_key(self, form: Format) -> str:
        kind = _route(self._source, form)
        tools = plugins.versions(form.required(kind))
        return digest_of([self._derive_key(kind), form.name, _codes(form.name), tools])

    def _derive_key(self, kind: str) -> str:
        return digest_of([self._source_key, kind, plugins.versions(self._source.deriving.get(kind, ()))])

    def _prepared(self, recipe: Recipe) -> Job:
        """A job with all the steps done that a recipe needs; it only lacks its own step and folder."""
        form = _format(recipe)
        kind = _route(self._source, form)
        source = self._step("source", self._source_key, self._job, self._ref.source)
        job = msgspec.structs.replace(
            self._job, recipe=recipe, format=form.name, kind=kind, source_folder=str(source),
            exported_folder=str(source / EXPORTED),
        )  # fmt: skip
        if kind != self._source.exports[0]:
            name = f"{self._ref.source} {kind}"
            derived = self._step("derive", self._derive_key(kind), job, name, self._source.environment.get(kind))
            job = msgspec.structs.replace(job, exported_folder=str(derived / EXPORTED))
        if type(form).lower is Format.lower:
            return msgspec.structs.replace(job, lower_folder=job.exported_folder)
        lowered = self._step("lower", self._lower_key(form), job, form.name)
        return msgspec.structs.replace(job, lower_folder=str(lowered))

    def _step(self, step: str, key: str, job: Job, name: str, environment: Mapping[str, str] | None = None) -> Path:
        """A step that several recipes share, from the cache or run now."""

        def make() -> Path:
            if (found := self._cache.step(step, key)) is not None:
                return found
            title = step if step == "source" else f"{name} {step}"
            log = self._cache.log(f"{step}-{key}")
            with self._cache.writing_step(step, key) as (work, folder):
                asked = msgspec.structs.replace(job, step=step, work=str(work))
                self._run(asked, log, title, f"{self._ref.name} {name} {step}", name, environment)
            self._on_stage(title, DONE)
            return folder

        return self._steps.once(f"{step}-{key}", make)

    def _run(
        self, job: Job, log: Path, title: str, called: str, name: str, environment: Mapping[str, str] | None = None
    ) -> None:
        ledger = f"{job.step}-{name}".replace(" ", "-")
        expected = self._cache.expected_bytes(ledger)
        peak = self.workers.run(job, log, lambda s: self._on_stage(title, s), called, expected, environment)
        self._cache.note_cost(ledger, peak)

    def _require_calibration(self, recipe: Recipe, source: Path) -> None:
        if not read_facts(source).calibration_samples:
            raise DataError(
                f"{self._ref.name} {recipe} needs calibration data, and there are none.",
                remedy="Give --calibration data.npz with representative inputs, or declare `calibration=` in model.py.",
            )

    def _publish(self, artifact: Artifact) -> tuple[Artifact, Path]:
        destination = self._out / STORE / artifact.id
        copy_whole(artifact.path, destination)
        link = self._out / artifact.manifest.model / artifact.manifest.recipe.slug
        point_to(link, destination)
        return open_artifact(destination), link

    # -------------------------------------------------------------------------------------- what goes beyond it

    def _with_nearest(self, recipe: Recipe, error: EdgeKitError) -> EdgeKitError:
        """The error, with the nearest precision that was found to work."""
        for name in _format(recipe).precisions[recipe.precision].nearest:
            other = msgspec.structs.replace(recipe, precision=name, options=_without_keep(recipe))
            try:
                artifact, _ = self._artifact(other)
            except EdgeKitError:
                continue
            snr = artifact.manifest.parity.worst_snr_db
            proven = "equal to its source to the bit" if snr is None else f"{snr:.1f} dB"
            remedy = f"The nearest precision that works is {other} ({proven}). {error.remedy}".strip()
            return type(error)(error.what, remedy=remedy)
        return error

    def _explained(self, artifact: Artifact) -> Explanation:
        recipe = artifact.manifest.recipe
        key = digest_of([self._recipe_key(recipe, artifact.manifest.budget), artifact.id])
        if (folder := self._cache.step("explain", key)) is None:
            job = msgspec.structs.replace(self._prepared(recipe), artifact=str(artifact.path))
            folder = self._step("explain", key, job, str(recipe))
        return msgspec.json.decode((folder / EXPLANATION).read_bytes(), type=Explanation)

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
        form = _format(wanted)
        found: list[tuple[int, Recipe]] = []
        layers: tuple[LayerSensitivity, ...] = ()
        if form.mixed:
            told = self._sensitivity(wanted)
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
                f"{self._ref.name} {wanted}: nothing that {form.name} makes of it loses at most {self._max_drop}.",
                remedy="Allow a larger --max-drop, or see with `--to` what each precision loses.",
            )
        _, best = min(found, key=lambda pair: pair[0])
        return self._artifact(best, Budget(self._max_drop, str(wanted), layers, tuple(trials)))

    def _try(self, recipe: Recipe, trials: list[Trial]) -> tuple[Artifact, bool] | None:
        """Converts, and notes how it went."""
        assert self._max_drop is not None
        try:
            artifact, cached = self._artifact(recipe)
        except (ParityError, ConversionError) as error:
            trials.append(Trial(str(recipe), 0, None, None, None, None, inside=False, because=error.what))
            return None
        manifest = artifact.manifest
        accuracy = manifest.accuracy
        if accuracy.drop is None or accuracy.source is None:
            raise DataError(
                f"{self._ref.name} has no metric ({accuracy.because}), so there is nothing to hold within "
                f"{self._max_drop}.",
                remedy="Declare `metric=` and `evaluation=` in model.py, or leave --max-drop out.",
            )
        inside = parse_max_drop(self._max_drop, accuracy.unit).allows(accuracy.drop, accuracy.source)
        trials.append(
            Trial(str(recipe), 0, manifest.payload_bytes, manifest.parity.worst_snr_db, accuracy.artifact,
                  accuracy.drop, inside=inside)
        )  # fmt: skip
        return artifact, cached

    def _sensitivity(self, recipe: Recipe) -> Sensitivity:
        job = msgspec.structs.replace(self._prepared(recipe), max_drop=self._max_drop)
        key = digest_of([self._recipe_key(recipe, None), self._max_drop])
        folder = self._step("sensitivity", key, job, str(recipe))
        return msgspec.json.decode((folder / SENSITIVITY).read_bytes(), type=Sensitivity)


def _format(recipe: Recipe) -> Format:
    form: Format = plugins.load("format", recipe.format)()
    return form


def _codes(name: str) -> list[str]:
    form = plugins.load("format", name)
    return [plugins.code_sha256(form), plugins.code_sha256(plugins.load("runtime", form.runtime))]


def _without_keep(recipe: Recipe) -> dict[str, object]:
    return {name: value for name, value in recipe.options.items() if name != KEEP}

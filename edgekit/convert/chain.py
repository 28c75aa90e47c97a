"""The chain: plan, look up, run what is missing, publish.

    source step ── lower step per format ── one recipe step per recipe

Each step's key is a hash over all that can change its result: the model's files and data, the recipe, the versions of
the tools, and the code of the chain itself. A step whose key is in the cache is not run. What is taken from the cache
is checked against its sha256 first, so that a damaged cache repairs itself.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.artifact import MANIFEST, Artifact, check_files, open_artifact
from edgekit.convert.steps import Job, read_facts
from edgekit.convert.workers import Workers
from edgekit.errors import ArtifactError, DataError, EdgeKitError, RecipeError
from edgekit.files import (
    cache_folder,
    copy_files,
    digest_of,
    digest_of_tree,
    point_to,
    publishing_folder,
    sha256_of,
    write_file,
    writing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.convert.formats import Format
    from edgekit.convert.load import ModelRef
    from edgekit.recipe import Recipe

STORE = ".store"
STEP_SHA256 = ".sha256"
"""In a step's folder: one hash over all its other files."""
DEFAULT_TIMEOUT_S = 1800.0
DONE = "done"
"""The last stage of a step that recipes share."""


@dataclass(frozen=True)
class Outcome:
    """What became of one recipe: an artifact and where its link is, or an error."""

    recipe: Recipe
    artifact: Artifact | None
    link: Path | None
    error: EdgeKitError | None
    cached: bool
    seconds: float


def convert(
    ref: ModelRef,
    recipes: Sequence[Recipe],
    *,
    out: Path,
    on_stage: Callable[[str, str], None] = lambda _title, _stage: None,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
    jobs: int | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> list[Outcome]:
    """Converts a model by every recipe; one failed recipe never stops the others.

    Args:
        ref: the model, from `find_model`.
        recipes: checked before anything runs.
        out: artifacts appear as `out/MODEL/FORMAT-PRECISION`, links into `out/.store/ID`.
        on_stage: called with (recipe, "source" or "lower"; stage, at last `DONE`) from worker threads.
        on_outcome: called with each outcome as it is known, from worker threads.
        jobs: how many workers at once; half the cores if not given, at least one.
        timeout_s: bound of each step.

    Returns:
        One outcome per recipe, in their order.

    Raises:
        RecipeError: an unknown format or precision, or the same recipe twice; nothing was run.
        PluginError, MissingPackageError: a converter is missing; nothing was run.
    """
    _validate(ref, recipes)
    chain = _Chain(ref, out, on_stage, timeout_s)
    outcomes: dict[int, Outcome] = {}
    pool = ThreadPoolExecutor(max_workers=jobs or max(1, (os.cpu_count() or 2) // 2))
    try:
        futures: dict[Future[Outcome], int] = {
            pool.submit(chain.outcome, recipe): i for i, recipe in enumerate(recipes)
        }
        pending = set(futures)
        while pending:
            # A bounded wait, so that Ctrl-C is answered at once on every system.
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
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
        if source.exports not in form.accepts:
            raise RecipeError(
                f"The format {form.name} has no route from a {source.name} model.",
                remedy=f"It takes {', '.join(form.accepts)}.",
            )
        plugins.require(form.distributions, extra=form.extra, purpose=f"The format {form.name}")
    titles = [str(recipe) for recipe in recipes]
    if len(set(titles)) != len(titles):
        raise RecipeError("A recipe was given twice.", remedy="Give each once.")


@cache
def _code_sha256() -> str:
    package = Path(__file__).parent.parent
    return digest_of_tree(
        [package / "convert", package / "runner", *(package / f"{n}.py" for n in ("model", "specs", "artifact"))]
    )


class _Chain:
    """One call of `convert`: the keys, the cache, the shared steps."""

    def __init__(self, ref: ModelRef, out: Path, on_stage: Callable[[str, str], None], timeout_s: float) -> None:
        self._ref = ref
        self._out = out
        self._on_stage = on_stage
        self._cache = cache_folder()
        self.workers = Workers(timeout_s)
        self._shared = _Shared()
        self._source_sha256 = ref.sha256()
        self._job = Job(
            step="source",
            work="",
            model_path=str(ref.path),
            model_name=ref.name,
            source=ref.source,
            calibration=str(ref.calibration) if ref.calibration else None,
            source_sha256=self._source_sha256,
            trust=ref.trust,
        )
        calibration = sha256_of(ref.calibration) if ref.calibration else None
        source = plugins.load("source", ref.source)
        self._source_key = digest_of(
            [_code_sha256(), plugins.code_sha256(source), ref.name, self._source_sha256, calibration,
             plugins.versions(source.distributions)]
        )  # fmt: skip

    def outcome(self, recipe: Recipe) -> Outcome:
        began = time.perf_counter()
        try:
            artifact, cached = self._artifact(recipe)
            published, link = self._publish(artifact, recipe)
        except EdgeKitError as error:
            return Outcome(recipe, None, None, error, cached=False, seconds=time.perf_counter() - began)
        return Outcome(recipe, published, link, None, cached=cached, seconds=time.perf_counter() - began)

    def _artifact(self, recipe: Recipe) -> tuple[Artifact, bool]:
        form: Format = plugins.load("format", recipe.format)()
        code = [plugins.code_sha256(plugin) for plugin in (type(form), plugins.load("runtime", form.runtime))]
        lower_key = digest_of([self._source_key, form.name, code, plugins.versions(form.distributions)])
        recipe_key = digest_of([lower_key, str(recipe), recipe.options])
        index = self._cache / "recipes" / recipe_key
        with suppress(OSError, ArtifactError):
            found = open_artifact(self._cache / "artifacts" / index.read_text())
            check_files(found)
            return found, True

        source = self._shared.once(self._source_key, lambda: self._step("source", self._source_key))
        if form.validate(recipe).needs_calibration and not read_facts(source).calibration_samples:
            raise DataError(
                f"{self._ref.name} {recipe} needs calibration data, and there are none.",
                remedy="Give --calibration data.npz with representative inputs, or declare `calibration=` in model.py.",
            )
        lowered = self._shared.once(
            lower_key, lambda: self._step("lower", lower_key, format_name=form.name, source_folder=source)
        )
        return self._build(recipe, index, source, lowered), False

    def _step(self, step: str, key: str, *, format_name: str | None = None, source_folder: Path | None = None) -> Path:
        """A step that several recipes share, from the cache or run now."""
        folder = self._cache / "steps" / f"{step}-{key}"
        if folder.is_dir():
            if _is_whole(folder):
                return folder
            shutil.rmtree(folder, ignore_errors=True)
        title = f"{self._ref.name} {format_name or 'source'} {step}"
        with publishing_folder(folder) as work:
            job = msgspec.structs.replace(
                self._job,
                step=step,
                work=str(work),
                format=format_name,
                source_folder=str(source_folder) if source_folder else None,
            )
            self.workers.run(job, self._log(f"{step}-{key}"), lambda s: self._on_stage(step, s), title)
            (work / STEP_SHA256).write_text(digest_of_tree([work]))
        self._on_stage(step, DONE)
        return folder

    def _log(self, name: str) -> Path:
        folder = self._cache / "logs"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name[:40]}.log"

    def _build(self, recipe: Recipe, index: Path, source: Path, lowered: Path) -> Artifact:
        temporary = self._cache / "steps" / f".tmp-{secrets.token_hex(6)}"
        log = self._log(f"{recipe.slug}-{index.name}")
        with writing(temporary):
            temporary.mkdir(parents=True)
            try:
                job = msgspec.structs.replace(
                    self._job,
                    step="recipe",
                    work=str(temporary),
                    recipe=recipe,
                    source_folder=str(source),
                    lower_folder=str(lowered),
                )
                title = f"{self._ref.name} {recipe}"
                self.workers.run(job, log, lambda stage: self._on_stage(str(recipe), stage), title)
                artifact_id = sha256_of(temporary / MANIFEST)
                destination = self._cache / "artifacts" / artifact_id
                _copy_whole(temporary, destination, log)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        write_file(index, artifact_id.encode())
        return open_artifact(destination)

    def _publish(self, artifact: Artifact, recipe: Recipe) -> tuple[Artifact, Path]:
        destination = self._out / STORE / artifact.id
        _copy_whole(artifact.path, destination)
        link = self._out / artifact.manifest.model / recipe.slug
        point_to(link, destination)
        return open_artifact(destination), link


def _is_whole(step: Path) -> bool:
    """Whether a step's folder is as the step left it."""
    try:
        return (step / STEP_SHA256).read_text() == digest_of_tree([step])
    except OSError:
        return False


def _copy_whole(source: Path, destination: Path, log: Path | None = None) -> None:
    """Publishes an artifact at `destination`, unless it is there and whole; a damaged one is replaced."""
    if destination.exists():
        try:
            check_files(open_artifact(destination))
        except ArtifactError:
            shutil.rmtree(destination, ignore_errors=True)
        else:
            return
    with publishing_folder(destination) as folder:
        copy_files(source, folder)
        if log is not None:
            shutil.copyfile(log, folder / "convert.log")


class _Shared:
    """Runs each key's function once, whichever thread asks first; the others wait for its result or its error."""

    def __init__(self) -> None:
        self._results: dict[str, Future[Path]] = {}
        self._lock = threading.Lock()

    def once(self, key: str, make: Callable[[], Path]) -> Path:
        with self._lock:
            future = self._results.get(key)
            mine = future is None
            if future is None:
                future = self._results[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()

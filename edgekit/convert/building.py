"""Builds one artifact: the steps that it needs, from the cache or in a worker, each under a key of its own.

    source step ── derive step per further kind of export ── lower step per format ── recipe step per recipe

A step's key is a hash over all that can change its result: the model's files and data, the recipe, the versions of the
tools, and the code that takes part. A step whose key is in the cache is not run; one that several recipes share is run
once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.artifact import Artifact, Budget, Cost
from edgekit.convert.cache import Cache, Shared
from edgekit.convert.formats import Explanation, Format
from edgekit.convert.memory import SHARE, available_bytes
from edgekit.convert.routes import format_of, refuse_varying, route
from edgekit.convert.steps import COST, EXPLANATION, EXPORTED, SENSITIVITY, Job, read_facts
from edgekit.convert.workers import Workers
from edgekit.errors import DataError
from edgekit.files import cache_folder, digest_of, digest_of_tree, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgekit.convert.budget import Sensitivity
    from edgekit.convert.load import ModelRef
    from edgekit.convert.sources import Source
    from edgekit.recipe import Recipe

DEFAULT_TIMEOUT_S = 1800.0
DONE = "done"
"""The last stage of a step that recipes share."""
_EXPLANATION = msgspec.json.Decoder(Explanation)
"""Made here: msgspec 0.22 crashes when two threads look at a type for the first time at once."""


@dataclass(frozen=True)
class Bounds:
    """What a conversion may take: seconds and bytes for each step, and how many steps at once (None: the cores)."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    memory_bytes: int | None = None
    jobs: int | None = None


class Builder:
    """One model's artifacts. Its methods are called from several threads.

    Args:
        ref: the model.
        bounds: what each step may take.
        on_stage: called with (recipe, or the name of a shared step; stage, at last `DONE`).
    """

    def __init__(self, ref: ModelRef, bounds: Bounds, on_stage: Callable[[str, str], None]) -> None:
        self.model = ref.name
        self._ref = ref
        self._on_stage = on_stage
        self._cache = Cache(cache_folder())
        memory = bounds.memory_bytes or int(available_bytes() * SHARE)
        self.workers = Workers(bounds.timeout_s, memory, bounds.jobs or os.cpu_count() or 1)
        self._steps: Shared[Path] = Shared()
        self._artifacts: Shared[tuple[Artifact, bool]] = Shared()
        self._lower_keys: dict[str, str] = {}
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

    def artifact(self, recipe: Recipe, budget: Budget | None = None) -> tuple[Artifact, bool]:
        """The artifact of a recipe, and whether it came from the cache."""
        key = self._recipe_key(recipe, budget)
        return self._artifacts.once(key, lambda: self._find_or_build(recipe, key, budget))

    def _find_or_build(self, recipe: Recipe, key: str, budget: Budget | None) -> tuple[Artifact, bool]:
        if (found := self._cache.artifact(key)) is not None:
            return found, True
        job = self._prepared(recipe)
        if format_of(recipe).validate(recipe).needs_calibration:
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
        form = format_of(recipe)
        return digest_of([self._lower_key(form), str(recipe), recipe.options, msgspec.to_builtins(budget)])

    def _lower_key(self, form: Format) -> str:
        if form.name not in self._lower_keys:
            kind = route(self._source, form)
            code = [plugins.code_sha256(type(form)), plugins.code_sha256(plugins.load("runtime", form.runtime))]
            tools = plugins.versions(form.required(kind))
            self._lower_keys[form.name] = digest_of([self._derive_key(kind), form.name, code, tools])
        return self._lower_keys[form.name]

    def _derive_key(self, kind: str) -> str:
        return digest_of([self._source_key, kind, plugins.versions(self._source.deriving.get(kind, ()))])

    def _prepared(self, recipe: Recipe) -> Job:
        """A job with all the steps done that a recipe needs; it only lacks its own step and folder."""
        form = format_of(recipe)
        kind = route(self._source, form)
        environment = self._source.environment
        source = self._step(
            "source", self._source_key, self._job, self._ref.source, environment.get(self._source.exports[0])
        )
        refuse_varying(self._source, self._ref.name, recipe, read_facts(source).inputs)
        job = msgspec.structs.replace(
            self._job, recipe=recipe, format=form.name, kind=kind, source_folder=str(source),
            exported_folder=str(source / EXPORTED),
        )  # fmt: skip
        if kind != self._source.exports[0]:
            name = f"{self._ref.source} {kind}"
            derived = self._step("derive", self._derive_key(kind), job, name, environment.get(kind))
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
                self._run(asked, log, title, f"{self._ref.name} {name} {step}", name, environment, folder / EXPORTED)
            self._on_stage(title, DONE)
            return folder

        return self._steps.once(f"{step}-{key}", make)

    def _run(
        self, job: Job, log: Path, title: str, called: str, name: str,
        environment: Mapping[str, str] | None = None, leaves: Path | None = None,
    ) -> None:  # fmt: skip
        ledger = f"{job.step}-{name}".replace(" ", "-")
        expected = self._cache.expected_bytes(ledger)
        peak = self.workers.run(job, log, lambda s: self._on_stage(title, s), called, expected, environment, leaves)
        self._cache.note_cost(ledger, peak)

    def _require_calibration(self, recipe: Recipe, source: Path) -> None:
        if not read_facts(source).calibration_samples:
            raise DataError(
                f"{self._ref.name} {recipe} needs calibration data, and there are none.",
                remedy="Give --calibration data.npz with representative inputs, or declare `calibration=` in model.py.",
            )

    def explanation(self, artifact: Artifact) -> Explanation:
        """How an artifact of this model will execute."""
        recipe = artifact.manifest.recipe
        key = digest_of([self._recipe_key(recipe, artifact.manifest.budget), artifact.id])
        folder = self._cache.step("explain", key)
        if folder is None:
            job = msgspec.structs.replace(self._prepared(recipe), artifact=str(artifact.path))
            folder = self._step("explain", key, job, str(recipe))
        return _EXPLANATION.decode((folder / EXPLANATION).read_bytes())

    def sensitivity(self, recipe: Recipe, max_drop: str) -> Sensitivity:
        """Which layers a recipe's loss comes from, and how few of them must be kept."""
        from edgekit.convert.budget import read_sensitivity

        key = digest_of([self._recipe_key(recipe, None), max_drop])
        folder = self._cache.step("sensitivity", key)
        if folder is None:
            job = msgspec.structs.replace(self._prepared(recipe), max_drop=max_drop)
            folder = self._step("sensitivity", key, job, str(recipe))
        return read_sensitivity((folder / SENSITIVITY).read_bytes())


@cache
def _code_sha256() -> str:
    """Of the code that takes part in every conversion; plugins are hashed one by one, with the `parts` they name."""
    package = Path(__file__).parent
    modules = [*package.glob("*.py"), *(package.parent / "runner").glob("*.py")]
    bases = [package / "formats" / "base.py", package / "sources" / "base.py"]
    nouns = [package.parent / f"{noun}.py" for noun in ("model", "specs", "dimensions", "artifact", "recipe")]
    telemetry = package.parent / "telemetry"
    watching = [*(telemetry / "references").glob("*.py"), *(telemetry / "reporter").glob("*.py")]
    return digest_of_tree([*sorted(modules), *bases, *nouns, *sorted(watching)])

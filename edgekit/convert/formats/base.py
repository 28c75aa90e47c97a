"""What a format has to say: what it accepts, which precisions it has, how it converts.

A format is one module and one line of metadata (`edgekit.formats`). Caching, worker processes, parity, accuracy,
golden data, the accuracy budget, deployment, benchmarks and reports come from around it.

Three methods are all that a format must have: `convert`, `stored_dtypes` and, if its precisions share work, `lower`.
`layers` lets the accuracy budget keep single layers at a higher precision, `explain` answers `--explain`, `session`
is for a format whose own runtime does not run on this machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from edgekit import plugins
from edgekit.errors import RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from edgekit.artifact import Bindings
    from edgekit.recipe import Recipe
    from edgekit.specs import TensorSpec

KEEP = "keep"
"""The option that names layers to keep in floating point, for formats with `mixed = True`."""


@dataclass(frozen=True)
class Precision:
    """One precision of a format.

    Args:
        description: for `--help` and tables.
        min_snr_db: an artifact that is further from its source than this is broken, not imprecise.
        needs_calibration: whether it reads calibration data.
        must_store: dtypes that the payload must hold; an "int8" that is float32 inside is refused.
        must_not_store: dtypes that it must not hold.
        nearest: the precisions to try when this one does not work, the nearest first; also the order in which the
            accuracy budget climbs in a format without mixed precision.
    """

    description: str
    min_snr_db: float
    needs_calibration: bool = False
    must_store: tuple[str, ...] = ()
    must_not_store: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """A source's export, as formats read it.

    Args:
        kind: "torch-export", "saved-model", "onnx" or "tflite": one of the format's `accepts`.
        folder: holds the files that `edgekit.convert.sources.base` names for the kind.
        inputs, outputs: the model's tensors, in its order.
    """

    kind: str
    folder: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Converted:
    """What `convert` says of the payload that it wrote.

    Args:
        bindings: how the payload calls the model's inputs and outputs, in the model's order.
        notes: what a reader of the artifact should know (one sentence each), such as which pass was left out and why.
        layouts: by the model's name of an input or output, the layout in the payload ("NHWC") where it is not the
            model's own; the axes are permuted accordingly when the payload is run.
        stand_in: run this file for the proof instead of the payload, because the payload cannot run on this machine.
            The notes must say so, and what the stand-in is.
    """

    bindings: Bindings
    notes: tuple[str, ...] = ()
    layouts: Mapping[str, str] = field(default_factory=dict)
    stand_in: Path | None = None


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of operator in a payload, for `--explain`.

    `runs` is where ("XNNPACK", "reference kernel", "not supported"); `advice` what to change, empty if nothing.
    """

    name: str
    count: int
    runs: str
    advice: str = ""


class Explanation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a payload will execute.

    `partitions` is how many pieces a delegate takes (one is best); None, `because` of something, where there is no
    delegate or it cannot be known here.
    """

    operators: tuple[Operator, ...]
    partitions: int | None = None
    because: str = ""
    advice: tuple[str, ...] = ()


class Format(ABC):
    """One format.

    Class attributes:
        name: as registered.
        accepts: which kinds of export it reads, best first.
        runtime: what executes it.
        payload: name of the payload, a file or a folder.
        precisions: by name.
        distributions, extra: what must be installed, and the extra that installs it.
        lowering: what must be installed besides, by the kind of export that is read.
        options: the options that a recipe may give, by name, with their descriptions.
        compiled: whether a recipe may name a target triple.
        parts: modules and packages (import names) whose code belongs to it, for the cache.
        mixed: whether single layers can be kept at a higher precision (`layers`, and the option "keep").
    """

    name: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]]
    runtime: ClassVar[str]
    payload: ClassVar[str]
    precisions: ClassVar[Mapping[str, Precision]]
    distributions: ClassVar[tuple[str, ...]] = ()
    lowering: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    extra: ClassVar[str] = ""
    parts: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = {}
    compiled: ClassVar[bool] = False
    mixed: ClassVar[bool] = False
    progress: Callable[[str], None] = staticmethod(lambda _: None)
    """Told what a long `convert` is doing; the worker sets it."""

    def load(self, kind: str) -> None:  # noqa: B027 - for those whose converter imports more than it needs
        """Imports the converter in a worker that has this one task: to convert an export of this kind."""

    def lower(self, exported: Exported, folder: Path) -> None:  # noqa: B027 - a format without a shared step keeps this
        """The step that all precisions share, done once: from the source's export to files in `folder`."""

    @abstractmethod
    def convert(
        self, exported: Exported, lowered: Path, recipe: Recipe, calibration: Mapping[str, np.ndarray], payload: Path
    ) -> Converted:
        """Writes the payload of one recipe.

        Args:
            exported: what the source exported.
            lowered: the folder that `lower` filled. Not to be written to.
            recipe: validated: the precision is one of ours, the options are known.
            calibration: by input name, `(n, *shape)`, in the order of the model's inputs; empty if the precision
                needs none.
            payload: the file or folder to write.

        Raises:
            RefusedError: this model cannot have this precision in this format; says why.
        """

    @abstractmethod
    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        """How many tensors of each dtype the payload holds, read from the file itself."""

    def layers(self, exported: Exported, lowered: Path, recipe: Recipe) -> tuple[str, ...]:  # noqa: ARG002 - for those that override it
        """Names of the layers that `recipe` quantizes and the option "keep" can leave in floating point.

        A name stands for everything that belongs to it: keeping it must make the layer as good as float32.
        """
        return ()

    def explain(self, exported: Exported, lowered: Path, recipe: Recipe, payload: Path) -> Explanation:  # noqa: ARG002 - for those that override it
        """How the payload will execute: operator by operator, as the runtime itself tells it where it does."""
        return Explanation((), because=f"the format {self.name} does not tell")

    def session(self, payload: Path, bindings: Bindings) -> tuple[Any, str]:
        """Opens the payload for the proof.

        Returns:
            (a session as `edgekit.runner.runtimes` describes it, what computes it: "litert 2.3.0")
        """
        runtime = plugins.load("runtime", self.runtime)
        named = {"inputs": list(bindings.inputs), "outputs": list(bindings.outputs)}
        version = runtime.probe().get("version")
        return runtime.load(str(payload), 1, named), f"{self.runtime} {version or ''}".strip()

    def fixed_because(self, recipe: Recipe, kind: str) -> str:  # noqa: ARG002 - for those that override it
        """Why payloads of this recipe, made from this kind of export, cannot have axes that vary; empty if they can."""
        return f"the format {self.name} does not say that it can leave a size open"

    def required(self, kind: str) -> tuple[str, ...]:
        """The distributions that converting an export of this kind needs."""
        return (*self.distributions, *self.lowering.get(kind, ()))

    def validate(self, recipe: Recipe) -> Precision:
        """The recipe's precision.

        Raises:
            RecipeError: no such precision, or a triple or options that this format does not take.
        """
        precision = self.precisions.get(recipe.precision)
        if precision is None:
            raise RecipeError(
                f"The format {self.name} has no precision {recipe.precision!r}.",
                remedy=f"Choose one of: {', '.join(self.precisions)}.",
            )
        if recipe.triple is not None and not self.compiled:
            raise RecipeError(
                f"{recipe}: {self.name} is not compiled for a target triple.",
                remedy=f"Write {recipe.format}:{recipe.precision}.",
            )
        known = {*self.options, *([KEEP] if self.mixed else [])}
        unknown = sorted(set(recipe.options) - known)
        if unknown:
            takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
            raise RecipeError(
                f"{recipe}: {self.name} has no option {', '.join(unknown)}.", remedy=f"{takes} Remove the others."
            )
        keep = recipe.options.get(KEEP, [])
        if not isinstance(keep, (list, tuple)) or not all(isinstance(name, str) for name in keep):
            raise RecipeError(f"{recipe}: the option {KEEP} must be a list of layer names.", remedy="Mend the recipe.")
        return precision


def kept(recipe: Recipe) -> frozenset[str]:
    """The layers that the recipe keeps in floating point."""
    return frozenset(recipe.options.get(KEEP, ()))

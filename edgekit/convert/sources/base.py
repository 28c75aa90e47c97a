"""What a kind of source has to say: how to open it, how to export it, how to run it for reference.

All of it runs in a worker process, where the heavy packages may be imported. An export is a folder, and its kind says
which file the formats find there:

    torch-export   program.pt2, with the inputs in the model's order
    saved-model    saved_model/, with one signature, `serving_default`
    onnx           model.onnx (weights inside, or beside it)
    tflite         model.tflite

Its shapes are static, except on the axes that vary (`TensorSpec.varies`), which only the kinds in `Source.varies` keep.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from edgekit.convert.pickles import refuse_unsafe_pickles
from edgekit.dimensions import Range
from edgekit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    import numpy as np

    from edgekit.model import Model

    Reference: TypeAlias = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
    """Runs the source on one sample: arrays in the order of the inputs, each in its whole shape; outputs likewise."""
    Shapes: TypeAlias = Mapping[str, tuple[int | Range, ...]]
    """By input, what the user gave: sizes, and ranges for axes that shall vary."""
else:
    Reference = object
    Shapes = object

PROGRAM = "program.pt2"
SAVED_MODEL = "saved_model"
ONNX = "model.onnx"
TFLITE = "model.tflite"


class Source(ABC):
    """One kind of source.

    Class attributes:
        name: as registered.
        suffixes: the model files that it opens without any code around them.
        exports: the kinds that it can export; `export` writes the first, `derive` the others from the first.
        distributions, extra: what must be installed, and the extra that installs it.
        parts: modules and packages (import names) whose code belongs to it, for the cache.
        deriving: for the kinds that need more than that to be derived, what.
        environment: variables that exporting needs in its process before anything is imported, by kind.
        varies: the kinds of export in which axes that vary stay so.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    exports: ClassVar[tuple[str, ...]]
    distributions: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    parts: ClassVar[tuple[str, ...]] = ()
    deriving: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    environment: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    varies: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a path is a model of this kind, told without importing anything heavy."""
        return path.suffix in cls.suffixes

    @classmethod
    def inspect(cls, path: Path, *, trust: bool, shown: str) -> list[str]:
        """What the file would execute when it is opened, found without opening it; empty if nothing.

        Raises:
            UntrustedModelError: something, and `trust` is not given.
        """
        return refuse_unsafe_pickles(path, trust=trust, shown=shown)

    @classmethod
    def companions(cls, path: Path) -> tuple[str, ...]:  # noqa: ARG003 - most kinds are one file
        """Names of the files beside `path` that belong to it (weights), as plain names in the same folder.

        Raises:
            ModelError: one is missing, or lies elsewhere.
        """
        return ()

    def open_file(self, path: Path, name: str, shown: str, shapes: Shapes) -> Model:  # noqa: ARG002 - for those that override it
        """Makes a Model of a bare file, its input specs read from the file.

        Args:
            path: an inspected copy of the file.
            name: the model's name.
            shown: what the user calls the file, for errors.
            shapes: by input, the shape to fix it at, or its range; a dynamic axis without one is a ModelError that
                says so.
        """
        raise ModelError(f"{shown} cannot be opened as {name}.", remedy="Give a folder with a model.py.")

    @abstractmethod
    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        """Builds the model, writes the first kind of `exports` into `folder`, and returns the reference.

        Args:
            model: whose `build` is called, once.
            sample: one array per input, in its whole shape.
            folder: empty, on the same disk as the cache.
        """

    def derive(self, kind: str, exported: Path, sample: Sequence[np.ndarray], folder: Path) -> None:
        """Writes another kind of `exports` into `folder`, from what `export` wrote. In a process of its own.

        Raises:
            ModelError: this model cannot be had as that kind; says which part of it stands in the way.
        """
        raise NotImplementedError(f"{self.name} exports {self.exports[0]} only")


def fixed_shape(
    name: str, declared: Sequence[int | None], shown: str, shapes: Shapes, called: Sequence[str | None] = ()
) -> tuple[int, ...]:
    """The shape of an input: as the file declares it, its dynamic axes (None) fixed by what the user gave, or a `Dim`
    where that is a range.

    Args:
        name: the input's.
        declared: the file's sizes.
        shown: what the user calls the file.
        shapes: what the user gave.
        called: the file's own names of the axes, as far as it has any.

    Raises:
        ModelError: a dynamic axis and no shape for the input, or a shape that contradicts the file.
    """
    text = ", ".join("?" if size is None else str(size) for size in declared)
    given = shapes.get(name)
    if given is None:
        if None in declared:
            example = ",".join("1" if size is None else str(size) for size in declared)
            ranges = ",".join("1..64" if size is None else str(size) for size in declared)
            raise ModelError(
                f"Input {name!r} of {shown} has a dynamic shape, ({text}).",
                remedy=f"Fix it, such as --shape {name}={example}, or give bounds: --shape {name}={ranges}.",
            )
        return tuple(size for size in declared if size is not None)
    if len(given) != len(declared) or any(
        size is not None and size != wanted for size, wanted in zip(declared, given, strict=True)
    ):
        wanted = ", ".join(f"{size.min}..{size.max}" if isinstance(size, Range) else str(size) for size in given)
        raise ModelError(
            f"Input {name!r} of {shown} has the shape ({text}), which ({wanted}) does not fit.",
            remedy="Give a size for each axis; only the unknown ones (?) are free.",
        )
    names = [*called, *[None] * (len(given) - len(called))]
    return tuple(
        size.dim(names[i] or f"{name}_{i}") if isinstance(size, Range) else size for i, size in enumerate(given)
    )

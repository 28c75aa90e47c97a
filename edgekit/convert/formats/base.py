"""What a format has to say: what it accepts, which precisions it has, how it converts.

A format is one module and one line of metadata (`edgekit.formats`). Caching, worker processes, parity, accuracy,
golden data, deployment, benchmarks and reports come from around it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgekit.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.artifact import Bindings
    from edgekit.recipe import Recipe


@dataclass(frozen=True)
class Precision:
    """One precision of a format.

    Args:
        description: for `--help` and tables.
        min_snr_db: an artifact that is further from its source than this is broken, not imprecise.
        needs_calibration: whether it reads calibration data.
        must_store: dtypes that the payload must hold; an "int8" that is float32 inside is refused.
        must_not_store: dtypes that it must not hold.
    """

    description: str
    min_snr_db: float
    needs_calibration: bool = False
    must_store: tuple[str, ...] = ()
    must_not_store: tuple[str, ...] = ()


class Format(ABC):
    """One format.

    Class attributes:
        name: as registered. accepts: which kinds of export (`Source.exports`) it reads. runtime: what executes it.
        payload: name of the payload file. precisions: by name.
        distributions, extra: what must be installed, and the extra that installs it.
    """

    name: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]]
    runtime: ClassVar[str]
    payload: ClassVar[str]
    precisions: ClassVar[Mapping[str, Precision]]
    distributions: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def lower(self, exported: Path, folder: Path) -> None:  # noqa: B027 - a format without a shared step keeps this
        """The step that all precisions share, done once: from the source's export to files in `folder`."""

    @abstractmethod
    def convert(
        self, exported: Path, lowered: Path, recipe: Recipe, calibration: Mapping[str, np.ndarray], payload: Path
    ) -> Bindings:
        """Writes the payload of one recipe.

        Args:
            exported: the folder that the source exported to.
            lowered: the folder that `lower` filled.
            recipe: validated: the precision is one of ours.
            calibration: by input name, `(n, *shape)`, in the order of the model's inputs; empty if the precision
                needs none.
            payload: the file to write.
        """

    @abstractmethod
    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        """How many tensors of each dtype the payload holds, read from the file itself."""

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
        if recipe.triple is not None:
            raise RecipeError(
                f"{recipe}: {self.name} is not compiled for a target triple.",
                remedy=f"Write {recipe.format}:{recipe.precision}.",
            )
        if recipe.options:
            raise RecipeError(
                f"{recipe}: {self.name} takes no options, but the recipe has {', '.join(sorted(recipe.options))}.",
                remedy="Remove them.",
            )
        return precision

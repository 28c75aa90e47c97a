"""What a kind of source has to say: how to open it, how to export it, how to run it for reference.

All of it runs in a worker process, where the heavy packages may be imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from edgekit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    import numpy as np

    from edgekit.model import Model

    Reference: TypeAlias = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
    """Runs the source on one sample: arrays in the order of the inputs, each in its whole shape; outputs likewise."""
else:
    Reference = object


class Source(ABC):
    """One kind of source.

    Class attributes:
        name: as registered.
        suffixes: the model files that it opens without any code around them.
        exports: what `export` writes, matched against what a format accepts.
        distributions, extra: what must be installed, and the extra that installs it.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    exports: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def open_file(self, path: Path, name: str, shown: str) -> Model:  # noqa: ARG002 - kinds with suffixes use it
        """Makes a Model of a bare file, its input specs read from the file.

        Args:
            path: an inspected copy of the file.
            name: the model's name.
            shown: what the user calls the file, for errors.
        """
        raise ModelError(f"{shown} cannot be opened as {name}.", remedy="Give a folder with a model.py.")

    @abstractmethod
    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        """Builds the model, writes what the formats read into `folder`, and returns the reference.

        Args:
            model: whose `build` is called, once.
            sample: one array per input, in its whole shape.
            folder: empty, on the same disk as the cache.
        """

"""Samples as they go to a device: pieces of bounded size, each a folder of `.npy` files named by its content.

The device holds one data set at most, and the runner maps one piece at a time. A piece is bounded by what it takes and
by what it gives, so that neither a large input nor a large output makes a request endless.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from edgekit.artifact import FileEntry
from edgekit.files import digest_of
from edgekit.specs import arrays_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.specs import TensorSpec

PIECE_BYTES = 32 << 20
ANSWER_BYTES = 128 << 20
"""Of all answers to one piece."""
PIECE_SAMPLES = 50_000
"""However small they are: a request has a bound of events."""
BATCH_BYTES = 1 << 20
BATCH_SAMPLES = 64
MOST_BATCH_BYTES = 32 << 20
"""Whatever a user asks for: an event is one line, and a line has a bound."""


@dataclass(frozen=True)
class Piece:
    """Samples `first` to `first + count`: what they are called in a folder, and the files' content."""

    first: int
    count: int
    files: dict[str, bytes]

    @property
    def entries(self) -> list[FileEntry]:
        """The files' names, sizes and sha256."""
        return [FileEntry(name, len(c), hashlib.sha256(c).hexdigest()) for name, c in self.files.items()]

    @property
    def name(self) -> str:
        """A sha256 over names and contents."""
        return digest_of([[entry.path, entry.sha256] for entry in self.entries])

    def write(self, folder: Path) -> list[tuple[Path, FileEntry]]:
        """Writes the files into a folder that exists."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return [(folder / entry.path, entry) for entry in self.entries]


@dataclass(frozen=True)
class SampleSet:
    """The inputs of n samples in the payload's order and layouts, `(n, *shape)` each, in the model's dtypes; and what
    each sample is answered with."""

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def count(self) -> int:
        """How many samples."""
        return len(self.inputs[0])

    @cached_property
    def sha256(self) -> str:
        """Over all inputs."""
        return arrays_sha256(self.inputs)

    @property
    def bytes_of_a_sample(self) -> int:
        """Of all its inputs."""
        return max(1, sum(int(array[0].nbytes) for array in self.inputs))

    @property
    def bytes_of_an_answer(self) -> int:
        """Of all outputs to a sample, at most: as float64 where it is not known better."""
        return max(1, sum(_elements(spec.shape) * 8 for spec in self.outputs))

    @property
    def total_bytes(self) -> int:
        """Of all inputs of all samples."""
        return self.count * self.bytes_of_a_sample

    def batch(self, most: int | None) -> int:
        """How many samples an event answers: `most`, or as many as keep it small."""
        wanted = most or min(BATCH_SAMPLES, BATCH_BYTES // self.bytes_of_an_answer)
        return max(1, min(wanted, MOST_BATCH_BYTES // self.bytes_of_an_answer))

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(first, count) of each piece."""
        fitting = (PIECE_BYTES // self.bytes_of_a_sample, ANSWER_BYTES // self.bytes_of_an_answer, PIECE_SAMPLES)
        size = max(1, min(fitting))
        for first in range(0, self.count, size):
            yield first, min(size, self.count - first)

    def piece(self, first: int, count: int) -> Piece:
        """One piece, with its files' content."""
        return Piece(
            first, count, {f"input-{i}.npy": _npy(a[first : first + count]) for i, a in enumerate(self.inputs)}
        )


def _elements(shape: Sequence[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _npy(array: np.ndarray) -> bytes:
    import numpy as np

    written = io.BytesIO()
    np.save(written, np.ascontiguousarray(array), allow_pickle=False)
    return written.getvalue()

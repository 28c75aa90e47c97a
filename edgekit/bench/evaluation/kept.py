"""Answers that arrived, kept on this machine: a folder in the cache, named by all that they depend on.

    CACHE/answers/KEY/FIRST-COUNT.npz       one batch: `output-I`, `(count, *shape)`, dequantized

A batch is written whole or not at all before the next is taken in, so a call that is killed, a link that is cut and a
device that reboots lose what was on its way, and the next call asks for the rest. A file that is damaged or does not
fit counts as not there. The folder goes when the evaluation is through, because the device shall be asked again next
time; what was left for more than a day is not believed any more, and goes when another evaluation begins.
"""

from __future__ import annotations

import io
import re
import shutil
import time
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

from edgekit.files import cache_folder, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.specs import TensorSpec

BELIEVED_S = 24 * 3600
_NAME = re.compile(r"(\d{1,12})-(\d{1,12})\.npz")


class KeptAnswers:
    """The answers to n samples, as far as they are known.

    Args:
        key: a hash over all that they depend on.
        count: n.
        specs: the outputs.
    """

    def __init__(self, key: str, count: int, specs: Sequence[TensorSpec]) -> None:
        self._folder = cache_folder() / "answers" / key
        self._count = count
        self._specs = specs
        self._batches: dict[int, list[np.ndarray]] = {}
        _remove_old(self._folder.parent)
        for path in sorted(self._folder.glob("*.npz")):
            found = _NAME.fullmatch(path.name)
            arrays = self._read(path) if found and time.time() - path.stat().st_mtime < BELIEVED_S else None
            if (
                found is None
                or arrays is None
                or len(arrays[0]) != int(found[2])
                or self._overlaps(*map(int, found.groups()))
            ):
                path.unlink(missing_ok=True)
            else:
                self._batches[int(found[1])] = arrays

    @property
    def known(self) -> int:
        """How many samples are answered."""
        return sum(len(batch[0]) for batch in self._batches.values())

    def missing(self, first: int, count: int) -> list[tuple[int, int]]:
        """The gaps among samples `first` to `first + count`: (first, count) each."""
        gaps = []
        at, end = first, first + count
        for begin, batch in sorted(self._batches.items()):
            if begin >= end:
                break
            if begin > at:
                gaps.append((at, begin - at))
            at = max(at, begin + len(batch[0]))
        if at < end:
            gaps.append((at, end - at))
        return gaps

    def add(self, first: int, arrays: Sequence[np.ndarray]) -> None:
        """Keeps a batch: one array an output, `(count, *shape)`.

        Raises:
            ValueError: it does not fit the outputs, or some of it is there already.
            StorageError: it cannot be written.
        """
        import numpy as np

        batch = list(arrays)
        if (problem := self._problem(batch)) or self._overlaps(first, len(batch[0])):
            raise ValueError(problem or f"samples {first} to {first + len(batch[0])} were not asked for")
        written = io.BytesIO()
        np.savez(written, **{f"output-{i}": array for i, array in enumerate(batch)})  # type: ignore[arg-type]  # its first keyword is a bool
        write_file(self._folder / f"{first:06d}-{len(batch[0])}.npz", written.getvalue())
        self._batches[first] = batch

    def outputs(self) -> tuple[np.ndarray, ...]:
        """All answers, one array an output, `(n, *shape)`; none may be missing."""
        import numpy as np

        assert self.known == self._count
        ordered = [self._batches[first] for first in sorted(self._batches)]
        return tuple(np.concatenate(parts) for parts in zip(*ordered, strict=True))

    def remove(self) -> None:
        """Forgets them on disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, path: Path) -> list[np.ndarray] | None:
        import numpy as np

        try:
            with np.load(path, allow_pickle=False) as archive:
                batch = [archive[f"output-{i}"] for i in range(len(self._specs))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return None if self._problem(batch) else batch

    def _problem(self, batch: Sequence[np.ndarray]) -> str:
        """What is wrong with a batch; empty if nothing."""
        if len(batch) != len(self._specs):
            return f"{len(batch)} outputs came, and the artifact has {len(self._specs)}"
        for spec, array in zip(self._specs, batch, strict=True):
            if array.shape[1:] != spec.shape or not len(array) == len(batch[0]) > 0:
                return f"output {spec.name!r} came with the shape {array.shape[1:]}, and has {spec.shape}"
        return ""

    def _overlaps(self, first: int, count: int) -> bool:
        return first < 0 or first + count > self._count or self.missing(first, count) != [(first, count)]


def _remove_old(folder: Path) -> None:
    """Removes what evaluations left to which nobody came back."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > BELIEVED_S:
                shutil.rmtree(entry)

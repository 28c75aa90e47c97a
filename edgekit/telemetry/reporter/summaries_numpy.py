"""The summaries by NumPy, in double precision: the same numbers as `summaries_stdlib`, some hundred times faster."""

from __future__ import annotations

import math
import sys

from .records import TYPE_CHECKING
from .summaries import NAN, STEPS, bits, distribution, signs

if TYPE_CHECKING:
    from typing import Any, Iterable

    from .reference import Tensor

numpy: Any = sys.modules["numpy"]
_SIGNS: dict[tuple[int, int], Any] = {}


def samples_of(value: Any, rank: int | None) -> Iterable[Any]:
    """The samples in a value, as arrays of doubles with `rank` axes; None for all values together."""
    values = numpy.asarray(value, dtype=numpy.float64)
    if rank is None:
        return [values.reshape(-1)]
    if values.ndim < rank:
        raise ValueError("a value of %d axes, where a sample has %d" % (values.ndim, rank))
    return values.reshape((-1, *values.shape[values.ndim - rank :]))  # type: ignore[no-any-return] # no numpy is imported


class Sample:
    """One sample of a tensor, with one method a summary."""

    def __init__(self, tensor: Tensor, sample: Any) -> None:
        self.tensor = tensor
        self.sample = sample
        self.values = sample.reshape(-1)
        if tensor.kind == "tokens":
            used = self.values.nonzero()[0]
            self.values = self.values[: used[-1] + 1] if len(used) else self.values[:0]
        self.size = len(self.values)

    def mean(self) -> float:
        return _mean(self.values) if self.size else NAN

    def std(self) -> float:
        if not self.size:
            return NAN
        deviations = self.values - _mean(self.values)
        return math.sqrt(float(deviations.dot(deviations)) / self.size)

    def rms(self) -> float:
        return math.sqrt(self._squares() / self.size) if self.size else NAN

    def norm(self) -> float:
        return math.sqrt(self._squares())

    def _squares(self) -> float:
        return float(self.values.dot(self.values))

    def min(self) -> float:
        return float(self.values.min()) if self.size else NAN

    def max(self) -> float:
        return float(self.values.max()) if self.size else NAN

    def peak(self) -> float:
        return float(abs(self.values).max()) if self.size else NAN

    def low(self) -> float:
        return int((self.values <= self.tensor.low).sum()) / self.size if self.size else NAN

    def high(self) -> float:
        values = abs(self.values) if self.tensor.kind == "audio" else self.values
        return int((values >= self.tensor.high).sum()) / self.size if self.size else NAN

    def sharpness(self) -> float:
        energy = 0.0
        image = self.sample if self.tensor.channel_axis != -1 else self.sample.transpose(2, 0, 1)
        for differences in (image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]):
            flat = differences.reshape(-1)
            energy += float(flat.dot(flat)) / len(flat) if len(flat) else 0.0
        return energy

    def channel(self, index: int) -> float:
        if self.tensor.channel_axis == -3:
            return _mean(self.sample[index].reshape(-1))
        return _mean(self.sample[..., index].reshape(-1))

    def zero_crossings(self) -> float:
        below = self.values < 0
        return int((below[1:] != below[:-1]).sum()) / (self.size - 1) if self.size > 1 else NAN

    def length(self) -> float:
        return float(self.size)

    def distinct(self) -> float:
        return len(set(self.values.tolist())) / self.size if self.size else NAN

    def projection(self, index: int) -> float:
        key = (index, self.size)
        if key not in _SIGNS:
            if len(_SIGNS) > 64:
                _SIGNS.clear()
            _SIGNS[key] = numpy.array(signs(index, self.size), numpy.float64)
        return float(self.values.dot(_SIGNS[key])) / math.sqrt(self.size) if self.size else NAN

    def entropy(self) -> float:
        if self._nan():
            return NAN
        if self.tensor.kind == "scores":
            return bits(self._distribution())
        low, high = float(self.tensor.low or 0), float(self.tensor.high or 0)
        cells = ((self.values.clip(low, high) - low) / (high - low) * STEPS).astype(numpy.int64)
        counts = numpy.bincount(cells.clip(0, STEPS - 1), minlength=STEPS)
        return bits([count / self.size for count in counts.tolist()])

    def _nan(self) -> bool:
        return not self.size or math.isnan(float(self.values.sum()))

    def _distribution(self) -> list[float]:
        return distribution(self.values.tolist(), self.tensor)

    def confidence(self) -> float:
        return NAN if self._nan() else max(self._distribution())

    def margin(self) -> float:
        if self._nan() or self.size < 2:
            return NAN
        second, first = sorted(self._distribution())[-2:]
        return first - second

    def class_(self) -> int | None:
        return None if self._nan() else int(self.values.argmax())


def _mean(values: Any) -> float:
    first = float(values[0])
    return first + float((values - first).mean())  # what is constant has exactly its own value as mean

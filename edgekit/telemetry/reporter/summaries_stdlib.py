"""The summaries by the standard library alone: sums are exact (math.fsum), loops are those of built-in functions."""

from __future__ import annotations

import math
from itertools import chain
from operator import mul, ne, sub

from .records import TYPE_CHECKING
from .summaries import NAN, STEPS, bits, distribution, rows_of, scalars, signs

if TYPE_CHECKING:
    from typing import Any

    from .reference import Tensor


def samples_of(value: Any, rank: int | None) -> list[Any]:
    """The samples in a value, as nested lists; None for all values together."""
    return [scalars(value)] if rank is None else rows_of(value, rank)


class Sample:
    """One sample of a tensor, with one method a summary."""

    def __init__(self, tensor: Tensor, sample: Any) -> None:
        self.tensor = tensor
        self.planes = _planes(tensor, sample) if tensor.kind == "image" else []
        flat: list[Any] = (
            list(chain.from_iterable(chain.from_iterable(self.planes))) if self.planes else scalars(sample)
        )
        self.values = list(map(float, flat))
        if tensor.kind == "tokens":
            while self.values and not self.values[-1]:
                self.values.pop()

    def mean(self) -> float:
        return _mean(self.values)

    def std(self) -> float:
        mean = self.mean()
        return math.sqrt(_mean([(value - mean) ** 2 for value in self.values])) if self.values else NAN

    def rms(self) -> float:
        return math.sqrt(_mean(list(map(mul, self.values, self.values)))) if self.values else NAN

    def norm(self) -> float:
        return math.sqrt(_sum(list(map(mul, self.values, self.values))))

    def min(self) -> float:
        return NAN if not self.values or math.isnan(sum(self.values)) else min(self.values)

    def max(self) -> float:
        return NAN if not self.values or math.isnan(sum(self.values)) else max(self.values)

    def peak(self) -> float:
        return NAN if not self.values or math.isnan(sum(self.values)) else max(map(abs, self.values))

    def low(self) -> float:
        limit = float(self.tensor.low or 0)
        return sum([value <= limit for value in self.values]) / len(self.values) if self.values else NAN

    def high(self) -> float:
        limit = float(self.tensor.high or 0)
        if self.tensor.kind == "audio":
            return sum([abs(value) >= limit for value in self.values]) / len(self.values) if self.values else NAN
        return sum([value >= limit for value in self.values]) / len(self.values) if self.values else NAN

    def sharpness(self) -> float:
        across = [list(map(sub, row[1:], row)) for plane in self.planes for row in plane]
        down = [list(map(sub, b, a)) for plane in self.planes for a, b in zip(plane, plane[1:])]
        energy = 0.0
        for differences in (list(chain.from_iterable(across)), list(chain.from_iterable(down))):
            energy += _mean(list(map(mul, differences, differences))) if differences else 0.0
        return energy

    def channel(self, index: int) -> float:
        return _mean(list(chain.from_iterable(self.planes[index])))

    def zero_crossings(self) -> float:
        below = [value < 0 for value in self.values]
        return sum(map(ne, below, below[1:])) / (len(below) - 1) if len(below) > 1 else NAN

    def length(self) -> float:
        return float(len(self.values))

    def distinct(self) -> float:
        return len(set(self.values)) / len(self.values) if self.values else NAN

    def projection(self, index: int) -> float:
        size = len(self.values)
        return _sum(list(map(mul, self.values, signs(index, size)))) / math.sqrt(size) if size else NAN

    def entropy(self) -> float:
        if self.tensor.kind == "scores":
            return bits(self._distribution()) if self._ranked() else NAN
        low, high = float(self.tensor.low or 0), float(self.tensor.high or 0)
        if math.isnan(sum(self.values)):
            return NAN
        counts = [0] * STEPS
        for value in self.values:
            counts[min(STEPS - 1, max(0, int((min(max(value, low), high) - low) / (high - low) * STEPS)))] += 1
        return bits([count / len(self.values) for count in counts])

    def _ranked(self) -> bool:
        return bool(self.values) and not math.isnan(sum(self.values))

    def _distribution(self) -> list[float]:
        return distribution(self.values, self.tensor)

    def confidence(self) -> float:
        return max(self._distribution()) if self._ranked() else NAN

    def margin(self) -> float:
        if not self._ranked() or len(self.values) < 2:
            return NAN
        second, first = sorted(self._distribution())[-2:]
        return first - second

    def class_(self) -> int | None:
        return self.values.index(max(self.values)) if self._ranked() else None


def _sum(values: list[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # beyond the doubles, or infinities of both signs
        return sum(values)


def _mean(values: list[float]) -> float:
    if not values:
        return NAN
    first = values[0]
    return first + _sum([value - first for value in values]) / len(values)  # a constant is exactly its own mean


def _planes(tensor: Tensor, sample: Any) -> list[list[list[float]]]:
    """An image as one plane of rows a channel."""
    if tensor.channel_axis is None:
        planes = [sample]
    elif tensor.channel_axis == -3:
        planes = list(sample)
    elif tensor.channel_axis == -1:
        planes = [[[pixel[i] for pixel in row] for row in sample] for i in range(len(sample[0][0]))]
    else:
        raise ValueError("the channel axis of an image is -1, -3 or none, not %r" % tensor.channel_axis)
    return [[list(map(float, row)) for row in plane] for plane in planes]

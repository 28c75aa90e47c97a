"""What a reference is made of: tensors, and the features that are counted of them, each with its own checks."""

from __future__ import annotations

import math

from .cells import LATENCY_EDGES_NS
from .errors import InvalidReference
from .joint import Joint, fault_of
from .records import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Sequence

MAX_CELLS = 1024

NUMBER, CATEGORY, JOINT = "number", "category", "joint"
INPUT, OUTPUT, INFERENCE = "input", "output", "inference"


class Tensor(NamedTuple):
    """An input or output of the model, as the program hands it to `observe`.

    Attributes:
        name: as in the model; also the key in the mapping that `observe` gets.
        role: "input" or "output".
        kind: which summaries it has (`summaries.KINDS`): "number", "category", "row", "image", "audio", "tokens",
            "embedding", "scores", or "array" for anything else.
        channel_axis: for an image, the axis of the channels, counted from the end of the shape (-1 for NHWC, -3 for
            NCHW); None where there is none.
        low, high: the ends of the scale, for saturation; None where it has none.
    """

    name: str
    role: str
    kind: str
    channel_axis: int | None = None
    low: float | None = None
    high: float | None = None


class Feature(NamedTuple):
    """One number or category that is counted.

    Attributes:
        name: unique in its reference, as people read it: `image.mean`, `car_value`, `output.class`.
        kind: "number" or "category"; or "joint" for how numbers of one row go together (`joint`).
        role: "input", "output", or "inference" for what belongs to the call itself, such as its latency.
        tensor: the `Tensor` that it comes from; empty for an inference's own, and for a joint of tensors that are
            numbers.
        summary: what makes it out of the tensor (`summaries`): `mean`, `column:3`, `value`, `class`, `latency_ns`.
        edges: a number's inner edges, strictly increasing, finite; cell i is `[edges[i-1], edges[i])`.
        categories: a category's values (strings or integers); the last cell, after theirs, is *unseen*.
        cells: the reference's counts, `len(edges) + 1` or `len(categories) + 1`; their sum is n. A joint's vector, of
            which the first number is n.
        missing: how many values of the reference were missing or NaN, beside the n.
        valid_min, valid_max: the range that is possible; values outside are counted as out of range. None: any.
        floors: (n, distance) by increasing n: how far windows of n values of the reference itself are from the rest
            of it. Filled by the calibration; empty before.
        mean, m2, min, max: of the reference's finite values; m2 is the sum of squared differences from the mean. Null
            for a category and where there were none.
        joint: what a joint is made of; None for the others.
    """

    name: str
    kind: str
    role: str
    tensor: str
    summary: str
    edges: tuple[float, ...] = ()
    categories: tuple[str | int, ...] = ()
    cells: tuple[int, ...] = ()
    missing: int = 0
    valid_min: float | None = None
    valid_max: float | None = None
    floors: tuple[tuple[int, float], ...] = ()
    mean: float | None = None
    m2: float | None = None
    min: float | None = None
    max: float | None = None
    joint: Joint | None = None

    @property
    def n(self) -> int:
        """Values of the reference, without the missing ones; rows of a joint."""
        return sum(self.cells) if self.joint is None else self.cells[0]

    @property
    def size(self) -> int:
        """Number of cells."""
        if self.joint is not None:
            return self.joint.size
        return len(self.edges if self.kind == NUMBER else self.categories) + 1


LATENCY = Feature(
    "latency_ns", NUMBER, INFERENCE, "", "latency_ns", LATENCY_EDGES_NS, cells=(0,) * (len(LATENCY_EDGES_NS) + 1)
)
"""Every window counts latencies over these cells, whatever its reference."""


def check_joint(feature: Feature, features: Sequence[Feature], tensors: Sequence[Tensor]) -> None:
    """That a joint fits the features of its reference: members come from its tensor, or from those that are numbers.

    Raises:
        InvalidReference: it does not.
    """
    numbers = [each.name for each in tensors if each.role == feature.role and each.kind == NUMBER]
    of_its_row = {
        each.name: each.size
        for each in features
        if each.kind == NUMBER
        and each.role == feature.role
        and (each.tensor == feature.tensor if feature.tensor else each.tensor in numbers)
    }
    fault = fault_of(feature.joint, of_its_row)
    others = [each for each in features if each.kind == JOINT and each[2:4] == feature[2:4]]
    if fault or len(others) > 1:
        raise InvalidReference(fault or "a row has one joint")


def check_feature(feature: Feature) -> None:
    """That a feature does not contradict itself.

    Raises:
        InvalidReference: it does.
    """
    if (feature.kind == JOINT) != (feature.joint is not None):
        raise InvalidReference("a joint has what it is made of, and nothing else has")
    if feature.kind not in (NUMBER, CATEGORY, JOINT) or feature.role not in (INPUT, OUTPUT, INFERENCE):
        raise InvalidReference("kind %r, role %r" % (feature.kind, feature.role))
    if not isinstance(feature.tensor, str) or not isinstance(feature.summary, str):
        raise InvalidReference("tensor and summary are texts")
    if (feature.kind != CATEGORY and feature.categories) or (feature.kind != NUMBER and feature.edges):
        raise InvalidReference("a number has edges, a category has categories, and neither has both")
    if feature.size > MAX_CELLS or len(feature.cells) != feature.size:
        raise InvalidReference("%d cells; %d fit it, %d at most" % (len(feature.cells), feature.size, MAX_CELLS))
    if not all(type(count) is int and 0 <= count < 1 << 63 for count in (*feature.cells, feature.missing)):
        raise InvalidReference("counts are whole numbers of 0 or more")
    if not all(map(math.isfinite, feature.edges)) or any(a >= b for a, b in zip(feature.edges, feature.edges[1:])):
        raise InvalidReference("edges are finite and strictly increasing")
    if not all(type(category) in (str, int) for category in feature.categories):
        raise InvalidReference("categories are texts or whole numbers")
    if len(set(feature.categories)) != len(feature.categories):
        raise InvalidReference("a category is there twice")
    numbers = (feature.valid_min, feature.valid_max, feature.mean, feature.m2, feature.min, feature.max)
    if not all(value is None or (type(value) in (int, float) and math.isfinite(value)) for value in numbers):
        raise InvalidReference("mean, m2, min, max and the valid range are finite numbers, or null")
    sizes = [n for n, _ in feature.floors]
    if not all(type(n) is int and n > 0 and 0 <= floor <= 1 for n, floor in feature.floors) or sizes != sorted(
        set(sizes)
    ):
        raise InvalidReference("floors are (n, distance) by increasing n, distances from 0 to 1")

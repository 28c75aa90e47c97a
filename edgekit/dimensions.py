"""Dimensions that vary: an axis whose size may differ from one call to the next, between bounds.

A model declares one where its shape is written, as a number that knows its bounds:

    TensorSpec("tokens", (1, Dim("length", 8, 128, nominal=48)), "int64")

The number is the *nominal* size: the data that calibrate and judge a model have it, and so has what is measured. The
spec's `shape` stays one of plain numbers, the nominal ones; its `varies` says which axes may have other sizes. Axes of
one name have one size in every call, in all inputs.

What varies is proven at several sizes (`sizes_to_prove`): all dimensions at their smallest, at their largest, in the
middle, and each at its smallest beside the others' largest. Samples for those are made from nominal ones (`resized`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from edgekit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    import numpy as np

    from edgekit.specs import TensorSpec

    Sizes: TypeAlias = Mapping[str, int]
    """The size of every dimension that varies, by its name."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANGE = re.compile(r"(?:(?P<name>\w+):)?(?P<min>\d+)\.\.(?P<max>\d+)(?:@(?P<nominal>\d+))?")


class Axis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An axis that varies: which one (from 0), its dimension's name, the smallest and the largest size."""

    axis: int
    name: str
    min: int
    max: int


class Dim(int):
    """A dimension that varies, as its nominal size; without one given, its largest.

    Args:
        name: letters, digits and `_`.
        min, max: the smallest and the largest size, both included.
        nominal: the size that data have and benchmarks take.

    Raises:
        DataError: no such name, or not 1 ≤ min ≤ nominal ≤ max with min < max.
    """

    name: str
    min: int
    max: int

    def __new__(cls, name: str, min: int, max: int, nominal: int | None = None) -> Dim:  # noqa: A002, PYI034 - the field's words; Self is newer
        size = max if nominal is None else nominal
        if not _NAME.fullmatch(name) or not (1 <= min <= size <= max and min < max):
            raise DataError(
                f"A dimension {name!r} of {min}..{max}, nominally {size}, is none that varies.",
                remedy="Give it a name of letters, digits and '_', 1 ≤ min < max, and a nominal size between them.",
            )
        dim = super().__new__(cls, size)
        dim.name, dim.min, dim.max = name, min, max
        return dim


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range in a shape on the command line: `8..128`; `8..128@48` has a nominal size, `length:8..128` a name."""

    min: int
    max: int
    nominal: int | None = None
    name: str = ""

    def dim(self, otherwise: str) -> Dim:
        """As a dimension, called `otherwise` if it was given no name."""
        return Dim(self.name or _plain(otherwise), self.min, self.max, self.nominal)


def parse_size(text: str) -> int | Range:
    """Reads one size of a shape: a number, or a range as `Range` shows it.

    Raises:
        ValueError: neither.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return int(text)
    nominal = found["nominal"]
    made = Range(int(found["min"]), int(found["max"]), int(nominal) if nominal else None, found["name"] or "")
    made.dim("size")
    return made


def _plain(name: str) -> str:
    """As a dimension may be called: a file's own names may be expressions."""
    plain = re.sub(r"\W", "_", name)
    return plain if _NAME.fullmatch(plain) else f"d_{plain}"


def dimensions(specs: Iterable[TensorSpec]) -> dict[str, Dim]:
    """Every dimension that varies, by name, in order.

    Raises:
        DataError: two axes of one name differ in their bounds or nominal size.
    """
    found: dict[str, Dim] = {}
    for spec in specs:
        for axis in spec.varies:
            dim = Dim(axis.name, axis.min, axis.max, spec.shape[axis.axis])
            before = found.setdefault(axis.name, dim)
            if (before.min, before.max, int(before)) != (dim.min, dim.max, int(dim)):
                raise DataError(
                    f"The dimension {axis.name!r} is {before.min}..{before.max}, nominally {int(before)}, in one "
                    f"input, and {dim.min}..{dim.max}, nominally {int(dim)}, in another.",
                    remedy="Axes of one name have one size in every call: give them the same bounds, or other names.",
                )
    return found


def sizes_to_prove(specs: Iterable[TensorSpec]) -> list[dict[str, int]]:
    """The sizes, besides the nominal ones, at which inputs of these specs are proven; empty if nothing varies."""
    dims = dimensions(specs)
    nominal = {name: int(dim) for name, dim in dims.items()}
    smallest = {name: dim.min for name, dim in dims.items()}
    largest = {name: dim.max for name, dim in dims.items()}
    middle = {name: (dim.min + dim.max) // 2 for name, dim in dims.items()}
    corners = [{**largest, name: dim.min} for name, dim in dims.items()]
    distinct: list[dict[str, int]] = []
    for sizes in (smallest, largest, middle, *corners):
        if sizes != nominal and sizes not in distinct:
            distinct.append(sizes)
    return distinct


def told(sizes: Sizes) -> str:
    """For messages and tables: `length 8, width 3`."""
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def resized(samples: np.ndarray, spec: TensorSpec, sizes: Sizes) -> np.ndarray:
    """Samples `(n, *spec.shape)` at other sizes: along every axis that varies, cut at its end, or repeated from its
    beginning. So values stay ones that the model is given, and inputs that belong together stay aligned."""
    import numpy as np

    for axis in spec.varies:
        nominal = spec.shape[axis.axis]
        samples = np.take(samples, np.arange(sizes[axis.name]) % nominal, axis=axis.axis + 1)
    return np.ascontiguousarray(samples)


def varying_outputs(
    nominal: Sequence[int], others: Sequence[tuple[Sizes, Sequence[int]]], name: str
) -> tuple[Axis, ...]:
    """Which axes of an output vary, found from its shapes at several sizes of the inputs.

    Args:
        nominal: its shape at the nominal sizes.
        others: (sizes of the inputs' dimensions, its shape there), for all of `sizes_to_prove`.
        name: the output's.

    Returns:
        An axis that always has an input dimension's size has its name; another is called after the output. Its bounds
        are the sizes seen.

    Raises:
        DataError: the number of axes differs.
    """
    if any(len(shape) != len(nominal) for _, shape in others):
        raise DataError(
            f"Output {name!r} has another number of axes at other sizes of the inputs.",
            remedy="Return the same number of axes at every size, or fix the size: --shape.",
        )
    found = []
    for axis, size in enumerate(nominal):
        seen = {shape[axis] for _, shape in others} | {size}
        if len(seen) == 1:
            continue
        same = [d for d in (others[0][0] if others else {}) if all(sizes[d] == shape[axis] for sizes, shape in others)]
        found.append(Axis(axis, same[0] if same else _plain(f"{name}_{axis}"), min(seen), max(seen)))
    return tuple(found)

"""How windows lie over spatial axes: what convolutions and pools share.

All of it follows `spatial_dimensions_out_shape` in MIL's documentation of `conv` and `avg_pool`.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.convert.mil.values import Tensor

Pads = list[tuple[int, int]]
"""Elements before and after, per spatial axis; negative where elements are cut off."""


def resolve(
    pad_type: str, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pad: Sequence[int]
) -> Pads:
    """The padding of each spatial axis.

    Args:
        pad_type: "valid"; "custom": `pad` holds before and after for each axis; "same": outputs have ceil(size /
            stride) elements, and an odd element of padding goes to the end; "same_lower": it goes to the beginning.
        sizes, kernel, strides: per spatial axis; the kernel's extent includes its dilation.
        pad: 2 numbers per axis, read for "custom" only.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        return [(pad[2 * i], pad[2 * i + 1]) for i in range(len(sizes))]
    pads = []
    for size, extent, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (ceil(size / stride) - 1) * stride + extent - size)
        less, more = total // 2, total - total // 2
        pads.append((more, less) if pad_type == "same_lower" else (less, more))
    return pads


def apply(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    """Pads the last axes of `x` with `value`, or cuts where a number is negative."""
    flat = [n for before_after in reversed(pads) for n in before_after]
    return functional.pad(x, flat, value=value) if any(flat) else x

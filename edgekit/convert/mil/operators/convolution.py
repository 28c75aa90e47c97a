"""Convolution and transposed convolution over one, two or three spatial axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from edgekit.convert.mil.operators.windows import apply, resolve
from edgekit.convert.mil.values import Tensor, ints

if TYPE_CHECKING:
    from collections.abc import Callable

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Tensor | None = None,
    pad_type: str = "valid",
    pad: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """`x` is (n, C_in, *spatial), `weight` (C_out, C_in / groups, *kernel)."""
    axes = x.ndim - 2
    stride, dilation = _per_axis(strides, axes), _per_axis(dilations, axes)
    extents = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilation, strict=True)]
    pads = resolve(pad_type, list(x.shape[2:]), extents, stride, [] if pad is None else ints(pad))
    return _CONVOLVE[axes](apply(x, pads), weight, bias, stride, 0, dilation, 1 if groups is None else ints(groups)[0])


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Tensor | None = None,
    output_shape: Tensor | None = None,
    pad_type: str = "valid",
    strides: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """`x` is (n, C_in, *spatial), `weight` (C_in, C_out / groups, *kernel).

    The whole result is computed, then cut: `pad` is what is cut off before and after ("custom"); "same" leaves size ·
    stride elements, and cuts an odd element off the end, as the gradient of a "same" convolution does; where
    `output_shape` is given it says how many are left. Where it asks for more than there are, zeros are added.
    """
    axes = x.ndim - 2
    stride = _per_axis(strides, axes)
    whole = _TRANSPOSE[axes](
        x, weight, None, stride, 0, 0, 1 if groups is None else ints(groups)[0], _per_axis(dilations, axes)
    )
    cuts = []
    for i, (have, size) in enumerate(zip(whole.shape[2:], x.shape[2:], strict=True)):
        if pad_type == "custom":
            before, after = ints(pad)[2 * i : 2 * i + 2] if pad is not None else (0, 0)
            wanted = have - before - after if output_shape is None else ints(output_shape)[2 + i]
        else:
            wanted = size * stride[i] if pad_type == "same" else have
            if output_shape is not None:
                wanted = ints(output_shape)[2 + i]
            before = max(have - wanted, 0) // 2 if pad_type == "same" else 0
        cuts.append((-before, wanted - (have - before)))
    result = apply(whole, cuts)
    return result if bias is None else result + bias.reshape([1, -1] + [1] * axes)


def _per_axis(parameter: Tensor | None, axes: int) -> list[int]:
    return [1] * axes if parameter is None else ints(parameter)


OPERATORS: dict[str, Callable[..., Tensor]] = {"conv": conv, "conv_transpose": conv_transpose}

"""Largest value, mean and root of the sum of squares of windows over one, two or three spatial axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from edgekit.convert.mil.operators.windows import Pads, apply, resolve
from edgekit.convert.mil.values import Tensor, ints

if TYPE_CHECKING:
    from collections.abc import Callable


class _Windows:
    """Where the windows of one pool lie.

    Args:
        x: (n, C, *spatial).
        ceil_mode: also a last window that only begins inside the padded input, as PyTorch's `ceil_mode`; it reaches
            beyond the padding by `beyond` elements.
    """

    def __init__(
        self,
        x: Tensor,
        kernel_sizes: Tensor,
        strides: Tensor | None,
        pad_type: str,
        pad: Tensor | None,
        ceil_mode: Tensor | None,
    ) -> None:
        sizes = list(x.shape[2:])
        self.kernel = ints(kernel_sizes)
        self.strides = [1] * len(sizes) if strides is None else ints(strides)
        padding = [0] * 2 * len(sizes) if pad is None else ints(pad)
        self.pads: Pads = resolve(pad_type, sizes, self.kernel, self.strides, padding)
        self.beyond: Pads = [(0, 0)] * len(sizes)
        if ceil_mode is not None and bool(ceil_mode):
            self.beyond = [(0, self._overhang(i, size)) for i, size in enumerate(sizes)]

    def _overhang(self, i: int, size: int) -> int:
        (before, after), kernel, stride = self.pads[i], self.kernel[i], self.strides[i]
        windows = (size + before + after - kernel + stride - 1) // stride + 1
        if (windows - 1) * stride >= size + before and before + after > 0:
            windows -= 1
        return max(0, (windows - 1) * stride + kernel - (size + before + after))

    def padded(self, x: Tensor, value: float) -> Tensor:
        return apply(apply(x, self.pads, value), self.beyond, value)

    def sums(self, padded: Tensor) -> Tensor:
        """The sum of each window. PyTorch has no pool with a divisor of its own for one axis: two are made of it."""
        if padded.ndim == 3:
            pooled = functional.avg_pool2d(padded[..., None], [*self.kernel, 1], [*self.strides, 1], divisor_override=1)
            return pooled[..., 0]
        pool = functional.avg_pool2d if padded.ndim == 4 else functional.avg_pool3d
        return pool(padded, self.kernel, self.strides, divisor_override=1)


def avg_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    pad_type: str,
    strides: Tensor | None = None,
    pad: Tensor | None = None,
    exclude_padding_from_average: Tensor | None = None,
    ceil_mode: Tensor | None = None,
) -> Tensor:
    """The mean of each window.

    Padding counts as zeros unless it is excluded; what lies beyond the padding (`ceil_mode`) never counts.
    """
    windows = _Windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    exclude = exclude_padding_from_average is not None and bool(exclude_padding_from_average)
    ones = torch.ones([1, 1, *x.shape[2:]])
    counted = apply(apply(ones, windows.pads, 0.0 if exclude else 1.0), windows.beyond)
    return windows.sums(windows.padded(x, 0.0)) / windows.sums(counted)


def l2_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    pad_type: str,
    strides: Tensor | None = None,
    pad: Tensor | None = None,
    ceil_mode: Tensor | None = None,
) -> Tensor:
    windows = _Windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return torch.sqrt(windows.sums(windows.padded(x * x, 0.0)))


def max_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    pad_type: str,
    strides: Tensor | None = None,
    pad: Tensor | None = None,
    ceil_mode: Tensor | None = None,
) -> Tensor:
    """The largest value of each window; padding never wins."""
    windows = _Windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    pool = {3: functional.max_pool1d, 4: functional.max_pool2d, 5: functional.max_pool3d}[x.ndim]
    return pool(windows.padded(x, float("-inf")), windows.kernel, windows.strides)


OPERATORS: dict[str, Callable[..., Tensor]] = {"avg_pool": avg_pool, "l2_pool": l2_pool, "max_pool": max_pool}

"""What convolutions and pools share: kernel, strides, dilations, and padding in ONNX's four ways of saying it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from edgekit.convert.onnx_to_torch.node import Node


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial axes; each list has one entry per axis.

    `begin` and `end` are the explicit pads, those of `auto_pad` worked out. `extra` is what a pool with `ceil_mode`
    reads beyond the end, and which belongs to no pad.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    extra: list[int]

    @property
    def symmetric(self) -> bool:
        """Whether torch's own `padding` argument says it all."""
        return self.begin == self.end and not any(self.extra)

    def pad(self, x: Tensor, value: float, *, explicit: bool = True, extra: bool = True) -> Tensor:
        """x with its pads filled in."""
        pads: list[int] = []
        for i in reversed(range(len(self.kernel))):
            pads += [self.begin[i] * explicit, self.end[i] * explicit + self.extra[i] * extra]
        return functional.pad(x, pads, value=value) if any(pads) else x


def window_of(node: Node, spatial: list[int], kernel: list[int]) -> Window:
    """The window of a convolution or pool over axes of the sizes `spatial`."""
    rank = len(spatial)
    strides = list(node.get("strides", [1] * rank))
    dilations = list(node.get("dilations", [1] * rank))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin, end = _pads(node, spatial, strides, reach)
    extra = [0] * rank
    if node.get("ceil_mode", 0):
        for i, size in enumerate(spatial):
            extra[i] = _beyond(size, begin[i], end[i], strides[i], reach[i])
    return Window(list(kernel), strides, dilations, begin, end, extra)


def _pads(node: Node, spatial: list[int], strides: list[int], reach: list[int]) -> tuple[list[int], list[int]]:
    rank, how = len(spatial), node.get("auto_pad", "NOTSET")
    if how == "VALID":
        return [0] * rank, [0] * rank
    if how == "NOTSET":
        pads = node.get("pads", [0] * (2 * rank))
        return list(pads[:rank]), list(pads[rank:])
    begin, end = [], []
    for size, stride, window in zip(spatial, strides, reach, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + window - size)
        small, large = total // 2, total - total // 2
        begin.append(small if how == "SAME_UPPER" else large)
        end.append(large if how == "SAME_UPPER" else small)
    return begin, end


def _beyond(size: int, begin: int, end: int, stride: int, reach: int) -> int:
    """How far the last window of a pool with `ceil_mode` reaches over the end; one that starts there is left out."""
    padded = size + begin + end
    count = -(-(padded - reach) // stride) + 1
    if (count - 1) * stride >= size + begin:
        count -= 1
    return max(0, (count - 1) * stride + reach - padded)

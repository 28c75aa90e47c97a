"""The computations that get a schedule of their own, as tensor expressions over packed weights.

Weights are packed when the model is compiled: a product's `(k, n)` weights as `(n / columns, k, columns)`, so that the
kernel reads them front to back, one panel a tile. They may be stored as float16 or int8 and are converted as they are
loaded; sums are float32.

Integer kernels take activations of 8 bits, their zero point subtracted, in int16, weights in int8, and sum in int32. On
processors that multiply and add pairs (x86: vpmaddwd, vpdpwssd), `pair` neighbours of the reduction lie side by side:
`(panels, k / 2, columns, 2)`; elsewhere the pair is 1.

Each computation carries an annotation that tells `schedules` what it is, and survives fusion.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

KIND = "edgekit.kernel"
TILE = "edgekit.tile"
PAIR = "edgekit.pair"
CONTRACTION, WINDOW = "contraction", "window"


def pack(weight: np.ndarray, columns: int) -> np.ndarray:
    """`(…, n)` as `(⌈n / columns⌉, …, columns)`, the last panel filled with zeros."""
    *inner, n = weight.shape
    panels = -(-n // columns)
    padded = np.zeros((*inner, panels * columns), weight.dtype)
    padded[..., :n] = weight
    return np.ascontiguousarray(np.moveaxis(padded.reshape(*inner, panels, columns), -2, 0))


def pack_pairs(weight: np.ndarray, columns: int, pair: int) -> np.ndarray:
    """`(…, k, n)` as `(⌈n / columns⌉, …, k / pair, columns, pair)`."""
    packed = pack(weight, columns)
    *outer, k, _ = packed.shape
    return np.ascontiguousarray(packed.reshape(*outer, k // pair, pair, columns).swapaxes(-1, -2))


def quantized(x: Any, scale: float, low: int, high: int) -> Any:
    """`x / scale` rounded to the nearest integer from low to high, in int16; `-256 < low ≤ high < 256`."""
    from tvm import te, tirx

    def element(*index: Any) -> Any:
        value = x(*index) * tirx.const(1 / scale, "float32")
        inside = tirx.max(tirx.min(value, tirx.const(high, "float32")), tirx.const(low, "float32"))
        # Conversion truncates: of a positive number plus a half that rounds.
        return ((inside + tirx.const(256.5, "float32")).astype("int32") - 256).astype("int16")

    return te.compute(x.shape, element, name="quantized")


def trimmed(x: Any, n: int) -> Any:
    """The first `n` of the last axis."""
    from tvm import te

    return te.compute((*x.shape[:-1], n), x, name="trimmed")


def integer_product(a: Any, packed: Any, tile: Sequence[int]) -> Any:
    """`(m, k) × (k, n)` in integers: `a` in int16, the second packed in int8, the result in int32.

    The result has all columns of all panels: an instruction cannot leave some out.
    """
    from tvm import te

    m, depth = a.shape
    panels, _, columns, pair = (int(size) for size in packed.shape)
    k = te.reduce_axis((0, depth), name="k")

    def value(i: Any, j: Any) -> Any:
        weight = packed[j // columns, k // pair, j % columns, k % pair]
        return te.sum(a[i, k].astype("int32") * weight.astype("int32"), axis=k)

    attributes = {KIND: CONTRACTION, TILE: list(tile), PAIR: pair}
    return te.compute((m, panels * columns), value, name="integer_product", attrs=attributes)


def integer_convolution(
    x: Any, packed: Any, shape: Sequence[int], strides: Sequence[int], dilation: Sequence[int], tile: Sequence[int]
) -> Any:
    """A convolution of one group in integers: as `convolution`, `x` in int16, weights `(panels, height, width,
    channels / pair, columns, pair)` in int8, the result in int32 with all columns of all panels.
    """
    from tvm import te

    panels, kernel_h, kernel_w, depth, columns, pair = (int(size) for size in packed.shape)
    kh, kw = te.reduce_axis((0, kernel_h), name="kh"), te.reduce_axis((0, kernel_w), name="kw")
    k = te.reduce_axis((0, depth * pair), name="k")

    def value(b: Any, y: Any, w: Any, j: Any) -> Any:
        pixel = x[b, y * strides[0] + kh * dilation[0], w * strides[1] + kw * dilation[1], k]
        weight = packed[j // columns, kh, kw, k // pair, j % columns, k % pair]
        return te.sum(pixel.astype("int32") * weight.astype("int32"), axis=[kh, kw, k])

    attributes = {KIND: CONTRACTION, TILE: list(tile), PAIR: pair}
    return te.compute((*shape[:-1], panels * columns), value, name="integer_convolution", attrs=attributes)


def product(a: Any, packed: Any, n: int, tile: Sequence[int]) -> Any:
    """`(m, k) × (k, n)`, with the second packed: `(panels, k, columns)`."""
    from tvm import te

    m, depth = a.shape
    columns = int(packed.shape[2])
    k = te.reduce_axis((0, depth), name="k")
    return te.compute(
        (m, n),
        lambda i, j: te.sum(a[i, k].astype("float32") * packed[j // columns, k, j % columns].astype("float32"), axis=k),
        name="product",
        attrs={KIND: CONTRACTION, TILE: list(tile)},
    )


def batched_product(a: Any, b: Any, tile: Sequence[int]) -> Any:
    """`(batch, m, k) × (batch, k, n)`, neither of them packed."""
    from tvm import te

    batch, m, depth = a.shape
    k = te.reduce_axis((0, depth), name="k")
    return te.compute(
        (batch, m, b.shape[2]),
        lambda g, i, j: te.sum(a[g, i, k] * b[g, k, j], axis=k),
        name="batched_product",
        attrs={KIND: CONTRACTION, TILE: list(tile)},
    )


def convolution(
    x: Any,
    packed: Any,
    shape: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    tile: Sequence[int],
) -> Any:
    """A convolution over padded channels-last data.

    Args:
        x: `(n, height, width, channels)`, padded.
        packed: `(groups · panels, kernel height, kernel width, channels / groups, columns)`.
        shape: of the result, `(n, height, width, outputs)`.
        strides, dilation: by axis.
        groups: of channels.
        tile: rows, vectors and lanes of the tile.
    """
    from tvm import te

    n, height, width, outputs = shape
    panels, kernel_h, kernel_w, depth, columns = (int(size) for size in packed.shape)
    each, panels = outputs // groups, panels // groups
    kh, kw = te.reduce_axis((0, kernel_h), name="kh"), te.reduce_axis((0, kernel_w), name="kw")
    k = te.reduce_axis((0, depth), name="k")

    def value(b: Any, y: Any, w: Any, group: Any, j: Any) -> Any:
        pixel = x[b, y * strides[0] + kh * dilation[0], w * strides[1] + kw * dilation[1], group * depth + k]
        weight = packed[group * panels + j // columns, kh, kw, k, j % columns]
        return te.sum(pixel.astype("float32") * weight.astype("float32"), axis=[kh, kw, k])

    attributes = {KIND: CONTRACTION, TILE: list(tile)}
    if groups == 1:
        return te.compute(
            (n, height, width, outputs), lambda b, y, w, j: value(b, y, w, 0, j), name="convolution", attrs=attributes
        )
    return te.compute((n, height, width, groups, each), value, name="grouped_convolution", attrs=attributes)


def _inside(position: Any, size: int) -> Any:
    """Whether a position lies in the data, marked as likely: `LoopPartition` then gives the border its own loops."""
    from tvm import tirx

    return tirx.all(tirx.likely(position >= 0), tirx.likely(position < size))


def padding(x: Any, before: Sequence[int], after: Sequence[int], value: float) -> Any:
    """`x` with so many elements of `value` before and after its own, by axis."""
    from tvm import te, tirx

    shape = [int(size) for size in x.shape]
    padded = tuple(first + size + last for first, size, last in zip(before, shape, after, strict=True))

    def element(*index: Any) -> Any:
        inner = [i - first for i, first in zip(index, before, strict=True)]
        bounds = [_inside(i, n) for i, n, wide in zip(inner, shape, padded, strict=True) if n != wide]
        return tirx.if_then_else(tirx.all(*bounds), x(*inner), tirx.const(value, x.dtype))

    return te.compute(padded, element, name="padding")


def depthwise(
    x: Any,
    weight: Any,
    shape: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Any:
    """A depthwise convolution over unpadded channels-last data, its window written out as one sum.

    Args:
        x: `(n, height, width, channels)`.
        weight: `(kernel height, kernel width, channels)`.
        shape: of the result, `(n, height, width, channels)`.
        strides, dilation: by axis.
        padding: zeros above and to the left; what lies below and to the right follows from the shapes.
    """
    from tvm import te, tirx

    height, width = int(x.shape[1]), int(x.shape[2])
    kernel_h, kernel_w, _ = (int(size) for size in weight.shape)

    def value(b: Any, y: Any, w: Any, c: Any) -> Any:
        total = None
        for i in range(kernel_h):
            for j in range(kernel_w):
                row = y * strides[0] + i * dilation[0] - padding[0]
                column = w * strides[1] + j * dilation[1] - padding[1]
                pixel = tirx.if_then_else(
                    tirx.all(_inside(row, height), _inside(column, width)),
                    x[b, row, column, c].astype("float32"),
                    tirx.const(0, "float32"),
                )
                term = pixel * weight[i, j, c].astype("float32")
                total = term if total is None else total + term
        return total

    return te.compute(tuple(shape), value, name="depthwise", attrs={KIND: WINDOW})


def pooling(
    x: Any,
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    average: bool,
) -> Any:
    """The maximum or the average of each window of channels-last data; other arguments as of `depthwise`.

    An average counts the padding as zeros.
    """
    from tvm import te, tirx

    height, width = int(x.shape[1]), int(x.shape[2])
    outside = tirx.const(0, x.dtype) if average else tirx.min_value(x.dtype)

    def value(b: Any, y: Any, w: Any, c: Any) -> Any:
        pixels = []
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                row = y * strides[0] + i * dilation[0] - padding[0]
                column = w * strides[1] + j * dilation[1] - padding[1]
                inside = tirx.all(_inside(row, height), _inside(column, width))
                pixels.append(tirx.if_then_else(inside, x[b, row, column, c], outside))
        if average:
            return sum(pixels[1:], pixels[0]) * tirx.const(1 / len(pixels), x.dtype)
        return reduce(tirx.max, pixels)

    return te.compute(tuple(shape), value, name="pooling", attrs={KIND: WINDOW})


def softmax(x: Any) -> Any:
    """Over the last axis: exp(x - max) / sum."""
    from tvm import te, tirx

    *outer, depth = x.shape
    k, j = te.reduce_axis((0, depth), name="k"), te.reduce_axis((0, depth), name="j")
    highest = te.compute(tuple(outer), lambda *i: te.max(x[(*i, k)], axis=k), name="highest")
    powers = te.compute(x.shape, lambda *i: tirx.exp(x(*i) - highest(*i[:-1])), name="powers")
    total = te.compute(tuple(outer), lambda *i: te.sum(powers[(*i, j)], axis=j), name="total")
    share = te.compute(tuple(outer), lambda *i: tirx.const(1.0, x.dtype) / total(*i), name="share")
    return te.compute(x.shape, lambda *i: powers(*i) * share(*i[:-1]), name="softmax")


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Over the last axis: (x - mean) / sqrt(variance + epsilon) · gamma + beta; the variance of the centred values."""
    from tvm import te, tirx

    *outer, depth = x.shape
    k, j = te.reduce_axis((0, depth), name="k"), te.reduce_axis((0, depth), name="j")
    one = tirx.const(1.0 / int(depth), x.dtype)
    total = te.compute(tuple(outer), lambda *i: te.sum(x[(*i, k)], axis=k), name="total")
    centred = te.compute(x.shape, lambda *i: x(*i) - total(*i[:-1]) * one, name="centred")
    squares = te.compute(tuple(outer), lambda *i: te.sum(centred[(*i, j)] * centred[(*i, j)], axis=j), name="squares")
    scale = te.compute(
        tuple(outer),
        lambda *i: tirx.const(1.0, x.dtype) / tirx.sqrt(squares(*i) * one + tirx.const(epsilon, x.dtype)),
        name="scale",
    )
    return te.compute(x.shape, lambda *i: centred(*i) * scale(*i[:-1]) * gamma(i[-1]) + beta(i[-1]), name="layer_norm")

"""From the operators of a simplified graph to the kernels that have schedules of their own.

What is not named here is legalised by TVM, and scheduled by what its loops look like.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.tvm import kernels, tiles
from edgekit.convert.tvm.graph import Rewriter, constant, constant_value, dtype_of, op_name, shape_of
from edgekit.convert.tvm.quantization import takes_integers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edgekit.convert.tvm.machine import Machine
    from edgekit.convert.tvm.quantization import Activation
    from edgekit.convert.tvm.storage import Storage

LARGEST_WINDOW = 49
"""A window of 7×7 is still written out; a larger one is left to TVM."""
HALF = 8
"""Lanes of the narrower of two machines whose kernels share their weights."""
_FUSABLE = {"op_pattern": 4}
"""TVM's kOutEWiseFusable: elementwise operators that follow are fused into the kernel."""
_ELEMENTWISE = {"op_pattern": 0}
"""TVM's kElemWise: the operator is fused into the kernel before it."""


def lower(
    module: Any,
    machine: Machine,
    storage: Storage,
    packed_for: Machine | None = None,
    activations: Iterable[Activation] = (),
    tuned: Mapping[tiles.Product, tiles.Tile] | None = None,
) -> Any:
    """The module with kernels for convolutions, products, pooling, softmax and layer normalisation.

    Args:
        module: simplified, channels last, its views sunk.
        machine: chooses the tiles.
        storage: in which dtype weights are stored.
        packed_for: whose tiles the weights are packed for, the machine's own by default. Kernels for two machines share
            their weights if both are packed for one of them.
        activations: how those of each operator that takes integers are quantized (`quantization.calibrated`); without
            it, all is computed in float32.
        tuned: tiles measured to be faster than the estimated ones, of the machine that weights are packed for.
    """
    tiling, quantized = _Tiling(machine, packed_for or machine, tuned or {}), iter(activations)

    def rule(rewriter: Rewriter, call: Any) -> Any:
        if takes_integers(call):
            activation = next(quantized, None)
            if activation is not None:
                return _in_integers(rewriter, call, tiling, storage, activation)
        return _rule(rewriter, call, tiling, storage)

    return Rewriter(rule).run(module)


@dataclass(frozen=True)
class _Tiling:
    """Tiles of one machine over panels of another."""

    machine: Machine
    packed_for: Machine
    tuned: Mapping[tiles.Product, tiles.Tile] = field(default_factory=dict)

    def __call__(
        self, rows: int, columns: int, product: tiles.Product | None = None, *, whole: bool = False
    ) -> tuple[tiles.Tile, int]:
        """(the tile of a product with so many rows and columns, columns of a panel of its weights)"""
        measured = self.tuned.get(product) if product is not None else None
        tile = measured or tiles.choose(rows, columns, self.packed_for, whole=whole)
        panel = tile.columns
        if tile.lanes % HALF and tile.lanes > HALF:  # one panel, not a whole vector wide: half a vector must divide it
            panel += -panel % HALF
        if self.machine != self.packed_for:
            tile = tiles.choose(rows, columns, self.machine, panel, whole=whole)
        return tile, panel


def _rule(rewriter: Rewriter, call: Any, tiling: _Tiling, storage: Storage) -> Any:
    name = op_name(call)
    if name == "matmul":
        return _product(rewriter, call, tiling, storage)
    if name == "nn.conv2d":
        return _convolution(rewriter, call, tiling, storage)
    if name == "nn.pad":
        return _padding(rewriter, call)
    if name in ("nn.max_pool2d", "nn.avg_pool2d") and dtype_of(call) == "float32":
        return _pooling(rewriter, call)
    if name == "nn.softmax":
        return _softmax(rewriter, call)
    if name == "nn.layer_norm":
        return _layer_norm(rewriter, call)
    if name == "take":
        return storage.table(rewriter, call)
    return None


def _in_integers(rewriter: Rewriter, call: Any, tiling: _Tiling, storage: Storage, activation: Activation) -> Any:
    """A product or a convolution of int8 weights with quantized activations, its sums scaled to float32."""
    from tvm import relax

    x, weight = call.args[0], constant_value(call.args[1])
    shape = shape_of(call)
    assert weight is not None, "takes_integers has looked"
    assert shape is not None, "likewise"
    columns = shape[-1]
    # TVM cannot put an instruction into a tile that has a condition, so there are no tails.
    tile, panel = tiling(shape[-2], columns, whole=True)
    sizes = tile.sizes
    pair = tiling.machine.pair if columns >= 2 * HALF else 1
    stored, scale = storage.weight(weight)
    assert scale is not None, "integers are for stored int8"

    def quantized(values: Any) -> Any:
        return kernels.quantized(values, activation.scale, activation.low, activation.high)

    if x not in rewriter.forms:
        rewriter.forms[x] = rewriter.builder.emit_te(quantized, x, primfunc_name_hint="quantized")
    integers, packed = rewriter.forms[x], constant(kernels.pack_pairs(stored, panel, pair))
    if op_name(call) == "matmul":

        def integer_product(a: Any, w: Any) -> Any:
            return kernels.integer_product(a, w, sizes)

        sums = _kernel(rewriter, integer_product, integers, packed)
    else:
        strides, dilation = ([int(step) for step in call.attrs[name]] for name in ("strides", "dilation"))
        top, left, bottom, right = (int(size) for size in call.attrs["padding"])
        if top or left or bottom or right:
            integers = _padded(rewriter, integers, (0, top, left, 0), (0, bottom, right, 0), 0)

        def integer_convolution(pixels: Any, w: Any) -> Any:
            return kernels.integer_convolution(pixels, w, shape, strides, dilation, sizes)

        sums = _kernel(rewriter, integer_convolution, integers, packed)
    if shape_of(sums) != shape:

        def trimmed(values: Any) -> Any:
            return kernels.trimmed(values, columns)

        sums = rewriter.builder.emit_te(trimmed, sums, primfunc_name_hint="trimmed", primfunc_attrs=_ELEMENTWISE)
    return _scaled(rewriter, relax.op.astype(sums, "float32"), scale * np.float32(activation.scale))


def _kernel(rewriter: Rewriter, compute: Callable[..., Any], *arguments: Any) -> Any:
    """Emits a call of a kernel; `arguments` are what is no constant of Python's."""
    return rewriter.builder.emit_te(compute, *arguments, primfunc_name_hint=compute.__name__, primfunc_attrs=_FUSABLE)


def _product(rewriter: Rewriter, call: Any, tiling: _Tiling, storage: Storage) -> Any:
    a, b = call.args
    left, right, weight = shape_of(a), shape_of(b), constant_value(b)
    if left is None or right is None or dtype_of(a) != "float32" or dtype_of(b) != "float32":
        return None
    if len(left) == 3 and len(right) == 3:
        tile = tiles.choose(left[1], right[2], tiling.machine)

        def batched_product(x: Any, y: Any) -> Any:
            return kernels.batched_product(x, y, tile.sizes)

        return _kernel(rewriter, batched_product, a, b)
    if len(left) != 2 or len(right) != 2:
        return None
    if weight is None:
        return None
    stored, scale = storage.weight(weight)
    tile, panel = tiling(left[0], right[1], tiles.Product(left[0], right[0], right[1], str(stored.dtype)))
    sizes = tile.sizes

    def product(x: Any, w: Any) -> Any:
        return kernels.product(x, w, right[1], sizes)

    y = _kernel(rewriter, product, a, constant(kernels.pack(stored, panel)))
    return _scaled(rewriter, y, scale)


def _scaled(rewriter: Rewriter, y: Any, scale: np.ndarray | None) -> Any:
    from tvm import relax

    return y if scale is None else relax.op.multiply(rewriter.emit(y), constant(scale))


def _convolution(rewriter: Rewriter, call: Any, tiling: _Tiling, storage: Storage) -> Any:
    x, weight = call.args
    given, kernel, shape, data = call.attrs, constant_value(weight), shape_of(call), shape_of(x)
    if kernel is None or shape is None or data is None or given["data_layout"] != "NHWC" or kernel.dtype != np.float32:
        return None
    groups = int(given["groups"])
    strides, dilation = ([int(step) for step in given[name]] for name in ("strides", "dilation"))
    top, left, bottom, right = (int(size) for size in given["padding"])
    kernel_h, kernel_w, depth, outputs = kernel.shape
    if groups == data[3] == outputs and depth == 1 and kernel_h * kernel_w <= LARGEST_WINDOW:
        stored, scale = storage.weight(kernel[:, :, 0])

        def depthwise(pixels: Any, w: Any) -> Any:
            return kernels.depthwise(pixels, w, shape, strides, (top, left), dilation)

        return _scaled(rewriter, _kernel(rewriter, depthwise, x, constant(stored)), scale)
    if top or left or bottom or right:
        x = _padded(rewriter, x, (0, top, left, 0), (0, bottom, right, 0), 0.0)
    each = outputs // groups
    tile, panel = tiling(shape[2], each)
    stored, scale = storage.weight(kernel)
    packed = np.concatenate([kernels.pack(stored[..., g * each : (g + 1) * each], panel) for g in range(groups)])
    sizes = tile.sizes

    def convolution(pixels: Any, w: Any) -> Any:
        return kernels.convolution(pixels, w, shape, strides, dilation, groups, sizes)

    y = _kernel(rewriter, convolution, x, constant(packed))
    if groups > 1:
        from tvm import relax

        y = relax.op.reshape(rewriter.emit(y), shape)
    return _scaled(rewriter, y, scale)


def _padding(rewriter: Rewriter, call: Any) -> Any:
    width = [int(size) for size in call.attrs["pad_width"]]
    value = constant_value(call.args[1]) if len(call.args) > 1 else np.zeros(())
    if value is None or call.attrs["pad_mode"] != "constant" or min(width) < 0 or shape_of(call) is None:
        return None
    return _padded(rewriter, call.args[0], width[0::2], width[1::2], float(value))


def _padded(rewriter: Rewriter, x: Any, before: Sequence[int], after: Sequence[int], value: float) -> Any:
    def padding(data: Any) -> Any:
        return kernels.padding(data, before, after, value)

    return rewriter.builder.emit_te(padding, x, primfunc_name_hint="padding")


def _pooling(rewriter: Rewriter, call: Any) -> Any:
    """A maximum, or an average whose windows all count the same number of values."""
    given, shape, average = call.attrs, shape_of(call), op_name(call) == "nn.avg_pool2d"
    kernel, strides, dilation, padding = (
        [int(size) for size in given[name]] for name in ("pool_size", "strides", "dilation", "padding")
    )
    if given["layout"] != "NHWC" or shape is None or kernel[0] * kernel[1] > LARGEST_WINDOW:
        return None
    if average and (given["ceil_mode"] or (any(padding) and not given["count_include_pad"])):
        return None

    def pooling(x: Any) -> Any:
        return kernels.pooling(x, shape, kernel, strides, padding[:2], dilation, average)

    return _kernel(rewriter, pooling, call.args[0])


def _softmax(rewriter: Rewriter, call: Any) -> Any:
    shape = shape_of(call)
    if shape is None or int(call.attrs["axis"]) % len(shape) != len(shape) - 1 or dtype_of(call) != "float32":
        return None
    return _kernel(rewriter, kernels.softmax, call.args[0])


def _layer_norm(rewriter: Rewriter, call: Any) -> Any:
    shape = shape_of(call)
    x, gamma, beta = call.args
    if shape is None or [int(axis) % len(shape) for axis in call.attrs["axes"]] != [len(shape) - 1]:
        return None
    epsilon = float(call.attrs["epsilon"])
    if not (call.attrs["center"] and call.attrs["scale"]) or dtype_of(call) != "float32":
        return None

    def layer_norm(values: Any, g: Any, b: Any) -> Any:
        return kernels.layer_norm(values, g, b, epsilon)

    return _kernel(rewriter, layer_norm, x, gamma, beta)

"""Channels last: convolutions and what lies between them, from NCHW to NHWC.

Channels last makes a 1×1 convolution a matrix product and gives every kernel a contiguous axis to vectorise. This walk
turns each convolution and each pooling into its NHWC form between two transpositions, and moves the second one behind
the elementwise operators, reductions and concatenations that follow, until it meets the first one of the next
convolution. TVM's `ConvertLayout` does the same, but stops at `clip`, `maximum` and `minimum`, which leaves two
transpositions at every ReLU6.

A one-dimensional convolution becomes a two-dimensional one of height 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.convert.tvm.graph import Rewriter, constant, constant_value, op_name, shape_of
from edgekit.convert.tvm.views import BINARY, UNARY

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_REDUCTIONS = {"max", "mean", "min", "sum"}
_POOLINGS = {"nn.adaptive_avg_pool2d", "nn.avg_pool2d", "nn.max_pool2d"}


def channels_last(module: Any) -> Any:
    """The module with channels-last convolutions."""
    return Rewriter(_rule).run(module)


def _rule(rewriter: Rewriter, call: Any) -> Any:
    name = op_name(call)
    if name == "nn.conv1d":
        return _from_one_dimension(rewriter, call)
    if name == "nn.conv2d":
        return _convolution(rewriter, call)
    if name in _POOLINGS:
        return _pooling(rewriter, call)
    if name in UNARY or name == "nn.pad":
        return _carried(rewriter, call)
    if name in BINARY:
        return _binary(rewriter, call)
    if name in _REDUCTIONS:
        return _reduction(rewriter, call)
    if name == "concat":
        return _concatenation(rewriter, call)
    if name == "permute_dims":
        return _permuted(rewriter, call)
    return None


def _carried_base(rewriter: Rewriter, x: Any) -> Any:
    """The NHWC tensor that `x` is the NCHW form of; None if it is not known to be one."""
    producer = rewriter.producer(x)
    if op_name(producer) == "permute_dims" and _axes(producer) == TO_FIRST:
        return producer.args[0]
    return None


def _axes(call: Any) -> tuple[int, ...]:
    axes = call.attrs["axes"]
    return () if axes is None else tuple(int(axis) for axis in axes)


def _last(rewriter: Rewriter, x: Any) -> Any:
    from tvm import relax

    value = constant_value(x)
    if value is not None:
        return constant(value.transpose(TO_LAST))
    base = _carried_base(rewriter, x)
    if base is not None:
        return base
    if x not in rewriter.forms:
        rewriter.forms[x] = rewriter.emit(relax.op.permute_dims(x, TO_LAST))
    return rewriter.forms[x]


def _first(rewriter: Rewriter, x: Any) -> Any:
    from tvm import relax

    return rewriter.emit(relax.op.permute_dims(rewriter.emit(x), TO_FIRST))


def _from_one_dimension(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    x, weight = call.args
    kernel, given = constant_value(weight), call.attrs
    if kernel is None or given["data_layout"] != "NCW" or given["kernel_layout"] != "OIW":
        return None
    wide = rewriter.emit(relax.op.expand_dims(x, 2))
    before, after = (int(size) for size in given["padding"])
    result = relax.op.nn.conv2d(
        wide, constant(kernel[:, :, None, :]), [1, int(given["strides"][0])], [0, before, 0, after],
        [1, int(given["dilation"][0])], int(given["groups"]),
    )  # fmt: skip
    made = _convolution(rewriter, rewriter.builder.normalize(result))
    return relax.op.squeeze(made, [2])


def _convolution(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    x, weight = call.args
    kernel, given = constant_value(weight), call.attrs
    if kernel is None or given["data_layout"] != "NCHW" or given["kernel_layout"] != "OIHW":
        return None
    result = relax.op.nn.conv2d(
        _last(rewriter, x), constant(kernel.transpose(2, 3, 1, 0)), given["strides"], given["padding"],
        given["dilation"], int(given["groups"]), "NHWC", "HWIO",
    )  # fmt: skip
    return _first(rewriter, result)


def _pooling(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    given = call.attrs
    if given["layout"] != "NCHW":
        return None
    if op_name(call) == "nn.adaptive_avg_pool2d":
        base = _carried_base(rewriter, call.args[0])
        if base is None:
            return None
        return _first(rewriter, relax.op.nn.adaptive_avg_pool2d(base, given["output_size"], "NHWC"))
    pool = relax.op.nn.max_pool2d if op_name(call) == "nn.max_pool2d" else relax.op.nn.avg_pool2d
    pooled = pool(
        _last(rewriter, call.args[0]),
        given["pool_size"],
        given["strides"],
        given["padding"],
        given["dilation"],
        bool(given["ceil_mode"]),
        bool(given["count_include_pad"]),
        "NHWC",
    )
    return _first(rewriter, pooled)


def _carried(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    base = _carried_base(rewriter, call.args[0])
    if base is None:
        return None
    if op_name(call) == "nn.pad":
        width = [int(size) for size in call.attrs["pad_width"]]
        moved = [size for axis in TO_LAST for size in width[2 * axis : 2 * axis + 2]]
        if len(call.args) > 1:
            return _first(rewriter, relax.op.nn.pad(base, moved, call.attrs["pad_mode"], call.args[1]))
        return None
    return _first(rewriter, relax.Call(call.op, [base], call.attrs))


def _binary(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    if not any(_carried_base(rewriter, side) is not None for side in call.args):
        return None
    sides = []
    for argument in call.args:
        side, shape, value = argument, shape_of(argument), constant_value(argument)
        if shape is None:
            return None
        if value is not None and len(shape) < 4:
            shape = () if value.size == 1 else (1,) * (4 - len(shape)) + shape
            side = constant(value.reshape(shape))
        if len(shape) != 4 and int(np.prod(shape)) != 1:
            return None
        sides.append(_last(rewriter, side) if len(shape) == 4 else side)
    return _first(rewriter, relax.Call(call.op, sides, call.attrs))


def _reduction(rewriter: Rewriter, call: Any) -> Any:
    """A reduction that keeps its axes, or removes exactly the two of the image."""
    from tvm import relax

    base = _carried_base(rewriter, call.args[0])
    axes, keeps = call.attrs["axis"], bool(call.attrs["keepdims"])
    if base is None or axes is None:
        return None
    positive = sorted(int(axis) % 4 for axis in axes)
    reduce = getattr(relax.op, op_name(call))
    moved = [TO_LAST.index(axis) for axis in positive]
    if keeps:
        return _first(rewriter, reduce(base, moved, keepdims=True))
    return reduce(base, moved) if positive == [2, 3] else None


def _concatenation(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    parts = call.args[0]
    if not isinstance(parts, relax.Tuple) or call.attrs["axis"] is None:
        return None
    bases = [_carried_base(rewriter, part) for part in parts.fields]
    if any(base is None for base in bases):
        return None
    return _first(rewriter, relax.op.concat(bases, TO_LAST.index(int(call.attrs["axis"]) % 4)))


def _permuted(rewriter: Rewriter, call: Any) -> Any:
    base = _carried_base(rewriter, call.args[0])
    return base if base is not None and _axes(call) == TO_LAST else None

"""Reshapes are views: they cost nothing at run time, as long as they do not stand between operators that could be one.

This walk turns what only regroups a tensor's elements (`expand_dims`, `squeeze`, a permutation of axes of size 1)
into `reshape`, merges reshapes, and moves each behind the elementwise and row-wise operators that follow it. A product
over the last axis and a 1×1 convolution become a product of two matrices, with all other axes as its rows: the shape
that the schedules know best. What is left of a transformer encoder or of MobileNetV2 are chains of matrices, which
`FuseOps` fuses. A reduction over all axes from some one on becomes one over rows.
"""

from __future__ import annotations

from math import prod
from typing import Any

from edgekit.convert.tvm.graph import Rewriter, constant, constant_value, op_name, shape_of
from edgekit.convert.tvm.simplify import fold

UNARY = {
    "abs", "astype", "cos", "erf", "exp", "floor", "log", "logical_not", "negative", "nn.gelu", "nn.gelu_tanh",
    "nn.leakyrelu", "nn.relu", "nn.selu", "nn.silu", "nn.softplus", "round", "rsqrt", "sigmoid", "sin", "sqrt",
    "square", "tanh",
}  # fmt: skip
BINARY = {"add", "divide", "maximum", "minimum", "multiply", "power", "subtract"}
_REDUCTIONS = {"max", "mean", "min", "sum"}
_REGROUPINGS = {"expand_dims", "flatten", "reshape", "squeeze"}


def sink_views(module: Any) -> Any:
    """The module with its reshapes merged and moved behind what follows them."""
    return Rewriter(_rule).run(module)


def _rule(rewriter: Rewriter, call: Any) -> Any:
    name = op_name(call)
    shape = shape_of(call)
    if shape is None:
        return None
    folded = fold(call)
    if folded is not None:
        return folded
    if name in _REGROUPINGS or (name == "permute_dims" and _moves_only_units(call)):
        return _reshaped(rewriter, call.args[0], shape)
    if name == "broadcast_to" and shape_of(call.args[0]) == shape:
        return call.args[0]
    if name in UNARY:
        return _sunk(rewriter, call, shape, [])
    if name in BINARY:
        return _binary(rewriter, call, shape)
    if name == "nn.softmax" and int(call.attrs["axis"]) in (-1, len(shape) - 1):
        return _softmax(rewriter, call, shape)
    if name == "nn.layer_norm" and [int(axis) % len(shape) for axis in call.attrs["axes"]] == [len(shape) - 1]:
        return _layer_norm(rewriter, call, shape)
    if name in _REDUCTIONS:
        return _reduction(rewriter, call, shape)
    if name == "matmul":
        return _matmul(rewriter, call, shape)
    if name == "nn.conv2d":
        return _pointwise(rewriter, call, shape)
    return None


def _base(rewriter: Rewriter, x: Any) -> Any:
    """What `x` is a view of; `x` itself if it is none."""
    producer = rewriter.producer(x)
    return producer.args[0] if op_name(producer) == "reshape" else x


def _reshaped(rewriter: Rewriter, x: Any, shape: tuple[int, ...]) -> Any:
    from tvm import relax

    value = constant_value(x)
    if value is not None:
        return constant(value.reshape(shape))
    x = _base(rewriter, x)
    return x if shape_of(x) == shape else rewriter.emit(relax.op.reshape(x, shape))


def _moves_only_units(call: Any) -> bool:
    shape, axes = shape_of(call.args[0]), call.attrs["axes"]
    if shape is None or axes is None:
        return False
    kept = [int(axis) for axis in axes if shape[int(axis)] != 1]
    return kept == sorted(kept)


def _sunk(rewriter: Rewriter, call: Any, shape: tuple[int, ...], others: list[Any]) -> Any:
    """The call over what its first argument is a view of, viewed afterwards."""
    from tvm import relax

    base = _base(rewriter, call.args[0])
    if base is call.args[0]:
        return None
    return _reshaped(rewriter, rewriter.emit(relax.Call(call.op, [base, *others], call.attrs)), shape)


def _keeps_last(base: Any, shape: tuple[int, ...]) -> bool:
    inner = shape_of(base)
    return bool(inner) and bool(shape) and inner is not None and inner[-1] == shape[-1]


def _binary(rewriter: Rewriter, call: Any, shape: tuple[int, ...]) -> Any:
    """A binary operator where one side is a view of the whole shape.

    The other side may have the whole shape too, or be constant in all axes but the last.
    """
    from tvm import relax

    for mine in (0, 1):
        x, other = call.args[mine], call.args[1 - mine]
        base, beside = _base(rewriter, x), shape_of(other)
        inner = shape_of(base)
        if base is x or shape_of(x) != shape or beside is None or inner is None:
            continue
        if beside == shape:
            other = _reshaped(rewriter, other, inner)
        elif prod(beside) == 1:
            other = _reshaped(rewriter, other, ())
        elif prod(beside) == beside[-1] and beside[-1] == inner[-1] == shape[-1]:
            other = _reshaped(rewriter, other, (beside[-1],))
        else:
            continue
        sides = [base, other] if mine == 0 else [other, base]
        return _reshaped(rewriter, rewriter.emit(relax.Call(call.op, sides, call.attrs)), shape)
    return None


def _softmax(rewriter: Rewriter, call: Any, shape: tuple[int, ...]) -> Any:
    from tvm import relax

    base = _base(rewriter, call.args[0])
    if base is call.args[0] or not _keeps_last(base, shape):
        return None
    return _reshaped(rewriter, rewriter.emit(relax.op.nn.softmax(base, axis=-1)), shape)


def _layer_norm(rewriter: Rewriter, call: Any, shape: tuple[int, ...]) -> Any:
    from tvm import relax

    x, gamma, beta = call.args
    rows = _reshaped(rewriter, x, (prod(shape[:-1]), shape[-1]))
    if rows is x:
        return None
    attributes = {name: call.attrs[name] for name in ("epsilon", "center", "scale")}
    return _reshaped(rewriter, rewriter.emit(relax.op.nn.layer_norm(rows, gamma, beta, axes=[-1], **attributes)), shape)


def _reduction(rewriter: Rewriter, call: Any, shape: tuple[int, ...]) -> Any:
    """A reduction over the last axes together is one over rows."""
    from tvm import relax

    inner = shape_of(call.args[0])
    if inner is None:
        return None
    axes = range(len(inner)) if call.attrs["axis"] is None else sorted(int(a) % len(inner) for a in call.attrs["axis"])
    kept = len(inner) - len(axes)
    if list(axes) != list(range(kept, len(inner))) or len(inner) == 2:
        return None
    rows = _reshaped(rewriter, call.args[0], (prod(inner[:kept]), prod(inner[kept:])))
    return _reshaped(rewriter, rewriter.emit(getattr(relax.op, op_name(call))(rows, [1])), shape)


def _matmul(rewriter: Rewriter, call: Any, shape: tuple[int, ...]) -> Any:
    """`(…, m, k) × (k, n)` as one product of matrices; `(…, m, k) × (…, k, n)` with one axis of batches."""
    from tvm import relax

    a, b = call.args
    left, right = shape_of(a), shape_of(b)
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return None
    flat_a: tuple[int, ...]
    if prod(right[:-2]) == 1:
        flat_a, flat_b = (prod(left[:-1]), left[-1]), right[-2:]
    elif left[:-2] == right[:-2]:
        flat_a, flat_b = (prod(left[:-2]), *left[-2:]), (prod(right[:-2]), *right[-2:])
    else:
        return None
    if flat_a == left and flat_b == right:
        return None
    product = relax.op.matmul(_reshaped(rewriter, a, flat_a), _reshaped(rewriter, b, flat_b))
    return _reshaped(rewriter, rewriter.emit(product), shape)


def _pointwise(rewriter: Rewriter, call: Any, shape: tuple[int, ...]) -> Any:
    """A 1×1 convolution over channels-last data is a matrix product with the pixels as its rows."""
    from tvm import relax

    x, weight = call.args
    kernel = constant_value(weight)
    given = call.attrs
    plain = (
        kernel is not None
        and kernel.shape[:2] == (1, 1)
        and given["data_layout"] == "NHWC"
        and given["kernel_layout"] == "HWIO"
        and int(given["groups"]) == 1
        and all(int(step) == 1 for step in given["strides"])
        and not any(int(size) for size in given["padding"])
    )
    if not plain or kernel is None:
        return None
    rows = _reshaped(rewriter, x, (prod(shape[:-1]), kernel.shape[2]))
    product = relax.op.matmul(rows, constant(kernel.reshape(kernel.shape[2:])))
    return _reshaped(rewriter, rewriter.emit(product), shape)

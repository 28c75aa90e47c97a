"""Taking a model's graph to fewer and plainer operators before anything is scheduled.

- What can be computed now is: an operator over constants becomes a constant, with numpy. (TVM's `FoldConstant` compiles
  a function for each: 27 s for MobileNetV2.)
- A batch normalisation after a convolution moves into its weights; any other becomes a multiplication and an addition.
- `clip` becomes `minimum(maximum())`, arithmetic like any other to the walks that follow.
- A `take` of one constant index becomes a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.tvm.graph import Rewriter, constant, constant_value, dtype_of, op_name, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

CONVOLUTIONS = {"nn.conv1d": "OIW", "nn.conv2d": "OIHW"}

_FOLDS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "power": np.power,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: (1 / np.sqrt(x)).astype(x.dtype),
    "negative": np.negative,
    "exp": np.exp,
}
_RESHAPES = ("reshape", "expand_dims", "squeeze", "flatten")


def simplify(module: Any) -> Any:
    """The module with the rewrites of this page applied."""
    return Rewriter(_rule).run(module)


def fold(call: Any) -> Any:
    """The value of a call over constants as a constant; None if it has others or is not known here."""
    from tvm import relax

    name = op_name(call)
    if not call.args or constant_value(call.args[0]) is None:
        return None
    first = constant_value(call.args[0])
    assert first is not None
    if name in _RESHAPES and (shape := shape_of(call)) is not None:
        return constant(first.reshape(shape))
    if name == "permute_dims":
        axes = call.attrs["axes"]
        return constant(np.transpose(first, None if axes is None else [int(axis) for axis in axes]))
    if name == "broadcast_to" and (shape := shape_of(call)) is not None:
        return constant(np.broadcast_to(first, shape))
    if name == "astype":
        return constant(first.astype(dtype_of(call)))
    values = [constant_value(argument) for argument in call.args]
    if name in _FOLDS and all(value is not None for value in values) and not isinstance(call.ty, relax.TupleType):
        return constant(np.asarray(_FOLDS[name](*values), dtype=dtype_of(call)))
    return None


def _rule(rewriter: Rewriter, call: Any) -> Any:
    folded = fold(call)
    if folded is not None:
        return folded
    name = op_name(call)
    if name == "nn.batch_norm":
        return _batch_norm(rewriter, call)
    if name == "clip":
        return _clip(rewriter, call)
    if name == "take":
        return _take(rewriter, call)
    return None


def _number(value: Any) -> float:
    value = getattr(value, "value", value)
    return float(getattr(value, "value", value))


def _clip(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    x, low, high = call.args
    dtype = dtype_of(x)
    if not dtype.startswith("float"):
        return None
    if _number(low) > -np.finfo(dtype).max:
        x = rewriter.emit(relax.op.maximum(x, constant(np.array(_number(low), dtype))))
    if _number(high) < np.finfo(dtype).max:
        x = rewriter.emit(relax.op.minimum(x, constant(np.array(_number(high), dtype))))
    return x


def _batch_norm(rewriter: Rewriter, call: Any) -> Any:
    """Inference: `scale * x + shift` with `scale = gamma / sqrt(variance + epsilon)`, per channel."""
    from tvm import relax

    x, *parameters = call.args
    gamma, beta, mean, variance = (constant_value(parameter) for parameter in parameters[:4])
    if gamma is None or beta is None or mean is None or variance is None or call.attrs["training"]:
        return None
    scale = (gamma / np.sqrt(variance + call.attrs["epsilon"])).astype(gamma.dtype)
    shift = (beta - mean * scale).astype(gamma.dtype)
    shape = shape_of(x)
    if shape is None:
        return None
    axis = int(call.attrs["axis"])
    along = tuple(-1 if k == axis else 1 for k in range(len(shape)))
    producer = rewriter.producer(x)
    weight = constant_value(producer.args[1]) if op_name(producer) in CONVOLUTIONS else None
    if weight is not None and producer.attrs["kernel_layout"] == CONVOLUTIONS[op_name(producer)] and axis == 1:
        folded = constant((weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype))
        y = rewriter.emit(relax.Call(producer.op, [producer.args[0], folded], producer.attrs))
    else:
        y = rewriter.emit(relax.op.multiply(x, constant(scale.reshape(along))))
    y = rewriter.emit(relax.op.add(y, constant(shift.reshape(along))))
    return relax.Tuple([y, parameters[2], parameters[3]])


def _take(rewriter: Rewriter, call: Any) -> Any:
    from tvm import relax

    x, indices = call.args
    index = constant_value(indices)
    shape = shape_of(x)
    axis = call.attrs["axis"]
    if index is None or index.ndim != 0 or shape is None or axis is None:
        return None
    axis = int(axis) % len(shape)
    start = int(index) % shape[axis]
    part = rewriter.emit(relax.op.strided_slice(x, [axis], [start], [start + 1]))
    return relax.op.squeeze(part, [axis])

"""Every operator against ONNX Runtime, imported and traced by torch.export; variants where their meaning differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from edgekit.convert.onnx_to_torch.operators import OPERATORS
from tests.convert.onnx_to_torch.helpers import assert_same, one_node

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """One node: operator, inputs (None for one left out), attributes, which inputs are constant."""

    op: str
    inputs: tuple[np.ndarray | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    constant: tuple[int, ...] = ()
    outputs: int = 1
    opset: int = 20
    tolerance: float = 2e-5

    def __str__(self) -> str:
        told = [f"{k}={v}" for k, v in self.attributes.items() if not isinstance(v, bytes)]
        return "-".join([self.op, str(self.opset), *told]).replace(" ", "")


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).uniform(low, high, shape).astype(np.float32)


def ints(values: Any, dtype: str = "int64") -> np.ndarray:
    return np.array(values, dtype=dtype)


X = floats(2, 3, 4)
IMAGE = floats(1, 3, 8, 9)
POSITIVE = floats(2, 5, low=0.1, high=3.0)
UNIT = floats(2, 5, low=-0.9, high=0.9)
BOOLS = floats(2, 5) > 0
WHOLE = ints([[7, -7, 5], [-5, 9, 3]])
DIVISOR = ints([[2, 2, -3], [3, -4, 2]])

ONE_INPUT = [
    *(Case(op, (X,)) for op in ("Abs", "Atan", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Neg", "Sign", "Sin",
                                "Tanh", "Sigmoid", "Relu", "Softplus", "Softsign", "HardSwish", "Mish", "Round")),
    *(Case(op, (X,), tolerance=1e-4, opset=22) for op in ("Cosh", "Sinh", "Asinh", "Tan")),
    *(Case(op, (POSITIVE,)) for op in ("Log", "Reciprocal", "Sqrt")),
    *(Case(op, (UNIT,), tolerance=1e-4) for op in ("Acos", "Asin", "Atanh")),
    Case("Acosh", (POSITIVE + 1,)),
    Case("Not", (BOOLS,)),
    Case("BitwiseNot", (WHOLE,)),
    Case("IsNaN", (np.array([1.0, np.nan], dtype=np.float32),)),
    Case("IsInf", (np.array([1.0, np.inf, -np.inf], dtype=np.float32),)),
    Case("IsInf", (np.array([1.0, np.inf, -np.inf], dtype=np.float32),), {"detect_negative": 0}),
    Case("Elu", (X,), {"alpha": 0.5}),
    Case("Celu", (X,), {"alpha": 0.5}),
    Case("Selu", (X,)),
    Case("Gelu", (X,)),
    Case("Gelu", (X,), {"approximate": "tanh"}),
    Case("HardSigmoid", (X,), {"alpha": 0.3, "beta": 0.4}),
    Case("LeakyRelu", (X,), {"alpha": 0.2}),
    Case("ThresholdedRelu", (X,), {"alpha": 0.7}),
    Case("Shrink", (X,), {"lambd": 0.6, "bias": 0.1}),
    Case("Hardmax", (X,), {"axis": 1}),
    Case("Softmax", (X,), {"axis": 1}),
    Case("LogSoftmax", (X,)),
    Case("Cast", (X,), {"to": TensorProto.INT32}),
    Case("Cast", (WHOLE,), {"to": TensorProto.FLOAT}),
    Case("Dropout", (X,)),
    Case("Transpose", (X,), {"perm": [2, 0, 1]}),
    Case("Transpose", (X,)),
    Case("Flatten", (X,), {"axis": 2}),
    Case("DepthToSpace", (floats(1, 8, 2, 3),), {"blocksize": 2}),
    Case("DepthToSpace", (floats(1, 8, 2, 3),), {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", (floats(1, 2, 4, 6),), {"blocksize": 2}),
    Case("EyeLike", (X[0],), {"k": 1}),
    Case("Shape", (X,), {"start": 1}),
    Case("Size", (X,)),
    Case("Det", (floats(3, 3),), tolerance=1e-4),
    Case("GlobalAveragePool", (IMAGE,)),
    Case("GlobalMaxPool", (IMAGE,)),
    Case("GlobalLpPool", (IMAGE,), {"p": 2}),
    Case("LpNormalization", (X,), {"axis": 1, "p": 2}),
    Case("LRN", (floats(1, 7, 4, 4),), {"size": 5, "alpha": 0.1}),
    Case("DynamicQuantizeLinear", (X,), outputs=3),
]  # fmt: skip

SEVERAL_INPUTS = [
    *(Case(op, (X, floats(3, 1))) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")),
    *(Case(op, (X, X[::-1].copy())) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(Case(op, (BOOLS, ~BOOLS[:1])) for op in ("And", "Or", "Xor")),
    *(Case(op, (WHOLE, DIVISOR)) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Mod", "Equal")),
    Case("Mod", (WHOLE, DIVISOR), {"fmod": 1}),
    Case("Mod", (X, floats(1)), {"fmod": 1}),
    Case("BitShift", (ints([1, 2, 8], "uint8"), ints([1, 2, 3], "uint8")), {"direction": "LEFT"}),
    Case("BitShift", (ints([1, 2, 8], "uint8"), ints([1, 2, 3], "uint8")), {"direction": "RIGHT"}),
    Case("Pow", (POSITIVE, np.float32(2)), constant=(1,)),
    Case("Pow", (POSITIVE, floats(5))),
    Case("Pow", (WHOLE, np.float32(2)), constant=(1,)),
    Case("PRelu", (IMAGE, floats(3, 1, 1)), constant=(1,)),
    Case("Where", (BOOLS, floats(2, 5), floats(5))),
    Case("Clip", (X, np.float32(-0.5), np.float32(0.5)), constant=(1, 2)),
    Case("Clip", (X, None, np.float32(0.5)), constant=(2,)),
    Case("Clip", (X, np.float32(-0.5))),
    Case("CastLike", (X, WHOLE)),
    Case("Concat", (X, floats(2, 1, 4)), {"axis": -2}),
    Case("MatMul", (floats(2, 3, 4), floats(4, 5))),
    Case("MatMul", (floats(2, 3, 4), floats(4, 5)), constant=(1,)),
    Case("Gemm", (floats(3, 4), floats(4, 5), floats(5)), constant=(1, 2)),
    Case("Gemm", (floats(3, 4), floats(5, 4), floats(5)), {"transB": 1}, constant=(1, 2)),
    Case("Gemm", (floats(4, 3), floats(4, 5), floats(3, 1)), {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Einsum", (floats(2, 3, 4), floats(2, 4, 5)), {"equation": "bij, bjk -> bik"}),
    Case("MatMulInteger", (ints([[1, 200]], "uint8"), ints([[3], [-4]], "int8"), ints(7, "uint8"))),
    Case("QLinearMatMul", (ints([[1, 200]], "uint8"), np.float32(0.1), ints(7, "uint8"), ints([[30], [40]], "uint8"),
                           np.float32(0.2), ints(9, "uint8"), np.float32(0.7), ints(3, "uint8"))),
    Case("Dropout", (X, np.float32(0.5), np.array(False)), constant=(1, 2)),
]  # fmt: skip

SHAPES = [
    Case("Reshape", (X, ints([0, -1])), constant=(1,)),
    Case("Expand", (floats(3, 1), ints([2, 1, 4])), constant=(1,)),
    Case("Tile", (X, ints([1, 2, 2])), constant=(1,)),
    Case("Squeeze", (floats(1, 3, 1), ints([-1])), constant=(1,)),
    Case("Squeeze", (floats(1, 3, 1),)),
    Case("Unsqueeze", (X, ints([0, -1])), constant=(1,)),
    Case("Split", (X, ints([1, 3])), {"axis": 2}, constant=(1,), outputs=2),
    Case("Split", (floats(5, 2),), {"num_outputs": 2}, outputs=2),
    Case("Slice", (X, ints([1, 0]), ints([3, 100]), ints([1, 2]), ints([1, 2])), constant=(1, 2, 3, 4)),
    Case("Slice", (X, ints([-1]), ints([-100]), ints([2]), ints([-2])), constant=(1, 2, 3, 4)),
    Case("Slice", (X, ints([1]), ints([1]), ints([0])), constant=(1, 2, 3)),
    *(Case("Pad", (IMAGE, ints([0, 0, 1, 2, 0, 0, 3, 1])), {"mode": mode}, constant=(1,))
      for mode in ("constant", "reflect", "edge", "wrap")),
    Case("Pad", (IMAGE, ints([1, -2]), np.float32(7), ints([3])), constant=(1, 2, 3)),
    Case("Trilu", (floats(3, 4), ints(1)), constant=(1,)),
    Case("Trilu", (WHOLE,), {"upper": 0}),
    Case("ReverseSequence", (floats(4, 3), ints([1, 3, 4])), {"time_axis": 0, "batch_axis": 1}, constant=(1,)),
    Case("OneHot", (ints([0, -1, 5]), ints([4]), floats(2)), {"axis": 0}, constant=(1, 2)),
    Case("ConstantOfShape", (ints([2, 3]),), constant=(0,)),
    Case("Range", (np.float32(1), np.float32(2), np.float32(0.3)), constant=(0, 1, 2)),
    *(Case(op, (ints(6),), {"periodic": p}, constant=(0,)) for op in ("HannWindow", "HammingWindow", "BlackmanWindow")
      for p in (0, 1)),
]  # fmt: skip

INDICES = [
    Case("Gather", (X, ints([[0, -1], [2, 1]])), {"axis": 1}),
    Case("Gather", (X, ints(-1)), {"axis": 2}, constant=(1,)),
    Case("Gather", (floats(6, 4), ints([[5, 0, -2]]))),
    Case("Gather", (floats(6, 4), ints([[5, 0, -2]])), constant=(0,)),
    Case("GatherElements", (X, ints(np.full((2, 2, 4), -1))), {"axis": 1}),
    Case("GatherND", (X, ints([[[0], [2]], [[-1], [1]]])), {"batch_dims": 1}),
    Case("GatherND", (X, ints([[0, 1], [1, -1]]))),
    Case("ScatterElements", (X, ints([[[0, 2, 1, -1]]]), floats(1, 1, 4)), {"axis": 1}),
    Case("ScatterElements", (X, ints([[[0, 0, 1, 1]]]), floats(1, 1, 4)), {"axis": 1, "reduction": "add"}),
    Case("Scatter", (X, ints([[[0, 2, 1, -1]]]), floats(1, 1, 4)), {"axis": 1}, opset=10),
    Case("ScatterND", (X, ints([[0, 1], [1, -1]]), floats(2, 4))),
    Case("ScatterND", (X, ints([[0, 1], [0, 1]]), floats(2, 4)), {"reduction": "max"}),
    Case("Compress", (X, np.array([True, False, True])), {"axis": 1}, constant=(1,)),
    Case("ArgMax", (X,), {"axis": 1}),
    Case("ArgMax", (ints([[1, 3, 3]], "int32"),), {"axis": 1, "select_last_index": 1, "keepdims": 0}),
    Case("ArgMin", (X,), {"axis": -1}),
    Case("TopK", (X, ints([2])), {"axis": 1, "largest": 0}, constant=(1,), outputs=2),
    Case("TopK", (ints([[3, 1, 3, 2]]), ints([3])), constant=(1,), outputs=2),
    Case("CumSum", (X, ints(1)), {"exclusive": 1, "reverse": 1}, constant=(1,)),
    *(Case("GridSample", (IMAGE, floats(1, 4, 5, 2, low=-1.2, high=1.2)), {"mode": mode, "align_corners": corners},
           tolerance=1e-4)
      for mode in ("linear", "nearest", "cubic") for corners in (0, 1)),
]  # fmt: skip

REDUCTIONS = [
    *(Case(op, (POSITIVE, ints([1])), constant=(1,)) for op in (
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSum", "ReduceSumSquare")),
    Case("ReduceMean", (X, ints([0, -1])), {"keepdims": 0}, constant=(1,)),
    Case("ReduceSum", (X,), {"noop_with_empty_axes": 1}),
    Case("ReduceProd", (X,), {"keepdims": 0}),
    Case("ReduceMax", (WHOLE,)),
]  # fmt: skip

CONVOLUTIONS = [
    Case("Conv", (IMAGE, floats(4, 3, 3, 3), floats(4)), {"pads": [1, 1, 1, 1], "strides": [2, 1]}, constant=(1, 2)),
    Case("Conv", (IMAGE, floats(4, 3, 3, 3)), {"pads": [0, 1, 2, 0]}, constant=(1,)),
    Case("Conv", (IMAGE, floats(3, 1, 3, 3)), {"group": 3, "dilations": [2, 1]}, constant=(1,)),
    Case("Conv", (floats(1, 2, 9), floats(3, 2, 4)), {"auto_pad": "SAME_UPPER", "strides": [2]}, constant=(1,)),
    Case("Conv", (floats(1, 2, 9), floats(3, 2, 4)), {"auto_pad": "SAME_LOWER"}, constant=(1,)),
    Case("Conv", (floats(1, 2, 9), floats(3, 2, 4)), {"auto_pad": "VALID"}, constant=(1,)),
    Case("Conv", (floats(1, 2, 4, 5, 4), floats(3, 2, 2, 2, 2)), constant=(1,)),
    Case("ConvTranspose", (floats(1, 3, 4, 5), floats(3, 2, 3, 3), floats(2)),
         {"strides": [2, 2], "pads": [1, 1, 1, 1]}, constant=(1, 2)),
    Case("ConvTranspose", (floats(1, 3, 4, 5), floats(3, 2, 3, 3)), {"strides": [2, 2], "pads": [0, 1, 1, 0],
         "output_padding": [1, 1]}, constant=(1,)),
    Case("ConvTranspose", (floats(1, 3, 4, 5), floats(3, 2, 3, 3)), {"strides": [2, 2], "output_shape": [9, 12]},
         constant=(1,)),
    Case("ConvTranspose", (floats(1, 4, 5), floats(4, 1, 3)), {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2]},
         constant=(1,)),
    Case("ConvInteger", (ints(np.arange(16).reshape(1, 1, 4, 4), "uint8"),
                         ints(np.arange(9).reshape(1, 1, 3, 3), "uint8"), ints(5, "uint8")),
         {"pads": [1, 1, 1, 1]}, constant=(1,)),
    Case("QLinearConv", (ints(np.arange(16).reshape(1, 1, 4, 4), "uint8"), np.float32(0.1), ints(3, "uint8"),
                         ints(np.arange(9).reshape(1, 1, 3, 3) - 4, "int8"), np.float32([0.2]), ints([0], "int8"),
                         np.float32(0.5), ints(9, "uint8"), ints([11], "int32")), constant=tuple(range(1, 9))),
]  # fmt: skip

POOLS = [
    Case("MaxPool", (IMAGE,), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
    Case("MaxPool", (IMAGE,), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", (IMAGE,), {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0], "dilations": [2, 1]}),
    Case("MaxPool", (IMAGE,), {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("MaxPool", (ints(np.arange(16).reshape(1, 1, 4, 4), "uint8"),), {"kernel_shape": [2, 2]}),
    *(Case("AveragePool", (IMAGE,), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": pads, "ceil_mode": ceil,
                                     "count_include_pad": include})
      for pads in ([1, 1, 1, 1], [0, 1, 1, 0]) for ceil in (0, 1) for include in (0, 1)),
    Case("AveragePool", (floats(1, 2, 9),), {"kernel_shape": [2], "dilations": [2]}),
    Case("LpPool", (IMAGE,), {"kernel_shape": [2, 2], "strides": [2, 2], "p": 2}),
]  # fmt: skip

NORMALISATIONS = [
    Case("BatchNormalization", (IMAGE, floats(3), floats(3), floats(3), floats(3, low=0.5)), constant=(1, 2, 3, 4)),
    Case("InstanceNormalization", (IMAGE, floats(3), floats(3)), constant=(1, 2)),
    Case("LayerNormalization", (X, floats(4), floats(4)), constant=(1, 2)),
    Case("LayerNormalization", (X, floats(3, 4)), {"axis": 1}, constant=(1,), outputs=3),
    Case("GroupNormalization", (floats(1, 4, 3, 3), floats(4), floats(4)), {"num_groups": 2}, (1, 2), opset=21),
    Case("QuantizeLinear", (X, np.float32(0.1), ints(3, "int8")), constant=(1, 2)),
    Case("QuantizeLinear", (X, floats(3, low=0.1), ints([1, 2, 3], "uint8")), {"axis": 1}, constant=(1, 2)),
    Case("DequantizeLinear", (ints([[1, 255]], "uint8"), np.float32([0.1, 0.2]), ints([3, 4], "uint8")), {"axis": 1}),
]  # fmt: skip


def recurrent(op: str, gates: int, **attributes: Any) -> Case:
    """Five steps, two sequences, three features, four hidden."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    inputs = (
        floats(5, 2, 3),
        floats(directions, gates * 4, 3) / 2,
        floats(directions, gates * 4, 4) / 2,
        floats(directions, 2 * gates * 4) / 2,
        None,
        floats(directions, 2, 4),
    )
    return Case(op, inputs, {"hidden_size": 4, **attributes}, (1, 2, 3), 3 if op == "LSTM" else 2, tolerance=1e-4)


RECURRENT = [
    recurrent("LSTM", 4),
    recurrent("LSTM", 4, direction="reverse"),
    recurrent("LSTM", 4, direction="bidirectional"),
    recurrent("GRU", 3),
    recurrent("GRU", 3, linear_before_reset=1, direction="bidirectional"),
    recurrent("RNN", 1, activations=["Relu"]),
]

RESIZES = [
    *(Case("Resize", (IMAGE, None, np.float32([1, 1, 2, 2])),
           {"mode": mode, "coordinate_transformation_mode": transform, **more}, constant=(2,), tolerance=1e-4)
      for mode, more in (("nearest", {"nearest_mode": "floor"}), ("nearest", {}), ("linear", {}), ("cubic", {}))
      for transform in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")),
    Case("Resize", (IMAGE, None, None, ints([1, 3, 5, 4])), {"mode": "linear"}, constant=(3,), tolerance=1e-4),
    Case("Resize", (IMAGE, None, None, ints([5, 4])), {"mode": "linear", "antialias": 1, "axes": [2, 3]}, constant=(3,),
         tolerance=1e-4),
    Case("Resize", (IMAGE, None, np.float32([1, 1, 0.6, 0.6])), {"mode": "cubic", "exclude_outside": 1}, constant=(2,),
         tolerance=1e-4),
    Case("Resize", (IMAGE, np.float32([0, 0, 0.2, 0.1, 1, 1, 0.9, 1.2]), None, ints([1, 3, 6, 6])),
         {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear", "extrapolation_value": 3.0},
         constant=(1, 3), tolerance=1e-4),
    Case("Resize", (IMAGE, np.float32([1, 1, 2, 3])), {"mode": "nearest"}, constant=(1,), opset=10),
    Case("Upsample", (IMAGE, np.float32([1, 1, 2, 3])), {"mode": "nearest"}, constant=(1,), opset=9),
    Case("Upsample", (IMAGE,), {"mode": "linear", "scales": [1.0, 1.0, 2.0, 2.0]}, opset=7, tolerance=1e-4),
]  # fmt: skip

EARLIER_OPSETS = [
    *(Case("Softmax", (X,), {"axis": axis}, opset=opset) for axis in (1, 2) for opset in (11, 13)),
    Case("LogSoftmax", (X,), {"axis": 0}, opset=11),
    Case("Clip", (X,), {"min": -0.5, "max": 0.5}, opset=7),
    Case("Squeeze", (floats(1, 3, 1),), {"axes": [0]}, opset=11),
    Case("Unsqueeze", (X,), {"axes": [0, 2]}, opset=11),
    Case("Split", (X,), {"axis": 2, "split": [1, 3]}, outputs=2, opset=11),
    Case("Slice", (X,), {"axes": [1, 2], "starts": [1, 0], "ends": [3, -1]}, opset=9),
    Case("Pad", (IMAGE,), {"pads": [0, 0, 1, 2, 0, 0, 3, 1], "value": 2.0}, opset=10),
    Case("ReduceSum", (X,), {"axes": [1], "keepdims": 0}, opset=11),
    Case("ReduceMean", (X,), {"axes": [1]}, opset=17),
    Case("TopK", (X,), {"axis": 1, "k": 2}, outputs=2, opset=9),
    Case("BatchNormalization", (IMAGE, floats(3), floats(3), floats(3), floats(3, low=0.5)), {}, (1, 2, 3, 4), opset=7),
    Case("Dropout", (X,), {"ratio": 0.5}, opset=10),
    Case("Cast", (X,), {"to": TensorProto.DOUBLE}, opset=9),
]

CASES = [*ONE_INPUT, *SEVERAL_INPUTS, *SHAPES, *INDICES, *REDUCTIONS, *CONVOLUTIONS, *POOLS, *NORMALISATIONS,
         *RECURRENT, *RESIZES, *EARLIER_OPSETS]  # fmt: skip

NOT_IN_ONNX_RUNTIME = {
    # judged by the ONNX library's own reference data in test_conformance.py
    "Attention", "CumProd", "RMSNormalization", "Swish", "TensorScatter", "Constant",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_in_onnx_runtime(case: Case) -> None:
    made = one_node(
        case.op, case.inputs, case.attributes, constant=case.constant, outputs=case.outputs, opset=case.opset
    )
    given = {
        f"x{i}": np.asarray(array)
        for i, array in enumerate(case.inputs)
        if array is not None and i not in case.constant
    }
    assert_same(made, given, case.tolerance)


def test_every_operator_is_tested() -> None:
    assert {case.op for case in CASES} | NOT_IN_ONNX_RUNTIME == set(OPERATORS)

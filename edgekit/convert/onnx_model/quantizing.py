"""int8 with ONNX Runtime's quantizers: static (QDQ, calibrated) and dynamic; and which nodes belong to one layer.

Static quantization puts QuantizeLinear and DequantizeLinear around the operators that ONNX Runtime has integer kernels
for; weights are int8 per channel and symmetric, activations int8 per tensor over the smallest and largest value of all
calibration samples. Normalisations, softmax and other functions stay in float32: they have no integer kernels, or only
ones that cost more accuracy than time.

On x86 without VNNI the kernels add pairs of products of 8 bits in 16 bits, which saturates. So weights are quantized
to 7 bits (`reduce_range`) unless the option says otherwise; that costs 1 to 3 dB (static) or 3 to 6 dB (dynamic), and
is right on every CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

ANCHORS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather")
"""Operators that a layer is named after, if they have constant weights; MatMul also without."""
STATIC = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "MaxPool",
    "AveragePool", "GlobalAveragePool", "Concat", "Split", "Pad", "Resize", "Reshape", "Transpose", "Squeeze",
    "Unsqueeze", "Flatten", "Gather", "Where",
)  # fmt: skip
DYNAMIC = ("MatMul", "Gather")
"""The quantizer turns a Gemm into a MatMul first."""


def layers(model: Any, precision: str) -> dict[str, tuple[str, ...]]:
    """By layer, the names of all nodes that belong to it.

    A layer is a node with weights (or a product of matrices) and, for static quantization, what follows it up to the
    next one: activation, pool, addition. What comes before the first belongs to the first.
    """
    from edgekit.convert.onnx_model.weights import weight_axes

    weighted = weight_axes(model)
    anchors = [
        node.name
        for node in model.graph.node
        if node.name in weighted or (node.op_type == "MatMul" and precision in ("int8", "float16"))
    ]
    if precision not in ("int8", "float16"):
        return {name: (name,) for name in anchors}
    groups: dict[str, list[str]] = {name: [] for name in anchors}
    owner: dict[str, str] = {}
    latest = anchors[0] if anchors else ""
    order = {name: i for i, name in enumerate(anchors)}
    for node in model.graph.node:
        if node.name in groups:
            mine = latest = node.name
        else:
            mine = max((owner[name] for name in node.input if name in owner), key=order.__getitem__, default=latest)
        if mine:
            groups[mine].append(node.name)
            owner.update(dict.fromkeys(node.output, mine))
    return {name: tuple(nodes) for name, nodes in groups.items()}


def to_static_int8(
    source: Path, payload: Path, calibration: Mapping[str, np.ndarray], keep: Collection[str], *, reduce_range: bool
) -> None:
    """Quantizes weights and activations.

    Args:
        source: the float32 model, its constants folded.
        payload: the file to write.
        calibration: by graph input, `(n, *shape)`.
        keep: names of nodes that stay in float32.
        reduce_range: weights in 7 bits.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        str(source),
        str(payload),
        _reader(calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(STATIC),
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=sorted(keep),
        calibrate_method=CalibrationMethod.MinMax,
        calibration_providers=["CPUExecutionProvider"],
        extra_options={"CalibMovingAverage": False},  # a mean of ranges would clip, and depend on the order
    )


def to_dynamic_int8(
    source: Path, payload: Path, keep: Iterable[str], *, reduce_range: bool, convolutions: bool
) -> None:
    """Quantizes the weights of products of matrices and embeddings; activations are quantized while running.

    Args:
        source, payload, keep, reduce_range: as in `to_static_int8`.
        convolutions: those as well, as ConvInteger, which knows unsigned weights only.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(source),
        str(payload),
        op_types_to_quantize=[*DYNAMIC, *(["Conv"] if convolutions else [])],
        per_channel=True,
        reduce_range=reduce_range,
        weight_type=QuantType.QUInt8 if convolutions else QuantType.QInt8,
        nodes_to_exclude=sorted(keep),
        extra_options={"MatMulConstBOnly": True},
    )


def refuse_quantized(model: Any) -> None:
    """Refuses a second quantization: it would be one of the first one's simulation.

    Raises:
        RefusedError: the model is quantized already.
    """
    found = [node.name for node in model.graph.node if node.op_type in _QUANTIZED]
    if found:
        raise RefusedError(
            f"The model is quantized already: it holds {len(found)} quantizing nodes ({', '.join(found[:3])}).",
            remedy="Take its float32 original.",
        )


_QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


def _reader(calibration: Mapping[str, np.ndarray]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        """One sample after the other."""

        def __init__(self) -> None:
            self._samples = iter(_samples(calibration))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._samples, None)

    return Reader()


def _samples(calibration: Mapping[str, np.ndarray]) -> Sequence[dict[str, np.ndarray]]:
    count = len(next(iter(calibration.values())))
    return [{name: array[k] for name, array in calibration.items()} for k in range(count)]

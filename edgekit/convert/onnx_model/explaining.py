"""What ONNX Runtime makes of a model: which operators it fuses, which run on integers, which between dequantize and
quantize.

Read from the graph that ONNX Runtime itself writes after its optimisations, except those that lay data out for one CPU.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.convert.formats.base import Explanation, Operator

if TYPE_CHECKING:
    from collections.abc import Iterable

INTEGER = "integer kernel"
SIMULATED = "float32 kernel, between dequantize and quantize"
DEQUANTIZED = "float32 kernel, weights dequantized first"
FUSED = "fused kernel of ONNX Runtime"
PLAIN = "CPU kernel"
CONVERSION = "conversion"

_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
_INTEGERS = ("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
_MOVING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Slice", "Split", "Concat", "Identity")


def explain(payload: Path) -> Explanation:
    """How ONNX Runtime executes a file on the CPU."""
    import onnx

    from edgekit.convert.onnx_model.running import session

    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        session(payload, optimise="all", save_as=optimised)
        model = onnx.load(optimised)
    counts = Counter((node.op_type, runs) for node, runs in classify(model))
    operators = tuple(
        Operator(name, count, runs, _advice(name, runs)) for (name, runs), count in sorted(counts.items(), key=_order)
    )
    return Explanation(
        operators=operators,
        partitions=None,
        because="ONNX Runtime's CPU provider takes the whole graph: there is no delegate",
        advice=_overall(counts),
    )


def classify(model: Any) -> Iterable[tuple[Any, str]]:
    """Every node with how it runs."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        yield node, _runs(node, makers, readers, constants)


def _runs(node: Any, makers: dict[str, Any], readers: dict[str, list[Any]], constants: set[str]) -> str:
    if node.op_type in _CONVERSIONS:
        return CONVERSION
    if node.op_type.startswith(("QLinear", "QGemm", "QAttention")) or node.op_type in _INTEGERS:
        return INTEGER
    dequantized = [makers[name] for name in node.input if name in makers and makers[name].op_type == "DequantizeLinear"]
    if dequantized:
        of_weights = all(maker.input[0] in constants for maker in dequantized)
        quantizes = any(reader.op_type == "QuantizeLinear" for name in node.output for reader in readers.get(name, []))
        if of_weights:
            return DEQUANTIZED
        if quantizes or node.op_type not in _MOVING:
            return SIMULATED
    return PLAIN if node.domain in ("", "ai.onnx") else FUSED


def _order(item: tuple[tuple[str, str], int]) -> tuple[int, str]:
    return -item[1], item[0][0]


def _advice(name: str, runs: str) -> str:
    if runs == SIMULATED and name == "BatchNormalization":
        return "no integer kernel: right after its convolution, before the activation, it would be merged into that"
    if runs == SIMULATED:
        return "no integer kernel: costs a conversion on either side"
    if name == "ConvInteger":
        return "slow on CPUs: int8 is faster, and float32 convolutions often are, too"
    return ""


def _overall(counts: Counter[tuple[str, str]]) -> tuple[str, ...]:
    advice = []
    casts = sum(count for (name, _), count in counts.items() if name == "Cast")
    if casts > _CASTS_OF_INPUTS_AND_OUTPUTS:
        told = f"{casts} casts: where this CPU has no float16 kernel, ONNX Runtime computes in float32 and casts around"
        advice.append(f"{told} it; float16 then saves space, not time.")
    if counts[("QuantizeLinear", CONVERSION)] == 0 and any(runs == DEQUANTIZED for _, runs in counts):
        told = "Weights are dequantized in every run. The session option session.disable_quant_qdq=1 has it done once,"
        advice.append(f"{told} when the model is loaded, for the time and the memory of float32.")
    return tuple(advice)


_CASTS_OF_INPUTS_AND_OUTPUTS = 4

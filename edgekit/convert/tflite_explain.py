"""How LiteRT will execute a `.tflite` file: which operators XNNPACK takes, in how many pieces, as LiteRT itself tells.

An interpreter that has allocated the model lists its nodes, and one more of the kind DELEGATE for each piece that
XNNPACK took over. A piece is what lies between such a node's inputs and outputs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgekit.convert.formats.base import Explanation, Operator
from edgekit.convert.tflite_file import FlatBuffer

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.convert.tflite_file import Tensor

XNNPACK, OWN = "XNNPACK", "LiteRT kernel"
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


def explain(path: Path) -> Explanation:
    """Reads and loads the file at `path`."""
    from ai_edge_litert.interpreter import Interpreter

    file = FlatBuffer.read(path)
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()  # noqa: SLF001 - LiteRT tells it nowhere else
    pieces = [node for node in nodes if node["op_name"] == "DELEGATE"]
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    taken = {index for piece in pieces for index in _between(piece, own)}
    counts: Counter[tuple[str, str, str]] = Counter()
    for node in own:
        runs = XNNPACK if node["index"] in taken else OWN
        counts[node["op_name"], runs, "" if runs == XNNPACK else _advice(node, file)] += 1
    operators = tuple(
        Operator(name, count, runs, advice)
        for (name, runs, advice), count in sorted(counts.items(), key=lambda item: (item[0][1] == XNNPACK, item[0][0]))
    )
    outside = sum(operator.count for operator in operators if operator.runs != XNNPACK)
    return Explanation(
        operators,
        partitions=len(pieces),
        because="" if pieces else "XNNPACK takes none of its operators",
        advice=_overall(len(pieces), outside, file),
    )


def _between(piece: dict[str, Any], nodes: list[dict[str, Any]]) -> set[int]:
    """The nodes that compute the piece's outputs from its inputs."""
    by_output = {int(index): node for node in nodes for index in node["outputs"]}
    known = {int(index) for index in piece["inputs"]}
    waiting, found = [int(index) for index in piece["outputs"]], set()
    while waiting:
        index = waiting.pop()
        node = by_output.get(index)
        if index in known or node is None:
            continue
        known.add(index)
        found.add(int(node["index"]))
        waiting.extend(int(i) for i in node["inputs"])
    return found


def _advice(node: dict[str, Any], file: FlatBuffer) -> str:
    def tensors(side: str) -> list[Tensor]:
        return [file.tensors[int(i)] for i in node[side] if 0 <= int(i) < len(file.tensors)]

    inputs, outputs, kind = tensors("inputs"), tensors("outputs"), node["op_name"]
    if kind in _CONVOLUTIONS and any(tensor.dtype == "int16" for tensor in (*inputs, *outputs)):
        return "int16 activations have reference kernels only, without SIMD: take int8 unless the device has its own"
    if kind == "DEQUANTIZE" and inputs and inputs[0].dtype == "int4":
        return "unpacks its 4-bit weights in every inference: weight-int8 is faster"
    hybrid = len(inputs) > 1 and inputs[0].dtype == "float32" and inputs[1].dtype == "int8"
    if hybrid and kind in _CONVOLUTIONS:
        return "quantizes its input in every inference: int8 or weight-int8 is faster for convolutions"
    return ""


def _overall(pieces: int, outside: int, file: FlatBuffer) -> tuple[str, ...]:
    advice = []
    if pieces > 1:
        advice.append(
            f"XNNPACK takes the graph in {pieces} pieces: each border copies tensors; replace the {outside} operators "
            "that it leaves out, if they can be."
        )
    if file.custom:
        advice.append(f"The operators {', '.join(file.custom)} are custom ones: a device needs their kernels.")
    return tuple(advice)

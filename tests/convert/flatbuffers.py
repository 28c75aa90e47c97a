"""A small `.tflite` written without a converter, for tests of the chain itself.

Where a test asks how the chain plans, runs, bounds, shares, publishes or fails, any source will do, and this one needs
neither torch nor TensorFlow: a conversion takes a second of CPU time, where litert-torch's import alone takes nine.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (16, 32, 4)
"""Inputs, hidden values and outputs of the network."""
INPUT, OUTPUT = "x", "output"


def weights(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """By layer, the matrix `(outputs, inputs)` and the bias."""
    random = np.random.default_rng(seed)
    return [
        (random.standard_normal((b, a)).astype("float32") / np.float32(a**0.5), random.random(b, "float32"))
        for a, b in pairwise(SIZES)
    ]


def write_dense(path: Path, seed: int = 0) -> Path:
    """Two dense layers with a ReLU between: `x`, float32[1, 16], to `output`, float32[1, 4]."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: tuple[int, ...], content: np.ndarray | None = None) -> int:
        made, buffer = schema.TensorT(), schema.BufferT()
        made.name, made.shape, made.type = name, list(shape), schema.TensorType.FLOAT32
        if content is not None:
            buffer.data = np.frombuffer(content.tobytes(), np.uint8)
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    values = [tensor(INPUT, (1, SIZES[0]))]
    for i, (matrix, bias) in enumerate(weights(seed)):
        last = i == len(SIZES) - 2
        options, operator = schema.FullyConnectedOptionsT(), schema.OperatorT()
        functions = schema.ActivationFunctionType
        options.fusedActivationFunction = functions.NONE if last else functions.RELU
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
        operator.inputs = [
            values[-1], tensor(f"layer{i}/weights", matrix.shape, matrix), tensor(f"layer{i}/bias", bias.shape, bias)
        ]  # fmt: skip
        values.append(tensor(OUTPUT if last else f"hidden{i}", (1, len(bias))))
        operator.outputs = [values[-1]]
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [values[0]], [values[-1]]
    model.signatureDefs = [_signature(schema, values[0], values[-1])]
    builder = flatbuffers.Builder(8192)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _signature(schema: Any, taken: int, given: int) -> Any:
    made = schema.SignatureDefT()
    made.signatureKey = "serving_default"
    for side, name, index in (("inputs", INPUT, taken), ("outputs", OUTPUT, given)):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        setattr(made, side, [entry])
    return made

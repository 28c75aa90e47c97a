"""ExecuTorch programs (`.pte`), read without executing them: which dtypes they store, and what runs where.

A program is a flatbuffer. What XNNPACK took is opaque to it: one blob a partition, with a flatbuffer of XNNPACK's own
inside, which is read with the schema that the executorch package brings along.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import ConversionError

XNNPACK = "XnnpackBackend"
_XNNPACK_DTYPES = {
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "pfp32": "float32", "int32": "int32",
    "qint8": "int8", "qcint8": "int8", "qdint8": "int8", "qpint8": "int8", "quint8": "uint8",
    "qint32": "int32", "qcint32": "int32", "qcint4": "int4", "qbint4": "int4",
}  # fmt: skip
_NOT_FINITE = re.compile(rb"(?<=[\s:,\[])-?(?:inf|nan)(?=[\s,\]}])")
"""flatc writes these as no JSON knows them (the bounds of a ReLU)."""


@dataclass(frozen=True)
class Program:
    """What a program holds.

    Args:
        stored: dtype → number of constant tensors, those inside of delegates included.
        kernels: operator → number of calls, of what no delegate took.
        delegated: node of XNNPACK → number, over all partitions.
        partitions: how many pieces delegates took.
    """

    stored: dict[str, int]
    kernels: dict[str, int]
    delegated: dict[str, int]
    partitions: int


def read_program(path: Path) -> Program:
    """Reads a program's one method.

    Raises:
        ConversionError: it is not a program, or one of another version.
    """
    from executorch.exir._serialize._program import deserialize_pte_binary

    try:
        program = deserialize_pte_binary(path.read_bytes()).program
        plan = program.execution_plan[0]
    except Exception as error:  # the reader raises what it likes on a damaged file
        raise ConversionError(
            f"{path} cannot be read as an ExecuTorch program: {error}.", remedy="Convert it again."
        ) from error
    stored: Counter[str] = Counter()
    for value in plan.values:
        if type(value.val).__name__ == "Tensor" and value.val.data_buffer_idx > 0 and value.val.allocation_info is None:
            stored[value.val.scalar_type.name.lower()] += 1
    delegated: Counter[str] = Counter()
    for delegate in plan.delegates:
        if delegate.id != XNNPACK:
            raise ConversionError(f"{path} holds a part for {delegate.id}, which this format does not write.")
        graph = _xnnpack_graph(bytes(program.backend_delegate_data[delegate.processed.index].data))
        stored.update(_constants(graph))
        delegated.update(node["xnode_union_type"].removeprefix("XNN") for node in graph["xnodes"])
    kernels: Counter[str] = Counter()
    for chain in plan.chains:
        for instruction in chain.instructions:
            if type(instruction.instr_args).__name__ == "KernelCall":
                kernels[plan.operators[instruction.instr_args.op_index].name] += 1
    named = {_SCALARS.get(name, name): count for name, count in sorted(stored.items())}
    return Program(named, dict(sorted(kernels.items())), dict(sorted(delegated.items())), len(plan.delegates))


_SCALARS = {"float": "float32", "half": "float16", "double": "float64", "long": "int64", "int": "int32",
            "short": "int16", "char": "int8", "byte": "uint8"}  # fmt: skip


def _constants(graph: dict[str, Any]) -> list[str]:
    """The dtypes of the constants in one graph of XNNPACK."""
    found = []
    for value in graph["xvalues"]:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)  # a quantized value holds a plain one
        if tensor["constant_buffer_idx"]:
            name = str(tensor["datatype"]).removeprefix("xnn_datatype_")
            found.append(_XNNPACK_DTYPES.get(name, name))
    return found


def _xnnpack_graph(blob: bytes) -> dict[str, Any]:
    """The graph in a delegate's blob: a header, the flatbuffer, and constants if they are not shared."""
    import importlib.resources

    import executorch.backends.xnnpack.serialization as package
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
    content = blob[header.flatbuffer_offset : header.flatbuffer_offset + header.flatbuffer_size]
    with tempfile.TemporaryDirectory() as folder:
        schema, binary = Path(folder, "schema.fbs"), Path(folder, "graph.bin")
        schema.write_bytes(importlib.resources.files(package).joinpath("schema.fbs").read_bytes())
        binary.write_bytes(content)
        _flatc_decompile(folder, str(schema), str(binary))
        text = Path(folder, "graph.json").read_bytes()
    return dict(json.loads(_NOT_FINITE.sub(b"null", text)))

"""What a `.tflite` file itself says, read with LiteRT's flatbuffer schema: no interpreter, no conversion.

The interpreter widens what it loads (int4 tensors are told as int8), so what a file stores is read here.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

IDENTIFIER = b"TFL3"
WEIGHT_DTYPES = ("int2", "int4", "int8", "uint8", "float16")
"""What the weights of a file are stored as, if they are not float32 any more."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the first subgraph.

    Args:
        index: in the subgraph.
        shape: as allocated by default; a dynamic axis is 1.
        declared: the same with None for each dynamic axis.
        dtype: in the words of NumPy, and "int4", "bfloat16" and so on.
        quantized: whether it has a scale.
        constant: whether the file holds its values.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    declared: tuple[int | None, ...]
    dtype: str
    quantized: bool
    constant: bool


@dataclass(frozen=True)
class Operator:
    """An operator: its kind ("CONV_2D"), its tensors by index; -1 is a tensor left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class FlatBuffer:
    """One file, parsed."""

    def __init__(self, content: bytes) -> None:
        """Reads the table at the root.

        Raises:
            ValueError: it is no `.tflite` file, or one that ends before its tables do.
        """
        from ai_edge_litert import schema_py_generated as schema

        if content[4:8] != IDENTIFIER:
            raise ValueError("it does not begin like one")
        self._schema = schema
        self._model = schema.Model.GetRootAs(content, 0)
        try:
            self._dtypes = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
            self._kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
            if not self._model.SubgraphsLength():
                raise ValueError("it holds no graph")
            self.tensors = [self._tensor(i) for i in range(self._graph.TensorsLength())]
            self.operators = [self._operator(i) for i in range(self._graph.OperatorsLength())]
            self.inputs = [self._graph.Inputs(i) for i in range(self._graph.InputsLength())]
            self.outputs = [self._graph.Outputs(i) for i in range(self._graph.OutputsLength())]
            count = self._model.SignatureDefsLength()
            self.signatures = [self._signature(i) for i in range(count)]
            self.signature_names = [self._model.SignatureDefs(i).SignatureKey().decode() for i in range(count)]
            codes = [self._model.OperatorCodes(i).CustomCode() for i in range(self._model.OperatorCodesLength())]
            self.custom = sorted({code.decode() for code in codes if code})
            """The custom operators that any of its graphs may use."""
            self._check_buffers(len(content))
        except (TypeError, IndexError, struct.error, AttributeError, UnicodeDecodeError) as error:
            raise ValueError(f"its tables are damaged ({error})") from error

    @classmethod
    def read(cls, path: Path) -> FlatBuffer:
        """Reads a file, see the constructor."""
        return cls(path.read_bytes())

    @cached_property
    def _graph(self) -> Any:
        return self._model.Subgraphs(0)

    def _tensor(self, i: int) -> Tensor:
        found = self._graph.Tensors(i)
        shape = tuple(int(found.Shape(k)) for k in range(found.ShapeLength()))
        signature = tuple(int(found.ShapeSignature(k)) for k in range(found.ShapeSignatureLength())) or shape
        quantization = found.Quantization()
        buffer = self._model.Buffers(found.Buffer())
        return Tensor(
            index=i,
            name=(found.Name() or b"").decode(),
            shape=shape,
            declared=tuple(None if size < 0 else size for size in signature),
            dtype=self._dtypes[found.Type()],
            quantized=quantization is not None and quantization.ScaleLength() > 0,
            constant=buffer is not None and (buffer.DataLength() > 0 or buffer.Size() > 0),
        )

    def _operator(self, i: int) -> Operator:
        found = self._graph.Operators(i)
        code = self._model.OperatorCodes(found.OpcodeIndex())
        return Operator(
            kind=self._kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())],
            inputs=tuple(int(found.Inputs(k)) for k in range(found.InputsLength())),
            outputs=tuple(int(found.Outputs(k)) for k in range(found.OutputsLength())),
        )

    def _signature(self, i: int) -> dict[str, dict[str, int]]:
        """The tensor's index by name, of the inputs and of the outputs."""
        found = self._model.SignatureDefs(i)
        inputs = [found.Inputs(k) for k in range(found.InputsLength())]
        outputs = [found.Outputs(k) for k in range(found.OutputsLength())]
        return {
            "inputs": {one.Name().decode(): int(one.TensorIndex()) for one in inputs},
            "outputs": {one.Name().decode(): int(one.TensorIndex()) for one in outputs},
        }

    def _check_buffers(self, size: int) -> None:
        for i in range(self._model.BuffersLength()):
            buffer = self._model.Buffers(i)
            if buffer.Offset() > 1 and buffer.Offset() + buffer.Size() > size:
                raise ValueError(f"it ends within its weights, at {size} bytes")

    def stored_dtypes(self) -> dict[str, int]:
        """How many tensors of each dtype all its subgraphs hold."""
        counts: Counter[str] = Counter()
        for g in range(self._model.SubgraphsLength()):
            graph = self._model.Subgraphs(g)
            counts.update(self._dtypes[graph.Tensors(i).Type()] for i in range(graph.TensorsLength()))
        return dict(sorted(counts.items()))

    def named(self, side: str) -> list[tuple[str, Tensor]]:
        """The inputs or outputs in the order of the graph, by the signature's names, else the tensors' own.

        A tensor that is two outputs at once is told twice.

        Args:
            side: "inputs" or "outputs".
        """
        order = self.inputs if side == "inputs" else self.outputs
        if len(self.signatures) == 1:
            named = self.signatures[0][side]
            found = sorted(named, key=lambda name: (order.index(named[name]), _natural(name)))
            return [(name, self.tensors[named[name]]) for name in found]
        names = [self.tensors[index].name or f"{side[:-1]}_{i}" for i, index in enumerate(order)]
        if len(set(names)) != len(names):
            names = [f"{name}_{i}" for i, name in enumerate(names)]
        return [(name, self.tensors[index]) for name, index in zip(names, order, strict=True)]

    @property
    def quantized_as(self) -> str | None:
        """What its weights or activations are quantized to, None if it is a float32 model."""
        for tensor in self.tensors:
            if tensor.dtype in WEIGHT_DTYPES and (tensor.constant or tensor.quantized):
                return tensor.dtype
            if tensor.dtype == "int16" and tensor.quantized:
                return tensor.dtype
        return None


def _natural(name: str) -> tuple[int, str]:
    digits = name.rsplit("_", 1)[-1]
    return (int(digits) if digits.isdigit() else 0, name)

"""Writes a `.tflite` file anew: the same graph and weights, smaller, and the same bytes wherever it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LARGEST_BYTES = 2_000_000_000
"""A flatbuffer's own limit is 2 GiB; what is larger keeps the form that its converter gave it."""


def rewritten(
    content: bytes,
    rename: Callable[[str], str] | None = None,
    signature: Mapping[str, Sequence[tuple[str, int]]] | None = None,
) -> bytes:
    """The same model, with equal vectors written once, calibration ranges left out, and weights at 16 bytes.

    The zero points of symmetric weights are one int64 per channel, all zero, for weights and biases alike: 5 % of
    mobilenet_v2 in int8. The alignment is what the schema asks for (`force_align`), and Python's packer leaves out.

    Args:
        content: a `.tflite` file.
        rename: makes new names of the tensors'; a number is added where two would be the same.
        signature: for a file that has none, names and indices of its "inputs" and "outputs".
    """
    if len(content) > _LARGEST_BYTES:
        return content
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # the quantizer writes large models' weights behind the flatbuffer
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    weights = {id(buffer.data) for buffer in model.buffers if isinstance(buffer.data, np.ndarray)}
    for graph in model.subgraphs:
        if rename is not None:
            _rename(graph.tensors, rename)
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None

    if signature is not None:
        model.signatureDefs = [_signature(signature)]

    class Sharing(flatbuffers.Builder):  # type: ignore[misc]  # untyped
        written: dict[tuple[str, bytes], int]

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802 - the builder's own name
            key = (x.dtype.str, x.tobytes())
            if key not in self.written:
                if id(x) in weights:
                    self.Prep(16, x.nbytes)
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

    builder = Sharing(len(content))
    builder.written = {}
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _signature(named: Mapping[str, Sequence[tuple[str, int]]]) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    for side in ("inputs", "outputs"):
        maps = []
        for name, index in named[side]:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            maps.append(entry)
        setattr(signature, side, maps)
    return signature


def _rename(tensors: list[Any], rename: Callable[[str], str]) -> None:
    seen: dict[str, int] = {}
    for tensor in tensors:
        name = rename((tensor.name or b"").decode())
        again = seen.get(name, 0)
        seen[name] = again + 1
        tensor.name = (f"{name}#{again}" if again else name).encode()


def module_path(name: str) -> str:
    """A tensor's name as litert-torch makes it, without the parts that depend on where the model's code lies.

    It joins the modules that an operator came from: `pkg.Net/torch.nn.modules.conv.Conv2d_first;1`, several of them
    (by `;;`) for what was fused. The first module is the model itself, and its package may be a path in disguise.
    """
    pieces: list[str] = []
    for piece in name.split(";;"):
        path, semicolon, number = piece.partition(";")
        words = [word.rsplit(".", 1)[-1] for word in path.split("/")]
        short = "/".join(words[1:] or words) + (f"{semicolon}{number}" if number else "")
        if short not in pieces and (len(words) > 1 or name.count(";;") == 0):
            pieces.append(short)
    return ";;".join(pieces) or name.rsplit(".", 1)[-1]

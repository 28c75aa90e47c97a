"""What a browser cannot run, told before it is asked: a bundle for the web is refused for the same reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.dimensions import dimensions

if TYPE_CHECKING:
    from edgekit.artifact import Artifact

ARRAYS = {
    "float32": "Float32Array", "float64": "Float64Array", "int8": "Int8Array", "uint8": "Uint8Array",
    "int16": "Int16Array", "int32": "Int32Array", "int64": "BigInt64Array", "bool": "Uint8Array",
}  # fmt: skip
"""JavaScript's typed array by dtype."""


def unsuitable_tensor(artifact: Artifact) -> tuple[str, str] | None:
    """An input or output that has no typed array, or no one scale: what is wrong with it, and the remedy."""
    for tensor in (*artifact.manifest.inputs, *artifact.manifest.outputs):
        if tensor.dtype not in ARRAYS:
            problem, remedy = "has no typed array in browsers", "Convert it with float32 inputs and outputs."
        elif tensor.quantization is not None and len(tensor.quantization.scale) != 1:
            problem, remedy = "is quantized by channels", "Convert it with one scale for each input and output."
        else:
            continue
        return f"{artifact.title}: {tensor.name} ({tensor.describe()}) {problem}.", remedy
    return None


def unsuitable(artifact: Artifact) -> tuple[str, str] | None:
    """Likewise, or that its sizes vary."""
    if dimensions(artifact.manifest.inputs):
        return f"{artifact.title} takes sizes that vary, and a page runs fixed ones.", "Fix them with --shape."
    return unsuitable_tensor(artifact)

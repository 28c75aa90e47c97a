"""The `.mlpackage` on disk: written the same for the same model, and read for what it stores.

coremltools gives the package random identifiers, the date of the conversion, and maps in the order of a hash. They are
replaced: identifiers derive from the paths that they stand for, the date is left out, and maps are written in order.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from math import log2, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DATE = "com.github.apple.coremltools.conversion_date"
MODEL_FILE = Path("Data", "com.apple.CoreML", "model.mlmodel")
WEIGHTS = Path("Data", "com.apple.CoreML", "weights")
MANIFEST = "Manifest.json"


def write_package(model: Any, path: Path) -> None:
    """Writes coremltools' `MLModel` as an `.mlpackage`, byte for byte the same for equal models."""
    model.save(str(path))
    from coremltools.models.utils import load_spec

    spec = load_spec(str(path))
    spec.description.metadata.userDefined.pop(DATE, None)
    (path / MODEL_FILE).write_bytes(spec.SerializeToString(deterministic=True))
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(_with_fixed_identifiers(manifest), indent=4, sort_keys=True) + "\n")
    for entry in path.iterdir():  # coremltools leaves a map for ExecuTorch's debugger, which is no part of a package
        if entry.name not in (MANIFEST, "Data"):
            entry.unlink()
    for file in path.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


def _with_fixed_identifiers(manifest: dict[str, Any]) -> dict[str, Any]:
    new = {
        old: str(uuid.uuid5(uuid.NAMESPACE_URL, f"mlpackage:{entry['path']}"))
        for old, entry in manifest["itemInfoEntries"].items()
    }
    return {
        **manifest,
        "itemInfoEntries": {new[old]: entry for old, entry in manifest["itemInfoEntries"].items()},
        "rootModelIdentifier": new[manifest["rootModelIdentifier"]],
    }


def stored_dtypes(path: Path) -> dict[str, int]:
    """How many tensors of each kind the package stores, read from the program and its weights.

    float32, float16          weights and biases as they are (scalars do not count)
    int8, uint8, int4, uint4  weights with scales, per channel or per block
    palette4                  weights as indices into a table of 2⁴ values; likewise for other widths
    sparse-float16, sparse-int8, …   weights without their zeros, and a mask of one bit per element; one that stores
                              more than three quarters of its elements counts as what it stores
    int8-activations          results that are rounded to int8 while the program runs
    """
    from coremltools.converters.mil.frontend.milproto.load import load
    from coremltools.models.utils import load_spec

    spec = load_spec(str(path))
    program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=str(path / WEIGHTS))
    counts: Counter[str] = Counter()
    for function in program.functions.values():
        for operation in _operations(function):
            counts.update(_stored_by(operation))
    return dict(sorted(counts.items()))


def _operations(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _stored_by(operation: Any) -> list[str]:
    kind, inputs = operation.op_type, operation.inputs
    if kind == "const":
        return _plain(operation.outputs[0])
    if kind == "quantize":
        return [f"{inputs['output_dtype'].val}-activations"]
    if kind in ("constexpr_affine_dequantize", "constexpr_blockwise_shift_scale"):
        data = inputs.get("quantized_data") or inputs["data"]
        return [_dtype(data)] if _is_const(data) else []
    if kind == "constexpr_lut_to_dense":
        return [_palette(inputs["lut"])]
    if kind == "constexpr_sparse_to_dense":
        data = inputs["nonzero_data"]
        return [_sparse(_dtype(data), data, operation)] if _is_const(data) else []
    if kind == "constexpr_sparse_blockwise_shift_scale":
        data = inputs["nonzero_data"]
        return [_sparse(_dtype(data), data, inputs["data_mask"].op)]
    if kind == "constexpr_lut_to_sparse":
        return [_sparse(_palette(inputs["lut"]), inputs["indices_nonzero_data"], inputs["indices_mask"].op)]
    return []


def _plain(variable: Any) -> list[str]:
    """A constant tensor of floats that an operator reads as it is, not as a part of a compressed weight."""
    dtype = _dtype(variable)
    read = any(not child.op_type.startswith("constexpr_") for child in variable.child_ops)
    return [dtype] if variable.rank > 0 and dtype.startswith("float") and read else []


def _sparse(kind: str, stored: Any, whole: Any) -> str:
    """`kind`, marked as sparse if `stored` has at most three quarters of the elements of what `whole` makes."""
    return f"sparse-{kind}" if 4 * prod(stored.shape) <= 3 * prod(whole.outputs[0].shape) else kind


def _palette(lut: Any) -> str:
    entries = lut.shape[0] if lut.rank == 1 else lut.shape[-2]
    return f"palette{int(log2(entries))}"


def _is_const(variable: Any) -> bool:
    return variable.op is not None and variable.op.op_type == "const"


def _dtype(variable: Any) -> str:
    from coremltools.converters.mil.mil import types

    name = str(types.builtin_to_string(variable.dtype))
    return {"fp16": "float16", "fp32": "float32"}.get(name, name)

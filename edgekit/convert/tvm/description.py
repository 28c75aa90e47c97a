"""What a compiled module says of itself: a function `describe` in it returns a JSON text as bytes, one line.

The executable knows how many inputs `main` has, but not their shapes. The description travels inside the one file that
is deployed, is read through the same runtime that runs the model, and needs nothing beside it:

    {"edgekit": 1, "target": …, "inputs": [{"name", "shape", "dtype"}], "outputs": […],
     "integers": calls that are computed in integers, "variants": [{"function", "cpu", "flags"}],
     "kernels": [{"name", "count", "schedule", "because", "flops"}]}
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.tvm.graph import constant, dtype_of, shape_of
from edgekit.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA = 1
_FUNCTION = "describe"
_MAGIC = (0xDD5E40F096B4A13F).to_bytes(8, "little")
"""Begins every tensor that TVM writes (`kTVMTensorMagic` of its runtime)."""
_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}


def with_description(module: Any, description: Mapping[str, Any]) -> Any:
    """The module with a function that returns the description."""
    import tvm
    from tvm import relax

    text = json.dumps({"edgekit": SCHEMA, **description}).encode() + b"\n"
    builder = relax.BlockBuilder()
    with builder.function(_FUNCTION, []):
        builder.emit_func_output(constant(np.frombuffer(text, np.uint8)))
    functions = {**dict(module.functions.items()), **dict(builder.finalize().functions.items())}
    return tvm.IRModule(functions, attrs=module.attrs)


def tensors_of(module: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Names, shapes and dtypes of `main`'s inputs and outputs; outputs are called output_0, output_1, …"""
    from tvm import relax

    main = module["main"]
    result = main.ret_ty
    outputs = list(result.fields) if isinstance(result, relax.TupleType) else [result]

    class _Typed:
        def __init__(self, ty: Any) -> None:
            self.ty = ty

    def tensor(name: str, typed: Any) -> dict[str, Any]:
        return {"name": name, "shape": list(shape_of(typed) or ()), "dtype": dtype_of(typed)}

    return (
        [tensor(str(parameter.name), parameter) for parameter in main.params],
        [tensor(f"output_{i}", _Typed(ty)) for i, ty in enumerate(outputs)],
    )


def stored_tensors(file: Path) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Every tensor in a compiled file as (dtype, shape, first bytes), found by TVM's mark for tensors.

    After the mark: 8 reserved bytes, device type and id (int32), number of axes (int32), type code and bits (uint8),
    lanes (uint16), the shape and the size in bytes (int64 each).
    """
    data = file.read_bytes()
    found = []
    at = data.find(_MAGIC)
    while at >= 0:
        header = data[at + 16 : at + 32]
        axes = int.from_bytes(header[8:12], "little", signed=True)
        code, bits = header[12], header[13]
        if 0 <= axes <= 16 and code in _CODES:
            begin = at + 32
            numbers = np.frombuffer(data, np.int64, axes + 1, begin)
            shape, size = tuple(int(n) for n in numbers[:-1]), int(numbers[-1])
            if size == int(np.prod(shape, dtype=np.int64)) * bits // 8:
                values = begin + 8 * (axes + 1)
                dtype = "bool" if _CODES[code] == "bool" else f"{_CODES[code]}{bits}"
                found.append((dtype, shape, data[values : values + min(size, 16)]))
        at = data.find(_MAGIC, at + 8)
    return found


def is_description(dtype: str, first: bytes) -> bool:
    """Whether a stored tensor is the description, which is not one of the model's."""
    return dtype == "uint8" and first.startswith(b'{"edgekit"')


def read_description(file: Path) -> dict[str, Any]:
    """The description in a compiled file, read without running anything.

    Raises:
        ArtifactError: there is none: not a file that this package compiled.
    """
    data = file.read_bytes()
    begin = data.find(b'{"edgekit"')
    if begin < 0:
        raise ArtifactError(f"{file} holds no description of a model.", remedy="Convert the model again.")
    text = data[begin:].split(b"\n", 1)[0].decode("utf-8", errors="replace")
    found, _ = json.JSONDecoder().raw_decode(text)
    assert isinstance(found, dict)
    return found


def kernels_of(module: Any, scheduled: Sequence[Any]) -> list[dict[str, Any]]:
    """What runs: by function, how often `main` calls it, its schedule, and its floating-point operations a call."""
    import tvm
    from tvm import relax, tirx

    counts: dict[str, int] = {}
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            if isinstance(binding.value, relax.Call) and binding.value.args:
                first = binding.value.args[0]
                if isinstance(first, tvm.ir.GlobalVar):
                    counts[str(first.name_hint)] = counts.get(str(first.name_hint), 0) + 1
    flops = {
        str(name.name_hint): float(tvm.s_tir.analysis.estimate_tir_flops(tvm.IRModule({"main": function})))
        for name, function in module.functions.items()
        if isinstance(function, tirx.PrimFunc)
    }
    return [
        {
            "name": what.function,
            "count": counts.get(what.function, 0),
            "schedule": what.schedule,
            "because": what.because,
            "flops": flops[what.function],
        }
        for what in scheduled
    ]

"""The ONNX library's own backend tests, over everything that the importer reads.

The library makes 1,884 models with inputs and expected outputs, most of one node, and ships 140 more, most
of them exported by old PyTorch versions. Each must come out right, or be refused for a reason that is listed here:
never wrong.

Inputs that are small integers or scalars (shapes, axes, limits) are graph inputs in these models; where the importer
asks for constants they are made initialisers, as they are in models that exporters write.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests, load_node_model_tests

from edgekit.convert.onnx_to_torch import import_onnx
from edgekit.convert.onnx_to_torch.operators import OPERATORS
from edgekit.convert.onnx_to_torch.tensors import to_tensor
from edgekit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the library makes its samples with overflows

REASONS = {
    "an operator is lacking": r"uses \d+ × ",
    "a dtype that torch lacks": r"(float8|float4|int2|the dtype complex|strings)",
    "training mode": r"training mode",
    "places of the largest values": r"the indices of the largest values",
    "an opset before 7": r"opset [1-6];",
    "it depends on the data": r"from the data|chooses a branch by the data",
    "its parts are not tensors": r"is not a tensor",
}
"""Why a model may be refused, as told in the error."""
OTHER_DOMAINS = "operators that are not ONNX's own"
NOT_ARRAYS = "inputs or outputs that are not tensors of numbers"


@dataclass(frozen=True)
class Sample:
    """A model with inputs and the outputs that are expected."""

    name: str
    model: onnx.ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    relative: float
    absolute: float


def samples() -> list[Sample]:
    found = []
    for case in load_node_model_tests():
        inputs, outputs = case.data_sets[0]
        found.append(Sample(case.name, case.model, inputs, outputs, case.rtol, case.atol))
    for kind in ("pytorch-converted", "pytorch-operator", "simple"):
        for case in load_model_tests(kind=kind):
            found.append(_stored(case))  # noqa: PERF401 - one line a kind is clearer
    return found


def _stored(case: Any) -> Sample:
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    if max(entry.version for entry in model.opset_import) < 7:
        model = onnx.version_converter.convert_version(model, 9)
    data = min(folder.glob("test_data_set_*"))

    def read(what: str) -> list[Any]:
        files = sorted(data.glob(f"{what}_*.pb"), key=lambda file: int(file.stem.split("_")[1]))
        return [onnx.load_tensor(file) for file in files]

    try:
        return Sample(case.name, model, read("input"), read("output"), case.rtol, case.atol)
    except DecodeError:  # sequences and optionals are stored otherwise, and are none of the importer's
        return Sample(case.name, model, [None], [None], case.rtol, case.atol)


def array(value: Any) -> np.ndarray | None:
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    value = np.asarray(value) if isinstance(value, (np.ndarray, np.generic, float, int)) else None
    return None if value is None or value.dtype.kind in "OSU" else value


def with_shapes(model: onnx.ModelProto, arrays: dict[str, np.ndarray], constant: Sequence[str]) -> onnx.ModelProto:
    """A copy with the inputs' shapes fixed, and some inputs made initialisers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inputs = [value for value in copy.graph.input if value.name not in constant]
    del copy.graph.input[:]
    for value in inputs:
        if value.name in arrays:
            shape = value.type.tensor_type.shape
            shape.Clear()
            shape.SetInParent()
            for size in arrays[value.name].shape:
                shape.dim.add().dim_value = size
    copy.graph.input.extend(inputs)
    copy.graph.initializer.extend(numpy_helper.from_array(arrays[name], name) for name in constant)
    return copy


def imported(sample: Sample, arrays: dict[str, np.ndarray]) -> tuple[torch.nn.Module, list[str]]:
    """The module, and the names of the inputs that it still takes."""
    names = list(arrays)
    try:
        return import_onnx(with_shapes(sample.model, arrays, ())), names
    except ModelError:
        small = [n for n in names if arrays[n].ndim <= 1 and (arrays[n].dtype.kind in "iub" or arrays[n].ndim == 0)]
        small += [name for name in names if name in ("scales", "roi")]
        if not small:
            raise
        module = import_onnx(with_shapes(sample.model, arrays, list(dict.fromkeys(small))))
        return module, [name for name in names if name not in small]


def judge(sample: Sample) -> str:
    """ "right", or why it was refused. Raises AssertionError if it is wrong."""
    if any(entry.domain not in ("", "ai.onnx") for entry in sample.model.opset_import):
        return OTHER_DOMAINS
    inputs, outputs = [array(value) for value in sample.inputs], [array(value) for value in sample.outputs]
    if any(value is None for value in (*inputs, *outputs)):
        return NOT_ARRAYS
    constants = {tensor.name for tensor in sample.model.graph.initializer}
    names = [value.name for value in sample.model.graph.input if value.name not in constants]
    arrays = dict(zip(names, inputs, strict=True))
    try:
        module, taken = imported(sample, arrays)
    except ModelError as error:
        for reason, pattern in REASONS.items():
            if re.search(pattern, error.what):
                return reason
        raise AssertionError("refused for another reason") from error
    with torch.no_grad():
        answered = module(*(to_tensor(arrays[name]) for name in taken))
    answered = answered if isinstance(answered, tuple) else (answered,)
    for got, wanted in zip(answered, outputs, strict=True):
        check(sample, got, wanted)
    return "right"


def check(sample: Sample, got: torch.Tensor, wanted: np.ndarray) -> None:
    assert tuple(got.shape) == wanted.shape, sample.name
    if wanted.dtype.name == "bfloat16":
        np.testing.assert_allclose(got.float().numpy(), wanted.astype(np.float32), 1e-2, 1e-2, err_msg=sample.name)
    elif wanted.dtype.kind == "f":
        relative, absolute = (5e-3, 2e-3) if wanted.dtype == np.float16 else (1e-3, 1e-5)
        relative, absolute = max(relative, sample.relative), max(absolute, sample.absolute)
        np.testing.assert_allclose(got.numpy(), wanted, relative, absolute, err_msg=sample.name)
    else:
        np.testing.assert_array_equal(got.numpy().astype(wanted.dtype), wanted, err_msg=sample.name)


def test_right_or_refused_never_wrong() -> None:
    counts: Counter[str] = Counter()
    wrong, covered = [], set()
    for sample in samples():
        try:
            verdict = judge(sample)
        except AssertionError as error:
            wrong.append(f"{sample.name}: {error}"[:300])
            continue
        counts[verdict] += 1
        if verdict == "right":
            covered |= {node.op_type for node in sample.model.graph.node}
    assert not wrong, "\n".join(wrong)
    assert counts["right"] >= 1650, counts
    assert set(OPERATORS) - covered == {"GlobalLpPool"}

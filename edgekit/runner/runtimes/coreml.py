"""Core ML through coremltools: `.mlpackage` on macOS.

Apple's framework runs on Apple's systems only: elsewhere `probe` raises ImportError, which says so. The compute units
are all that the machine has, unless EDGEKIT_COREML_UNITS names others: ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE.

Not tested by EdgeKit's own tests beyond its refusal: they run on Linux. It follows coremltools 9.0's documentation.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "coreml"
PACKAGES = ("coremltools",)
UNITS = "EDGEKIT_COREML_UNITS"
_DTYPES = {65568: "float32", 65552: "float16", 65600: "float64", 131104: "int32"}
"""ArrayFeatureType.ArrayDataType, by number."""


def _coremltools() -> Any:
    if platform.system() != "Darwin":
        raise ImportError("Core ML runs on macOS and iOS only, and this is %s" % platform.system())
    import coremltools

    return coremltools


def probe() -> dict[str, Any]:
    """Which package is used here, and its version."""
    return {"package": "coremltools", "version": _coremltools().__version__}


def load(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:  # noqa: ARG001 - every runtime takes it
    """The model in Core ML. It chooses its threads itself: `threads` has no effect."""
    coremltools = _coremltools()
    name = os.environ.get(UNITS, "ALL")
    return _load(coremltools, name, path, bindings)


def load_with(delegate: str, path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:  # noqa: ARG001 - as `load`
    """The same on the compute units of that name: ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE."""
    return _load(_coremltools(), delegate, path, bindings)


def _load(coremltools: Any, name: str, path: str, bindings: Mapping[str, Sequence[str]]) -> Session:
    units = getattr(coremltools.ComputeUnit, name, None)
    if units is None:
        raise ValueError("%s=%s: choose one of ALL, CPU_ONLY, CPU_AND_GPU, CPU_AND_NE" % (UNITS, name))
    return Session(coremltools.models.MLModel(path, compute_units=units), bindings, units)


def _describe(name: str, features: Sequence[Any]) -> dict[str, Any]:
    for feature in features:
        if feature.name == name:
            array = feature.type.multiArrayType
            return {
                "name": name,
                "shape": [int(size) for size in array.shape],
                "dtype": _DTYPES[int(array.dataType)],
                "scale": None,
                "zero_point": None,
            }
    raise ValueError("the model has no input or output %r" % name)


class Session:
    """One model, loaded and compiled by Core ML, its tensors in the model's order."""

    def __init__(self, model: Any, bindings: Mapping[str, Sequence[str]], units: Any = None) -> None:
        self._units = units
        description = model.get_spec().description
        self._model = model
        self.inputs = [_describe(name, description.input) for name in bindings["inputs"]]
        self.outputs = [_describe(name, description.output) for name in bindings["outputs"]]
        self._given: dict[str, Any] = {}
        self._results: dict[str, Any] = {}

    def set_input(self, i: int, array: Any) -> None:
        self._given[self.inputs[i]["name"]] = array

    def invoke(self) -> None:
        self._results = self._model.predict(self._given)

    def get_output(self, i: int) -> Any:
        return self._results[self.outputs[i]["name"]]

    def delegation(self) -> dict[str, Any]:
        """Which compute device Core ML prefers for each operation, by the program's compute plan (macOS 14.4)."""
        try:
            from coremltools.models.compute_plan import MLComputePlan

            plan = MLComputePlan.load_from_path(self._model.get_compiled_model_path(), compute_units=self._units)
            operations = plan.model_structure.program.functions["main"].block.operations
        except (ImportError, AttributeError, KeyError, RuntimeError) as error:
            because = "Core ML gives no compute plan here: %s" % error
            return {"backends": [], "operators": None, "left": None, "because": because}
        taken, left = {}, {}  # type: dict[str, list[int]], dict[str, int]
        before = ""
        for operation in operations:
            usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
            if usage is None:  # a constant: nothing executes it
                continue
            device = type(usage.preferred_compute_device).__name__.replace("ML", "").replace("ComputeDevice", "")
            if device == "CPU":
                left[operation.operator_name] = left.get(operation.operator_name, 0) + 1
            else:
                count = taken.setdefault(device, [0, 0])
                count[0] += 1
                count[1] += device != before
            before = device
        backends = [{"name": name, "operators": n, "partitions": p} for name, (n, p) in sorted(taken.items())]
        operators = sum(left.values()) + sum(n for n, _ in taken.values())
        return {"backends": backends, "operators": operators, "left": left, "because": None}

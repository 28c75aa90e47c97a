"""ONNX Runtime on the CPU: `.onnx` on Linux, macOS, Windows, Android and iOS.

Inputs and outputs are bound to memory once, so that `invoke` measures the run and no copying of arrays. An input whose
size varies is bound anew when it gets another one; of such a model ONNX Runtime allocates the outputs. `threads` are
the threads within an operator; operators run one after the other. They do not spin while they wait: on a device
somebody else needs the core.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "onnxruntime"
CPU = "CPUExecutionProvider"
PACKAGES = ("onnxruntime",)
LIBRARIES = {"onnxruntime": ("onnxruntime/capi/libonnxruntime.so*",)}
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "int64": "int64",
    "uint64": "uint64",
    "bool": "bool",
}


def probe() -> dict[str, Any]:
    """Which package is used here, and its version."""
    import onnxruntime

    return {"package": "onnxruntime", "version": onnxruntime.__version__}


def load(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:
    """A session over the file at `path`, with all of ONNX Runtime's optimisations, as an application would open it."""
    return load_with(CPU, path, threads, bindings)


def load_with(delegate: str, path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:
    """The same by an execution provider, such as XnnpackExecutionProvider; what it does not take, the CPU's executes.

    Raises:
        ValueError: this build of ONNX Runtime has no provider of that name.
    """
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if delegate not in there:
        raise ValueError("this ONNX Runtime has no %s, but %s" % (delegate, ", ".join(there)))
    options = _options(threads)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = [delegate, CPU] if delegate != CPU else [CPU]
    return Session(onnxruntime.InferenceSession(path, options, providers=providers), bindings)


def load_profiled(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:
    """The same, with its profiler on."""
    import tempfile

    import onnxruntime

    folder = tempfile.mkdtemp(prefix="edgekit-profile-")
    options = _options(threads)
    options.enable_profiling = True
    options.profile_file_prefix = os.path.join(folder, "profile")
    return Profiled(onnxruntime.InferenceSession(path, options, providers=[CPU]), bindings, folder)


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: warnings go to the protocol's streams
    return options


def _describe(tensor: Any) -> dict[str, Any]:
    """ONNX keeps scales in the graph, not with its inputs and outputs: there is none to tell."""
    found = re.match(r"tensor\((\w+)\)$", tensor.type)
    if found is None or found.group(1) not in _DTYPES:
        raise ValueError("%s is a %s: only tensors of numbers can be run" % (tensor.name, tensor.type))
    return {
        "name": tensor.name,
        "shape": [size if isinstance(size, int) else None for size in tensor.shape],
        "dtype": _DTYPES[found.group(1)],
        "scale": None,
        "zero_point": None,
    }


def _in_order(tensors: Sequence[Any], names: Sequence[str], what: str) -> list[dict[str, Any]]:
    by_name = {tensor.name: tensor for tensor in tensors}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ValueError("the model has no %s %s, but %s" % (what, ", ".join(missing), ", ".join(by_name)))
    return [_describe(by_name[name]) for name in names]


class Session:
    """One model, its tensors in the model's order, each with memory of its own."""

    def __init__(self, session: Any, bindings: Mapping[str, Sequence[str]]) -> None:
        import numpy as np
        import onnxruntime

        self._session = session
        self.inputs = _in_order(session.get_inputs(), bindings["inputs"], "input")
        self.outputs = _in_order(session.get_outputs(), bindings["outputs"], "output")
        self._binding = session.io_binding()
        self._varies = any(None in tensor["shape"] for tensor in self.inputs)
        self._values: dict[str, list[Any]] = {"in": [], "out": []}
        for side, tensors in (("in", self.inputs), ("out", self.outputs)):
            for tensor in tensors:
                shape = [1 if size is None else size for size in tensor["shape"]]
                memory = np.zeros(shape, dtype=tensor["dtype"])
                self._values[side].append(onnxruntime.OrtValue.ortvalue_from_numpy(memory))
        for tensor, value in zip(self.inputs, self._values["in"]):
            self._binding.bind_ortvalue_input(tensor["name"], value)
        for tensor, value in zip(self.outputs, self._values["out"]):
            if self._varies:
                self._binding.bind_output(tensor["name"])
            else:
                self._binding.bind_ortvalue_output(tensor["name"], value)

    def set_input(self, i: int, array: Any) -> None:
        value = self._values["in"][i]
        if self._varies and value.shape() != list(array.shape):
            import onnxruntime

            # A value shares the memory of its array, which the next sample is written to: the caller's must not be it.
            self._values["in"][i] = onnxruntime.OrtValue.ortvalue_from_numpy(array.copy())
            self._binding.bind_ortvalue_input(self.inputs[i]["name"], self._values["in"][i])
            for tensor in self.outputs:  # one of the last size may be bound
                self._binding.bind_output(tensor["name"])
        else:
            value.update_inplace(array)

    def invoke(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def get_output(self, i: int) -> Any:
        return self._binding.get_outputs()[i].numpy() if self._varies else self._values["out"][i].numpy()

    def delegation(self) -> dict[str, Any]:
        """Which execution provider each node of the graph was given to, before nodes are fused."""
        told = getattr(self._session, "get_provider_graph_assignment_info", None)
        parts = told() if told is not None else []
        if not parts:
            return {"backends": [], "operators": None, "left": None, "because": "this ONNX Runtime does not tell"}
        taken, left = {}, {}  # type: dict[str, list[int]], dict[str, int]
        for part in parts:
            nodes = part.get_nodes()
            if part.ep_name != CPU:
                count = taken.setdefault(part.ep_name, [0, 0])
                count[0] += len(nodes)
                count[1] += 1
                continue
            for node in nodes:
                left[node.op_type] = left.get(node.op_type, 0) + 1
        backends = [{"name": name, "operators": n, "partitions": p} for name, (n, p) in sorted(taken.items())]
        operators = sum(left.values()) + sum(n for n, _ in taken.values())
        return {"backends": backends, "operators": operators, "left": left, "because": None}


class Profiled(Session):
    """A session whose profiler writes what every node took, from its first run on."""

    def __init__(self, session: Any, bindings: Mapping[str, Sequence[str]], folder: str) -> None:
        super().__init__(session, bindings)
        self._folder = folder
        self._runs = self._before = 0

    def invoke(self) -> None:
        self._runs += 1
        super().invoke()

    def profile_begin(self) -> None:
        self._before = self._runs

    def profile_end(self) -> tuple[str, list[tuple[Any, str, str, float]]]:
        try:
            with open(self._session.end_profiling(), encoding="utf-8") as file:
                events = json.load(file)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        runs = sorted(event["ts"] for event in events if event.get("name") == "model_run")
        since = runs[self._before] if self._before < len(runs) else 0
        found = []
        for event in events:
            name = event.get("name", "")
            if event.get("cat") != "Node" or not name.endswith("_kernel_time") or event["ts"] < since:
                continue
            kind = event["args"].get("op_name", "?")
            name = name[: -len("_kernel_time")]
            found.append(((event["args"].get("node_index"), name), name, kind, event["dur"] * 1000.0))
        return "ONNX Runtime's profiler, in whole microseconds", found

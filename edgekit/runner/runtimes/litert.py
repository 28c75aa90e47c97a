"""LiteRT (formerly TensorFlow Lite) through the Python interpreter: `.tflite` on Linux, macOS and old boards.

Takes the first of ai-edge-litert, tflite-runtime (its predecessor, the only one with armv7 wheels) and tensorflow.
The XNNPACK delegate is what each of them applies by default. Delegates to ask for: `xnnpack`, which is that; `none`,
the runtime's own kernels; or the path, on the device, of a library that makes an external delegate.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "litert"
PACKAGES = ("ai_edge_litert", "tflite_runtime", "tensorflow")
WHEELS = ("ai-edge-litert",)
LIBRARIES = {"ai-edge-litert": ("ai_edge_litert/libLiteRt.so",)}
_MODULES = {
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite",
}


def _distribution_version(package: str) -> str | None:
    try:
        from importlib.metadata import version
    except ImportError:
        return None
    try:
        return version(package.replace("_", "-"))
    except Exception:  # a package that was copied in place, without metadata
        found = getattr(importlib.import_module(package), "__version__", None)
        return None if found is None else str(found)


def _interpreter_class() -> tuple[str, Any]:
    for package in PACKAGES:
        try:
            module = importlib.import_module(_MODULES[package])
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] == package:
                continue
            raise  # the package is there, and broken: say so rather than take the next
        if package == "tensorflow":
            module = importlib.import_module("tensorflow").lite
        return package, module.Interpreter
    raise ModuleNotFoundError("none of %s is installed" % ", ".join(PACKAGES))


def probe() -> dict[str, Any]:
    """Which package is used here, and its version."""
    package, _ = _interpreter_class()
    return {"package": package, "version": _distribution_version(package)}


def load(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:
    """An allocated interpreter over the file at `path`."""
    _, interpreter_class = _interpreter_class()
    return Session(interpreter_class(model_path=path, num_threads=threads), bindings)


def load_with(delegate: str, path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:
    """The same, executed by a delegate of one's choice: see the module.

    Raises:
        ValueError: there is none of that name, or its library cannot be loaded.
    """
    package, interpreter_class = _interpreter_class()
    if delegate == "xnnpack":
        return load(path, threads, bindings)
    module = importlib.import_module(_MODULES[package])
    options = {}  # type: dict[str, Any]
    name = delegate
    if delegate == "none":
        resolver = getattr(module, "OpResolverType", None) or module.experimental.OpResolverType
        options["experimental_op_resolver_type"] = resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    elif "/" in delegate:
        make = getattr(module, "load_delegate", None) or module.experimental.load_delegate
        options["experimental_delegates"] = [make(delegate)]
        name = delegate.rsplit("/", 1)[-1]
    else:
        raise ValueError("LiteRT has no delegate %r: give xnnpack, none, or the path of a library" % delegate)
    return Session(interpreter_class(model_path=path, num_threads=threads, **options), bindings, name)


def load_profiled(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Any:
    """The model with LiteRT's profiler.

    Raises:
        LookupError: this package has none.
    """
    profiler = importlib.import_module("..litert_c", __package__)  # this package has another name on a device
    session = load(path, threads, bindings)
    return profiler.Profiled(path, threads, session.inputs, bindings["inputs"])


def _describe(detail: dict[str, Any], name: str) -> dict[str, Any]:
    parameters = detail["quantization_parameters"]
    scales = parameters["scales"]
    return {
        "name": name,
        "shape": [int(size) for size in detail["shape"]],
        "dtype": detail["dtype"].__name__,
        "scale": float(scales[0]) if len(scales) == 1 else None,
        "zero_point": int(parameters["zero_points"][0]) if len(scales) == 1 else None,
    }


class Session:
    """One model, allocated, its tensors in the model's order."""

    def __init__(self, interpreter: Any, bindings: Mapping[str, Sequence[str]], delegate: str = "xnnpack") -> None:
        self._delegate = delegate
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if interpreter.get_signature_list():
            runner = interpreter.get_signature_runner()
            inputs = self._order(runner.get_input_details(), inputs, bindings["inputs"])
            outputs = self._order(runner.get_output_details(), outputs, bindings["outputs"])
        self._input_index = [detail["index"] for detail in inputs]
        self._output_index = [detail["index"] for detail in outputs]
        self.inputs = [_describe(detail, detail["name"]) for detail in inputs]
        self.outputs = [_describe(detail, detail["name"]) for detail in outputs]
        self._varies = any(-1 in detail.get("shape_signature", ()) for detail in inputs)
        self._allocated = [tuple(tensor["shape"]) for tensor in self.inputs]
        self._given = [None] * len(inputs)  # type: list[Any]
        self._waiting = False
        self.invoke = self._invoke_resized if self._varies else interpreter.invoke

    @staticmethod
    def _order(by_name: dict[str, Any], plain: list[Any], names: Sequence[str]) -> list[Any]:
        return [by_name[name] for name in names] if all(name in by_name for name in names) and names else plain

    def set_input(self, i: int, array: Any) -> None:
        if self._varies:
            self._given[i] = array
            self._waiting = self._waiting or self._allocated[i] != array.shape
        if not self._waiting:
            self._interpreter.set_tensor(self._input_index[i], array)

    def _invoke_resized(self) -> None:
        """Tensors are allocated anew once all inputs of another size are known, which forgets what was set before."""
        if self._waiting:
            for index, array in zip(self._input_index, self._given):
                self._interpreter.resize_tensor_input(index, array.shape)
            self._interpreter.allocate_tensors()
            self._allocated = [array.shape for array in self._given]
            for index, array in zip(self._input_index, self._given):
                self._interpreter.set_tensor(index, array)
            self._waiting = False
        self._interpreter.invoke()

    def get_output(self, i: int) -> Any:
        return self._interpreter.get_tensor(self._output_index[i])

    def delegation(self) -> dict[str, Any]:
        """Which operators the delegate took: those between a DELEGATE node's inputs and its outputs."""
        describe = getattr(self._interpreter, "_get_ops_details", None)
        if describe is None:
            return {
                "backends": [],
                "operators": None,
                "left": None,
                "because": "this version does not tell its operators",
            }
        nodes = describe()
        taken, partitions = taken_by_delegates(nodes)
        own = [node for node in nodes if node["op_name"] != DELEGATE]
        left = {}  # type: dict[str, int]
        for node in own:
            if node["index"] not in taken:
                left[node["op_name"]] = left.get(node["op_name"], 0) + 1
        backends = [{"name": self._delegate, "operators": len(taken), "partitions": partitions}] if partitions else []
        return {"backends": backends, "operators": len(own), "left": left, "because": None}


DELEGATE = "DELEGATE"


def taken_by_delegates(nodes: Sequence[dict[str, Any]]) -> tuple[set[int], int]:
    """Indices of the operators that delegates execute, and how many partitions they make.

    The interpreter keeps the operators that it handed over, beside the DELEGATE nodes in their place. Each partition is
    what lies between the tensors that its node takes and those that it gives.
    """
    maker = {int(t): node for node in nodes if node["op_name"] != DELEGATE for t in node["outputs"]}
    delegates = [node for node in nodes if node["op_name"] == DELEGATE]
    taken = set()  # type: set[int]
    for delegate in delegates:
        given = {int(t) for t in delegate["inputs"]}
        ahead = [int(t) for t in delegate["outputs"]]
        while ahead:
            tensor = ahead.pop()
            node = maker.get(tensor)
            if tensor in given or node is None or node["index"] in taken:
                continue
            taken.add(node["index"])
            ahead.extend(int(t) for t in node["inputs"])
    return taken, len(delegates)

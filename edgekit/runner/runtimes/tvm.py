"""TVM: shared libraries with a Relax executable in them, as the tvm format compiles them.

A device needs tvm_ffi (the `apache-tvm-ffi` package, or TVM's own copy) and `libtvm_runtime.so`, which is looked for

- where the environment variable TVM_LIBRARY_PATH points (a folder, or several with `:`),
- beside the payload and in tvm_ffi's own folder,
- in the `tvm` package, where that is installed. It is not imported: that takes seconds, and nothing here needs it.

A library may have its function twice, for processors with longer vectors too. The variant that this processor's flags
allow is taken; the environment variable EDGEKIT_TVM_VARIANT names another one (`main` runs everywhere).

Inputs are copied into buffers of our own, aligned as the kernels expect; `invoke` copies nothing.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAME = "tvm"
PACKAGES = ("tvm_ffi",)
WHEELS = ("apache-tvm-ffi",)
PARTS = {"apache-tvm": ("tvm/lib/libtvm_runtime.so", "*.dist-info/METADATA")}
LIBRARIES = {"apache-tvm": ("tvm/lib/libtvm_runtime.so",), "apache-tvm-ffi": ("tvm_ffi/lib/libtvm_ffi.so",)}
LIBRARY = "libtvm_runtime.so"
_ALIGNMENT = 64
_CPU, _POOLED = 1, 2
"""DLPack's number for the CPU, and the VM's for an allocator that keeps buffers for the next call."""
_ALL_CORES = 0
"""TVM's affinity mode that prefers no kind of core."""
_MAIN = "main"
_VARIANT = "EDGEKIT_TVM_VARIANT"
_loaded = {}  # type: dict[str, Any]


def _candidates(payload: str) -> Iterator[str]:
    for folder in os.environ.get("TVM_LIBRARY_PATH", "").split(os.pathsep):
        if folder:
            yield folder
    if payload:
        yield os.path.dirname(os.path.abspath(payload))
    for package in ("tvm_ffi", "tvm"):
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            yield folder
            yield os.path.join(folder, "lib")


def _find(payload: str = "") -> str:
    for folder in _candidates(payload):
        path = os.path.join(folder, LIBRARY)
        if os.path.exists(path):
            return path
    raise ImportError(
        "%s was not found. Install apache-tvm, or set TVM_LIBRARY_PATH to the folder that has it." % LIBRARY
    )


def _version(library: str) -> str | None:
    """The version of the package that the library belongs to; None where it was copied alone."""
    if os.path.basename(os.path.dirname(os.path.dirname(library))) != "tvm":
        return None
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("apache-tvm")
    except PackageNotFoundError:  # the package was copied in place, without metadata
        return None


def probe() -> dict[str, Any]:
    """Which package is used here, and the version of TVM's runtime."""
    import tvm_ffi  # noqa: F401 - raises ImportError where there is none

    return {"package": "tvm_ffi", "version": _version(_find())}


def load(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:
    """A virtual machine over the library at `path`, with `threads` threads.

    The number of threads is the whole process's: TVM has one pool.
    """
    return Session(_machine(path, threads), bindings)


def _machine(path: str, threads: int) -> Any:
    # Pinned threads would share cores with whatever else is pinned to the first ones.
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ["TVM_NUM_THREADS"] = str(threads)
    import tvm_ffi

    library = _find(path)
    if library not in _loaded:
        _loaded[library] = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    tvm_ffi.get_global_func("runtime.config_threadpool")(_ALL_CORES, threads)
    machine = tvm_ffi.load_module(os.path.abspath(path))["vm_load_executable"]()
    machine["vm_initialization"](_CPU, 0, _POOLED)
    return machine


def load_profiled(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Profiled:
    """The same, with an instrument in the virtual machine: its runtime library has no profiler."""
    return Profiled(_machine(path, threads), bindings)


def processor_flags() -> frozenset[str]:
    """What Linux says that this processor can do, and that programs may use; empty on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return frozenset(value.split())
    except OSError:  # not Linux, or not readable here
        pass
    return frozenset()


def _runnable(described: Mapping[str, Any]) -> list[str]:
    """The variants of the model's function that this processor can run, the best one first."""
    flags = processor_flags()
    wide = [variant["function"] for variant in described.get("variants", ()) if flags.issuperset(variant["flags"])]
    return [*wide, _MAIN]


def _aligned(shape: Sequence[int], dtype: str) -> Any:
    """An array of zeros whose data begin at a multiple of `_ALIGNMENT`."""
    import numpy as np

    kind = np.dtype(dtype)
    size = kind.itemsize
    for length in shape:
        size *= length
    room = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(kind).reshape(shape)


def _described(tensor: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {"name": name, "shape": tensor["shape"], "dtype": tensor["dtype"], "scale": None, "zero_point": None}


class Session:
    """One model, its inputs and outputs in the model's order.

    Attributes:
        variants: the variants of the model's function that this processor can run, the best one first.
        variant: the one that `invoke` runs; may be set to another of `variants`.
    """

    def __init__(self, machine: Any, bindings: Mapping[str, Sequence[str]]) -> None:
        import numpy as np
        import tvm_ffi

        text = np.from_dlpack(machine["describe"]()).tobytes()
        described = json.loads(text.decode())
        self.variants = _runnable(described)
        self.variant = os.environ.get(_VARIANT, self.variants[0])
        if self.variant not in self.variants:
            raise ValueError("%s is %s; this library has %s here" % (_VARIANT, self.variant, ", ".join(self.variants)))
        ordered = [
            self._order(described[side], bindings.get(side) or [tensor["name"] for tensor in described[side]])
            for side in ("inputs", "outputs")
        ]
        self.inputs, self.outputs = ordered
        position = {tensor["name"]: i for i, tensor in enumerate(described["inputs"])}
        self._output_index = [
            [tensor["name"] for tensor in described["outputs"]].index(tensor["name"]) for tensor in self.outputs
        ]
        self._buffers = [_aligned(tensor["shape"], tensor["dtype"]) for tensor in described["inputs"]]
        self._input_index = [position[tensor["name"]] for tensor in self.inputs]
        self._arguments = [tvm_ffi.from_dlpack(buffer) for buffer in self._buffers]
        self._machine = machine  # the functions below do not keep it alive
        self._functions = {name: machine[name] for name in self.variants}
        self._results = None  # type: Any

    @staticmethod
    def _order(tensors: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
        by_name = {tensor["name"]: tensor for tensor in tensors}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ValueError("the library has no tensor %s; it has %s" % (unknown[0], ", ".join(by_name)))
        return [_described(by_name[name], name) for name in names]

    def set_input(self, i: int, array: Any) -> None:
        import numpy as np

        np.copyto(self._buffers[self._input_index[i]], array, casting="no")

    def invoke(self) -> None:
        self._results = self._functions[self.variant](*self._arguments)

    def get_output(self, i: int) -> Any:
        import numpy as np

        results = self._results
        if hasattr(results, "__dlpack__"):
            results = [results]
        return np.from_dlpack(results[self._output_index[i]])

    def delegation(self) -> dict[str, Any]:
        return {
            "backends": [],
            "operators": None,
            "left": None,
            "because": "TVM compiles all of a model, and delegates nothing",
        }


class Profiled(Session):
    """A session whose virtual machine calls back before and after every function that it calls."""

    def __init__(self, machine: Any, bindings: Mapping[str, Sequence[str]]) -> None:
        super().__init__(machine, bindings)
        self._calls = []  # type: list[tuple[str, int, int]]
        self._open = []  # type: list[int]
        self._number = 0

    def invoke(self) -> None:
        self._number = 0
        super().invoke()

    def profile_begin(self) -> None:
        self._machine["set_instrument"](self._instrument)

    def _instrument(self, _function: Any, name: str, before: Any, _result: Any, *_arguments: Any) -> int:
        now = time.perf_counter_ns()
        if before:
            self._open.append(time.perf_counter_ns())
        else:
            self._calls.append((str(name), self._number, now - self._open.pop()))
            self._number += 1
        return 0

    def profile_end(self) -> tuple[str, list[tuple[Any, str, str, float]]]:
        suffix = self.variant[len(_MAIN) :]
        found = []
        for name, number, ns in self._calls:
            if name.startswith("vm.builtin."):
                continue
            short = name[: -len(suffix)] if suffix and name.endswith(suffix) else name
            found.append(((number, name), short, short.rstrip("0123456789"), float(ns)))
        return "TVM's instrument of its virtual machine, whose own memory management is left out", found

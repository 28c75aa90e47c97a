"""ExecuTorch: `.pte` on Linux and macOS, through the `executorch` package and the XNNPACK backend in it."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "executorch"
PACKAGES = ("executorch",)
METHOD = "forward"
_DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}
"""By the number of a ScalarType."""


def probe() -> dict[str, Any]:
    """The version of the package, and the backends in it."""
    from importlib.metadata import version

    from executorch.runtime import Runtime

    backends = sorted(Runtime.get().backend_registry.registered_backend_names)
    return {"package": "executorch", "version": version("executorch"), "backends": backends}


def load(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:
    """The method `forward` of the program at `path`.

    `threads` is a setting of the whole process: XNNPACK takes its threads from one pool, which is made anew here if it
    has another size. A program that was loaded before must not be run after that.

    Raises:
        ValueError: the file is damaged, or no program; or it has another number of inputs than `bindings` names.
        RuntimeError: this runtime cannot set the number of threads, or has no kernel or backend for the program.
    """
    return Session(*_program(path, threads), bindings, path)


def load_profiled(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Profiled:
    """The same, which writes an ETDump.

    Raises:
        LookupError: the package's devtools, which read it, are not there.
    """
    try:
        import executorch.devtools  # noqa: F401 - they need packages that a device may lack
    except ImportError as error:
        raise LookupError("ExecuTorch's devtools, which read its profiles, cannot be imported: %s" % error) from error
    return Profiled(*_program(path, threads, enable_etdump=True), bindings, path)


def _program(path: str, threads: int, **options: Any) -> tuple[Any, Any]:
    from executorch.runtime import Runtime

    _set_threads(threads)
    try:
        program = Runtime.get().load_program(path, **options)
    except RuntimeError as error:
        raise ValueError("%s is no ExecuTorch program, or is damaged: %s" % (path, error)) from error
    if METHOD not in program.method_names:
        raise ValueError("%s has no method %r, but %s" % (path, METHOD, ", ".join(sorted(program.method_names))))
    try:
        return program, program.load_method(METHOD)
    except RuntimeError as error:
        raise RuntimeError(
            "executorch cannot load %s: %s (its backends: %s; what it printed says which kernel is missing)"
            % (path, error, ", ".join(Runtime.get().backend_registry.registered_backend_names))
        ) from error


def _set_threads(threads: int) -> None:
    from executorch.extension.pybindings import portable_lib

    count = getattr(portable_lib, "_threadpool_get_thread_count", None)
    reset = getattr(portable_lib, "_unsafe_reset_threadpool", None)
    if count is None or reset is None:
        raise RuntimeError("this version of executorch cannot set the number of threads; 1.0 and newer can")
    if count() != threads:
        reset(threads)
    if count() != threads:
        raise RuntimeError("executorch runs with %d threads, and %d were asked for" % (count(), threads))


class Session:
    """One method. Its inputs and outputs are those of the model, never quantized."""

    def __init__(self, program: Any, method: Any, bindings: Mapping[str, Sequence[str]], path: str) -> None:
        self._path = path
        self._program = program  # owns the memory that the method reads
        self._method = method
        meta = program.metadata(METHOD)
        counts = (meta.num_inputs(), meta.num_outputs())
        if counts != (len(bindings["inputs"]), len(bindings["outputs"])):
            raise ValueError("the program has %d inputs and %d outputs, other than its manifest says" % counts)
        self.inputs = [_describe(meta.input_tensor_meta(i), name) for i, name in enumerate(bindings["inputs"])]
        self.outputs = [_describe(meta.output_tensor_meta(i), name) for i, name in enumerate(bindings["outputs"])]
        self._arguments = [None] * counts[0]  # type: list[Any]
        self._results = ()  # type: Sequence[Any]

    def set_input(self, i: int, array: Any) -> None:
        import torch

        self._arguments[i] = torch.from_numpy(array.copy())  # NumPy arrays of the caller may be read-only

    def invoke(self) -> None:
        self._results = self._method.execute(self._arguments)

    def get_output(self, i: int) -> Any:
        return self._results[i].numpy()

    def delegation(self) -> dict[str, Any]:
        """What the exporter handed to backends, as the program's file tells."""
        told: dict[str, Any] = importlib.import_module("..executorch_program", __package__).delegation(self._path)
        return told


class Profiled(Session):
    """A session whose program records every operator, those within a backend included if the backend tells."""

    def __init__(self, program: Any, method: Any, bindings: Mapping[str, Sequence[str]], path: str) -> None:
        super().__init__(program, method, bindings, path)
        self._runs = self._before = 0

    def invoke(self) -> None:
        self._runs += 1
        super().invoke()

    def profile_begin(self) -> None:
        self._before = self._runs

    def profile_end(self) -> tuple[str, list[tuple[Any, str, str, float]]]:
        from executorch.devtools import Inspector

        folder = tempfile.mkdtemp(prefix="edgekit-profile-")
        try:
            dump, debug = os.path.join(folder, "etdump"), os.path.join(folder, "debug")
            self._program.write_etdump_result_to_file(dump, debug)
            blocks = [block for block in Inspector(etdump_path=dump).event_blocks if block.name == "Execute"]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found = []
        for block in blocks:
            whole = any(event.is_delegated_op for event in block.events)
            for number, event in enumerate(block.events):
                if event.name.startswith("Method::") or (event.name == "DELEGATE_CALL" and whole):
                    continue  # wholes, of which the parts are there as well
                taken = event.perf_data.raw if event.perf_data is not None else []
                kind = event.name.split(" (")[0].split(" #")[0]
                found += [(number, event.name, kind, 1e6 * ms) for ms in taken[self._before :]]
        return "ExecuTorch's ETDump, XNNPACK's operators in whole microseconds", found


def _describe(info: Any, name: str) -> dict[str, Any]:
    number = int(info.dtype())
    if number not in _DTYPES:
        raise ValueError("tensor %s has the scalar type %d, which NumPy does not know" % (name, number))
    shape = [int(size) for size in info.sizes()]
    return {"name": name, "shape": shape, "dtype": _DTYPES[number], "scale": None, "zero_point": None}

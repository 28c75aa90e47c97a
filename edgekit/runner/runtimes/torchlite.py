"""PyTorch's lite interpreter: `.ptl` on Linux and macOS, through the `torch` package.

A `.ptl` contains code, so it is loaded only if EdgeKit wrote it: the file `extra/edgekit.json` in it, which also says
what the interpreter itself does not know: shapes, dtypes, whether it is quantized. Quantized weights are packed while
loading, for the engine selected at that moment: fbgemm on x86, qnnpack elsewhere.
"""

from __future__ import annotations

import json
import platform
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "torchlite"
PACKAGES = ("torch",)
TENSORS = "edgekit.json"


def probe() -> dict[str, Any]:
    """The version of torch, and the engine that quantized operators use."""
    import torch

    return {"package": "torch", "version": str(torch.__version__), "engine": _engine()}


def _engine() -> str:
    """The engine that suits this machine.

    Others are not taken: onednn ends the process with a segmentation fault in dynamically quantized layers (torch
    2.13), and "none" has no kernels.
    """
    import torch

    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686", "i386")
    supported = torch.backends.quantized.supported_engines
    for name in ("fbgemm", "qnnpack") if x86 else ("qnnpack",):
        if name in supported:
            return name
    return "none"


def load(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Session:  # noqa: ARG001 - its own say
    """The module in the file at `path`. `threads` is a setting of the whole process.

    Raises:
        ValueError: the file is damaged, or EdgeKit did not write it.
        RuntimeError: this torch cannot execute it, for instance because it has no engine for quantized operators.
    """
    return Session(*_module(path, threads))


def _module(path: str, threads: int) -> tuple[Any, dict[str, Any]]:
    import torch
    from torch.jit.mobile import _load_for_lite_interpreter

    tensors = _tensors(path)
    torch.set_num_threads(threads)
    engine = _engine()
    if engine != "none":
        torch.backends.quantized.engine = engine
    elif tensors["quantized"]:
        raise RuntimeError(
            "%s is quantized, and torch %s on this %s has no engine for that: it lists %s"
            % (path, torch.__version__, platform.machine(), ", ".join(torch.backends.quantized.supported_engines))
        )
    try:
        module = _load_for_lite_interpreter(path)
    except RuntimeError as error:
        first = (str(error).strip() or "no reason given").splitlines()[0]
        raise RuntimeError("torch %s cannot load %s: %s" % (torch.__version__, path, first)) from error
    return module, tensors


def load_profiled(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> Profiled:  # noqa: ARG001 - as `load`
    """The same, under PyTorch's own profiler."""
    return Profiled(*_module(path, threads))


def _tensors(path: str) -> dict[str, Any]:
    """What EdgeKit wrote of inputs and outputs. The checksums of all that is in the file are checked on the way."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise ValueError("%s is damaged: the checksum of %s does not fit" % (path, damaged))
            written = [name for name in archive.namelist() if name.endswith("/extra/" + TENSORS)]
            if len(written) == 1:
                return dict(json.loads(archive.read(written[0]).decode("utf-8")))
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ValueError("%s is not a .ptl file, or is damaged: %s" % (path, error)) from error
    raise ValueError(
        "%s was not written by EdgeKit: it has no extra/%s. A .ptl contains code, so others are not loaded"
        % (path, TENSORS)
    )


def _describe(tensor: dict[str, Any]) -> dict[str, Any]:
    return dict(tensor, scale=None, zero_point=None)


class Session:
    """One module. Its inputs and outputs are float32 or what the model takes, never quantized."""

    def __init__(self, module: Any, tensors: dict[str, Any]) -> None:
        self.inputs = [_describe(tensor) for tensor in tensors["inputs"]]
        self.outputs = [_describe(tensor) for tensor in tensors["outputs"]]
        self._module = module
        self._arguments = [None] * len(self.inputs)  # type: list[Any]
        self._results = ()  # type: Sequence[Any]

    def set_input(self, i: int, array: Any) -> None:
        import torch

        self._arguments[i] = torch.from_numpy(array.copy())  # NumPy arrays of the caller may be read-only

    def invoke(self) -> None:
        import torch

        with torch.inference_mode():
            results = self._module(*self._arguments)
        self._results = results if isinstance(results, (tuple, list)) else (results,)

    def get_output(self, i: int) -> Any:
        return self._results[i].numpy()

    def delegation(self) -> dict[str, Any]:
        return {"backends": [], "operators": None, "left": None, "because": "the lite interpreter has no delegates"}


class Profiled(Session):
    """A session under `torch.profiler`, which names ATen's operators; they are told apart by their turn in a run."""

    _profiler = None  # type: Any
    _runs = 0

    def invoke(self) -> None:
        self._runs += 1
        super().invoke()

    def profile_begin(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        self._runs = 0
        self._profiler = profile(activities=[ProfilerActivity.CPU])
        self._profiler.__enter__()

    def profile_end(self) -> tuple[str, list[tuple[Any, str, str, float]]]:
        self._profiler.__exit__(None, None, None)
        by_name = {}  # type: dict[str, list[float]]
        for event in self._profiler.events():
            by_name.setdefault(event.name, []).append(1000.0 * event.self_cpu_time_total)
        found = []
        for name, calls in by_name.items():
            turns = max(1, len(calls) // max(1, self._runs))
            for i, ns in enumerate(calls):
                label = "%s #%d" % (name, i % turns + 1) if turns > 1 else name
                found.append(((name, i % turns), label, name, ns))
        return "torch.profiler, each operator without those that it calls", found

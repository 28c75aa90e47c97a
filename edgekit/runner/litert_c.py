"""LiteRT's own profiler, through the C functions of libLiteRt.so: the Python interpreter has none.

It is the library of the ai-edge-litert package that also has the interpreter, and it applies XNNPACK likewise; but it
is another interface to it ("compiled model"), so what is timed here may differ a little from the interpreter.
Its clock ticks in microseconds: an operator that takes less counts as nothing, most of the time.

Written for 2.2 and 2.3, like the native runner, whose declarations these are (runtime_litert.c).
"""

from __future__ import annotations

import ctypes as c
import importlib.util
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_CPU, _READ, _WRITE = 1, 0, 1
_OPERATOR, _DELEGATE_OPERATOR, _DELEGATE_PROFILED = 2, 4, 8
"""Kinds of events: an operator; a delegate's whole partition; an operator within one."""
_SIZE = c.c_size_t
_Release = c.CFUNCTYPE(None, c.c_void_p)


class _TensorType(c.Structure):
    _fields_ = [
        ("element", c.c_int), ("rank", c.c_uint), ("sizes", c.c_int32 * 8), ("strides", c.c_uint32 * 8)
    ]  # fmt: skip


class _Event(c.Structure):
    _fields_ = [
        ("tag", c.c_char_p), ("kind", c.c_int), ("start_us", c.c_uint64), ("us", c.c_uint64),
        ("memory", c.c_size_t * 6), ("index", c.c_uint64), ("subgraph", c.c_uint64), ("source", c.c_int),
    ]  # fmt: skip


def library() -> Any:
    """The library.

    Raises:
        LookupError: there is none, or it has no profiler.
    """
    spec = importlib.util.find_spec("ai_edge_litert")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = os.path.join(folders[0], "libLiteRt.so") if folders else ""
    if not os.path.exists(path):
        raise LookupError("LiteRT's profiler is in libLiteRt.so of the ai-edge-litert package, which is not here")
    loaded = c.CDLL(path)
    for name in ("LiteRtCompiledModelGetProfiler", "LiteRtGetProfilerEvents", "LiteRtCreateOpaqueOptions"):
        if not hasattr(loaded, name):
            raise LookupError("%s has no function %s: LiteRT 2.2 or newer has a profiler" % (path, name))
    return loaded


class Profiled:
    """One model with its profiler on. `inputs` are the interpreter's descriptions, in the model's order."""

    def __init__(self, path: str, threads: int, inputs: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
        self.inputs = list(inputs)
        self._library = library()
        self._released = _Release(lambda _: None)
        self._texts = []  # type: list[Any]
        environment = self._new("CreateEnvironment", 0, None)
        model = self._new("CreateModelFromFile", environment, os.fsencode(path))
        options = self._new("CreateOptions")
        self._call("SetOptionsHardwareAccelerators", options, _CPU)
        self._set(options, b"xnnpack", b"num_threads = %d\n" % threads)
        self._set(options, b"runtime_options_string", b"enable_profiling = true\n")
        self._compiled = self._new("CreateCompiledModel", environment, model, options)
        self._profiler = self._new("CompiledModelGetProfiler", self._compiled)
        signature = self._new("GetModelSignature", model, _SIZE(0))
        self._in, known = self._buffers(environment, signature, "Input")
        self._out, _ = self._buffers(environment, signature, "Output")
        self._positions = [known.index(name) for name in names] if set(names) <= set(known) else list(range(len(known)))

    def set_input(self, i: int, array: Any) -> None:
        buffer, memory = self._in[self._positions[i]], c.c_void_p()
        self._call("LockTensorBuffer", c.c_void_p(buffer), c.byref(memory), _WRITE)
        c.memmove(memory, array.ctypes.data, array.nbytes)
        self._call("UnlockTensorBuffer", c.c_void_p(buffer))

    def invoke(self) -> None:
        self._call(
            "RunCompiledModel",
            self._compiled,
            _SIZE(0),
            _SIZE(len(self._in)),
            self._in,
            _SIZE(len(self._out)),
            self._out,
        )

    def profile_begin(self) -> None:
        self._call("StartProfiler", self._profiler)

    def profile_end(self) -> tuple[str, list[tuple[Any, str, str, float]]]:
        self._call("StopProfiler", self._profiler)
        count = c.c_int()
        self._call("GetNumProfilerEvents", self._profiler, c.byref(count))
        events = (_Event * count.value)()
        self._call("GetProfilerEvents", self._profiler, count, events)
        wanted = _OPERATOR | _DELEGATE_PROFILED
        found = []
        for event in events:
            if event.kind & wanted:
                name = (event.tag or b"?").decode("utf-8", "replace")
                key = (event.kind, event.subgraph, event.index, name)
                found.append((key, name, name.split(" (")[0], event.us * 1000.0))
        return "LiteRT's profiler, in whole microseconds", found

    def _buffers(self, environment: Any, signature: Any, side: str) -> tuple[Any, list[str]]:
        count = _SIZE()
        self._call("GetNumSignature%ss" % side, signature, c.byref(count))
        buffers, names = [], []
        for i in range(count.value):
            kind = _TensorType()
            tensor = self._new("GetSignature%sTensorByIndex" % side, signature, _SIZE(i))
            name = c.c_char_p()
            self._call("GetSignature%sName" % side, signature, _SIZE(i), c.byref(name))
            self._call("GetRankedTensorType", tensor, c.byref(kind))
            needs = self._new("GetCompiledModel%sBufferRequirements" % side, self._compiled, _SIZE(0), _SIZE(i))
            made = self._new("CreateManagedTensorBufferFromRequirements", environment, c.byref(kind), needs)
            buffers.append(made)
            names.append((name.value or b"").decode())
        return (c.c_void_p * len(buffers))(*buffers), names

    def _set(self, options: Any, identifier: bytes, text: bytes) -> None:
        self._texts.append(c.create_string_buffer(text))  # the library keeps the pointer
        payload = c.cast(self._texts[-1], c.c_void_p)
        self._call("AddOpaqueOptions", options, self._new("CreateOpaqueOptions", identifier, payload, self._released))

    def _new(self, name: str, *arguments: Any) -> c.c_void_p:
        made = c.c_void_p()
        self._call(name, *arguments, c.byref(made))
        return made

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, "LiteRt" + name)(*arguments)
        if status:
            raise LookupError("LiteRT's profiler cannot be used: LiteRt%s gave status %d" % (name, status))

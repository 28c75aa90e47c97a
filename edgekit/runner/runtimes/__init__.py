"""Runtimes: one module each. A runtime module needs no base class; it defines

    NAME = "litert"                     what artifacts name
    PACKAGES = ("ai_edge_litert", ...)  import names, best first; told to a user whose device has none of them
    WHEELS = ("ai-edge-litert",)        what `edgekit provision` installs; PACKAGES[0] with dashes where it is left out
    PARTS = {"apache-tvm": (...)}       optional: wheels of which a Python needs these files only
    LIBRARIES = {"ai-edge-litert": (...)}   optional: the files of wheels that do without any Python
    def probe() -> dict                 {"package": ..., "version": ...}; raises ImportError where there is none
    def load(path, threads, bindings) -> session

A session has `inputs` and `outputs` (lists of dicts with name, shape, dtype, scale, zero_point),
`set_input(i, array)`, `invoke()` and `get_output(i)`. Where a payload takes more than one size, a sample may have
another than the last one: all inputs are set before `invoke`, and `shape` holds nominal sizes, or None. Arrays are in
the dtype that the payload stores; `edgekit.runner.session` converts. A module uses the standard library and its own
runtime only: it is copied to the device alone. `bindings` is `{"inputs": [names], "outputs": [names]}`: how the payload
itself calls the model's inputs and outputs, in the model's order.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def find(name: str) -> ModuleType:
    """The runtime module of that name, among the modules packed beside this one."""
    return importlib.import_module("." + name, __name__)

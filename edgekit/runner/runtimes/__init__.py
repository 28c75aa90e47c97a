"""Runtimes: one module each. A runtime module needs no base class; it defines

    NAME = "litert"                     what artifacts name
    PACKAGES = ("ai_edge_litert", ...)  import names, best first; told to a user whose device has none of them
    WHEELS = ("ai-edge-litert",)        what `edgekit provision` installs; PACKAGES[0] with dashes where it is left out
    PARTS = {"apache-tvm": (...)}       optional: wheels of which a Python needs these files only
    LIBRARIES = {"ai-edge-litert": (...)}   optional: the files of wheels that do without any Python
    def probe() -> dict                 {"package": ..., "version": ...}; raises ImportError where there is none
    def load(path, threads, bindings) -> session
    def load_with(delegate, path, threads, bindings) -> session     optional: where there is a choice
    def load_profiled(path, threads, bindings) -> session           optional: see edgekit/runner/profile.py
    NO_PROFILE = "..."                  optional: why there is no profile

A session has `inputs` and `outputs` (lists of dicts with name, shape, dtype, scale, zero_point),
`set_input(i, array)`, `invoke()` and `get_output(i)`. Where a payload takes more than one size, a sample may have
another than the last one: all inputs are set before `invoke`, and `shape` holds nominal sizes, or None. Arrays are in
the dtype that the payload stores; `edgekit.runner.session` converts. A module uses the standard library, its own
runtime and this package only: it is copied to the device alone. `bindings` is `{"inputs": [names], "outputs":
[names]}`: how the payload itself calls the model's inputs and outputs, in the model's order.

A session of a runtime that has delegates defines `delegation()`: a dict of `backends` (a list of name, operators,
partitions), `operators` (all there are), `left` (type → how many no backend took) and `because` (why any is None).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def find(name: str) -> ModuleType:
    """The runtime module of that name, among the modules packed beside this one."""
    return importlib.import_module("." + name, __name__)

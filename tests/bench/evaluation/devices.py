"""Runtimes on a device that are fast and wrong, killed or hung: the real runner, with a LiteRT that is tampered with.

A target's `python` is a program that puts a `sitecustomize` before the real interpreter, which patches LiteRT's when
that is imported. So the protocol, the golden check and all that surrounds them are the real ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from edgekit.devices import Target

_PATCH = """
import builtins, os, signal, sys, time
real_import = builtins.__import__


def patched_import(name, *args, **kwargs):
    module = real_import(name, *args, **kwargs)
    litert = sys.modules.get("ai_edge_litert.interpreter")
    if litert is not None and hasattr(litert, "Interpreter") and not hasattr(litert, "tampered"):
        litert.tampered = True
        tamper(litert.Interpreter)
    return module


def tamper(interpreter):
    load, put, run, get = interpreter.__init__, interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor

    def init(self, model_path=None, **more):
        load(self, model_path=model_path, **more)
        self.applies = os.path.getsize(model_path) {applies}
        self.seen, self.number = {{}}, 0

    def set_tensor(self, index, array):
        self.number = self.seen.setdefault(array.tobytes(), len(self.seen))
        put(self, index, array)

    def invoke(self):
        if self.applies:
            {invoke}
        run(self)

    def get_tensor(self, index):
        array = get(self, index)
        if self.applies:
            {answer}
        return array

    interpreter.__init__, interpreter.set_tensor = init, set_tensor
    interpreter.invoke, interpreter.get_tensor = invoke, get_tensor


builtins.__import__ = patched_import
"""


def tampered(
    target: Target, folder: Path, *, invoke: str = "pass", answer: str = "pass", applies: str = "> 0"
) -> Target:
    """The target with a tampered LiteRT.

    Args:
        target: whose device runs this machine's files.
        folder: for the program.
        invoke: a statement before each inference; `self.number` counts the inputs that were seen, from 0.
        answer: a statement that may replace `array`, an output.
        applies: a condition on the size of the model's file, such as "< 100000".
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_PATCH.format(invoke=invoke, answer=answer, applies=applies))
    program = folder / "python"
    program.write_text(f"#!/bin/sh\nPYTHONPATH='{folder}' exec '{sys.executable}' \"$@\"\n")
    program.chmod(0o755)
    return msgspec.structs.replace(target, python=str(program), runner="python")


WRONG_AFTER_GOLDEN = "array = array[..., ::-1].copy() if self.number >= 8 else array"
"""Right on the eight golden inputs, and wrong on all others."""

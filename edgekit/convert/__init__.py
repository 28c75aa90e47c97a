"""The converter chain: a model and recipes in, proven artifacts out.

load        which model is meant, what belongs to it, whether it may be executed
sources/    one module a kind of source: how to run it for reference, and how to export it for the formats
formats/    one module a format: what it accepts, which precisions it has, how it converts
chain       checks what is asked for, publishes what comes of it, keeps to an accuracy budget
building    the steps that an artifact needs, from the cache or in a worker, under the hash of all that can change them
cache       results of steps and artifacts, believed only whole
workers     worker processes: their log, their bounds, their end; `memory` says when there is room for one
worker      what runs in one: the steps
prove       parity and accuracy of a payload against its source, golden inputs and outputs
budget      an accuracy budget: which layers are to blame, how few must stay in floating point

The package itself can be called: `edgekit.convert("models/digits_cnn", ["tflite:int8"])`, see `edgekit.convert.sdk`.
"""

import sys
from types import ModuleType
from typing import Any

from edgekit.convert.building import DONE, Bounds
from edgekit.convert.chain import Outcome, convert
from edgekit.convert.load import ModelRef, find_model

__all__ = ["DONE", "Bounds", "ModelRef", "Outcome", "convert", "find_model"]


class _CallablePackage(ModuleType):
    """`edgekit.convert` names this package, and what a script wants to call; a package can be both."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        from edgekit.convert.sdk import convert_model

        return convert_model(*args, **keywords)


sys.modules[__name__].__class__ = _CallablePackage

"""What each MIL operator computes: one small function each, grouped by kind.

A function has the operator's name and takes its inputs by MIL's names, as `edgekit.convert.mil.values` describes
them: tensors of float32, int64 or bool, strings, and lists of tensors. It returns a tensor, or a tuple of them for an
operator with more than one output. Optional inputs have the defaults of MIL's documentation; a parameter that only
later versions of an operator have is optional too, so one function serves all versions. It does not care for the
declared dtype: the evaluator rounds.

Each module ends in a table of its operators; `table` joins them.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

from edgekit.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES = (
    "activations",
    "arithmetic",
    "compression",
    "convolution",
    "creation",
    "indexing",
    "lists",
    "matrices",
    "normalisation",
    "ordering",
    "pooling",
    "recurrent",
    "reductions",
    "resizing",
    "shapes",
    "slicing",
)
CONTROL_FLOW = ("cond", "while_loop")
"""Computed by the evaluator itself: they hold blocks of operators."""


@cache
def table() -> dict[str, Callable[..., Any]]:
    """All operators by MIL's name.

    Raises:
        PluginError: two modules define the same operator.
    """
    joined: dict[str, Callable[..., Any]] = {}
    for name in MODULES:
        operators: dict[str, Callable[..., Any]] = importlib.import_module(f"{__name__}.{name}").OPERATORS
        twice = sorted(joined.keys() & operators.keys())
        if twice:
            raise PluginError(f"{name} defines operators that another module has: {', '.join(twice)}.")
        joined.update(operators)
    return joined


@cache
def known() -> frozenset[str]:
    """The names of all operators that a program may use."""
    return frozenset([*table(), *CONTROL_FLOW, "const"])

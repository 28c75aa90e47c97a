"""One library for two processors: the kernels a second time, with longer vectors, beside those that run everywhere.

A module has the function `main`. `with_variant` adds another one of the same signature, `main_x86_64_v4`, that calls
kernels of its own, which are compiled for a processor with AVX-512. The weights, packed for the longer vectors and read
by both, are in the file once. The description names the function and the flags of a processor that can run it; the
runtime looks for them when it loads the file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.graph import Rewriter, op_name

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine


@dataclass(frozen=True)
class Variant:
    """What a module has a second time.

    Args:
        machine: what it is compiled for.
        function: its name for what is `main` otherwise.
        kernels: the names of its kernels.
    """

    machine: Machine
    function: str
    kernels: frozenset[str]

    def imitated(self) -> Variant:
        """The same, with code that runs on this machine."""
        return replace(self, machine=self.machine.imitated())

    @property
    def description(self) -> dict[str, Any]:
        """How the module describes it: `{"function", "cpu", "flags"}`."""
        return {"function": self.function, "cpu": self.machine.cpu, "flags": list(self.machine.flags)}


def with_variant(module: Any, other: Any, machine: Machine) -> tuple[Any, Variant]:
    """A scheduled module, and beside its functions those of another one, scheduled for `machine`.

    Returns:
        (the module with both, what was added)
    """
    import tvm
    from tvm import relax, tirx

    suffix = "_" + machine.cpu.replace("-", "_")
    added: dict[Any, Any] = {}

    def renamed(rewriter: Rewriter, call: Any) -> Any:
        if op_name(call) != "call_tir":
            return None
        kernel, *arguments = call.args
        if kernel not in added:
            name = kernel.name_hint + suffix
            added[kernel] = rewriter.builder.add_func(other[kernel].with_attr("global_symbol", name), name)
        return relax.Call(call.op, [added[kernel], *arguments], call.attrs, call.ty_args)

    made = Rewriter(renamed).run(tvm.IRModule({"main": other["main"]}))
    theirs = {name: function for name, function in made.functions.items() if isinstance(function, tirx.PrimFunc)}
    function = "main" + suffix
    functions = {
        **dict(module.functions.items()),
        **theirs,
        function: made["main"].with_attr("global_symbol", function),
    }
    names = frozenset(str(name.name_hint) for name in theirs)
    return tvm.IRModule(functions, attrs=module.attrs), Variant(machine, function, names)

"""TVM that is worth running: from a model's graph to code for one CPU, by schedules written here.

TVM's default pipeline leaves loops as the operators' definitions have them, and its tuner takes hours on a small
machine. This package replaces both by knowledge of a few kernels:

    importing       PyTorch programs and ONNX files to Relax
    simplify        fewer and plainer operators; constants folded with numpy
    channels_last   images as NHWC, transpositions moved out of the way
    views           reshapes merged and moved behind what follows; 1×1 convolutions become matrix products
    lowering        operators to `kernels`, weights packed for their tiles (`tiles`) in their stored dtype (`storage`)
    schedules       loops to registers, vectors and threads, by the `machine`'s registers
    fast_math       exp, erf, tanh, sigmoid as arithmetic
    variants        the kernels a second time, for processors with longer vectors
    pipeline        the order of all that, and code generation
    linking         a shared library, for this machine's triple or another
    description     what the library says of itself

Every step is a rewrite that leaves the function what it was; the format's proof compares the result with its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.description import kernels_of, tensors_of, with_description
from edgekit.convert.tvm.pipeline import build, plain, prepare
from edgekit.convert.tvm.schedules import Scheduled, schedule
from edgekit.convert.tvm.storage import Storage
from edgekit.convert.tvm.variants import Variant, with_variant

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine


@dataclass(frozen=True)
class Compiled:
    """A scheduled module, before code generation.

    Args:
        module: Relax and TIR.
        inputs, outputs: name, shape and dtype of each, in the model's order.
        scheduled: what each kernel got.
        variant: what the module has a second time, for a wider machine; None of most.
    """

    module: Any
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    scheduled: tuple[Scheduled, ...]
    variant: Variant | None = None

    def build(self, machine: Machine) -> Any:
        """Code for a machine with the registers that the module was scheduled for, or one made to imitate it."""
        variant = self.variant
        if variant is not None and variant.machine.triple != machine.triple:
            variant = variant.imitated()
        return build(self.module, machine, variant)


def compile_module(module: Any, machine: Machine, stored: str = "float32", wider: Machine | None = None) -> Compiled:
    """From an imported module to scheduled kernels.

    Args:
        module: from `importing`.
        machine: whose registers the kernels are made for.
        stored: the dtype of stored weights: "float32", "float16" or "int8".
        wider: another machine that the kernels are made for too, to be chosen when the library is loaded.
    """
    inputs, outputs = tensors_of(module)
    graph, storage = plain(module), Storage(stored)
    fused = prepare(graph, machine, storage, wider)
    scheduled, what = schedule(fused, machine)
    variant = None
    if wider is not None:
        other, _ = schedule(prepare(graph, wider, storage), wider)
        scheduled, variant = with_variant(scheduled, other, wider)
    description = {
        "target": f"{machine.triple} {machine.cpu}",
        "inputs": inputs,
        "outputs": outputs,
        "variants": [] if variant is None else [variant.description],
        "kernels": kernels_of(fused, what),
    }
    return Compiled(with_description(scheduled, description), inputs, outputs, what, variant)


__all__ = ["Compiled", "compile_module"]

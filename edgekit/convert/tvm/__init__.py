"""TVM that is worth running: from a model's graph to code for one CPU, by schedules written here.

TVM's default pipeline leaves loops as the operators' definitions have them, and its tuner takes hours on a small
machine. This package replaces both by knowledge of a few kernels:

    importing       PyTorch programs and ONNX files to Relax
    simplify        fewer and plainer operators; constants folded with numpy
    channels_last   images as NHWC, transpositions moved out of the way
    views           reshapes merged and moved behind what follows; 1×1 convolutions become matrix products
    lowering        operators to `kernels`, weights packed for their tiles (`tiles`) in their stored dtype (`storage`)
    tuning          tiles measured instead of estimated, within a bound, and remembered
    schedules       loops to registers, vectors and threads, by the `machine`'s registers
    fast_math       exp, erf, tanh, sigmoid as arithmetic
    quantization    which operators are computed in integers, and how their activations are quantized
    calibration     what ranges activations have
    variants        the kernels a second time, for processors with longer vectors
    pipeline        the order of all that, and code generation
    linking         a shared library, for this machine's triple or another
    description     what the library says of itself

Every step is a rewrite that leaves the function what it was; the format's proof compares the result with its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.calibration import calibrated
from edgekit.convert.tvm.description import kernels_of, tensors_of, with_description
from edgekit.convert.tvm.machine import machine_for
from edgekit.convert.tvm.pipeline import build, plain, prepare
from edgekit.convert.tvm.schedules import Scheduled, schedule
from edgekit.convert.tvm.storage import SMALLEST, Storage
from edgekit.convert.tvm.tuning import Tuned, products_of
from edgekit.convert.tvm.variants import Variant, with_variant

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    import numpy as np

    from edgekit.convert.tvm.machine import Machine
    from edgekit.convert.tvm.quantization import Activation
    from edgekit.convert.tvm.tiles import Product


@dataclass(frozen=True)
class Compiled:
    """A scheduled module, before code generation.

    Args:
        module: Relax and TIR.
        inputs, outputs: name, shape and dtype of each, in the model's order.
        scheduled: what each kernel got.
        variant: what the module has a second time, for a wider machine; None of most.
        integers: how many calls are computed in integers.
        tuned: what was measured.
    """

    module: Any
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    scheduled: tuple[Scheduled, ...]
    variant: Variant | None = None
    integers: int = 0
    tuned: Tuned | None = None

    def build(self, machine: Machine) -> Any:
        """Code for a machine with the registers that the module was scheduled for, or one made to imitate it."""
        variant = self.variant
        if variant is not None and variant.machine.triple != machine.triple:
            variant = variant.imitated()
        return build(self.module, machine, variant)


def compile_module(
    module: Any,
    machine: Machine,
    stored: str = "float32",
    wider: Machine | None = None,
    calibration: Mapping[str, np.ndarray] | None = None,
    tuning: Callable[[Counter[Product], Machine], Tuned] | None = None,
) -> Compiled:
    """From an imported module to scheduled kernels.

    Args:
        module: from `importing`.
        machine: whose registers the kernels are made for.
        stored: the dtype of stored weights: "float32", "float16" or "int8".
        wider: another machine that the kernels are made for too, to be chosen when the library is loaded.
        calibration: by input, `(n, *shape)`, in the model's order: activations are quantized too, and what takes
            integers is computed in them. Weights must be stored in int8.
        tuning: measures the model's products on a machine: on the wider one, if there is one.
    """
    inputs, outputs = tensors_of(module)
    graph, storage = plain(module), Storage(stored)
    activations: tuple[Activation, ...] = ()
    if calibration is not None:
        activations = calibrated(graph, machine_for(), calibration)
    found = None if tuning is None else tuning(products_of(graph, stored, SMALLEST), wider or machine)
    tiles = found.tiles if found is not None else {}
    fused = prepare(graph, machine, storage, wider, activations, tiles)
    scheduled, what = schedule(fused, machine)
    variant = None
    if wider is not None:
        other, _ = schedule(prepare(graph, wider, storage, None, activations, tiles), wider)
        scheduled, variant = with_variant(scheduled, other, wider)
    description = {
        "target": f"{machine.triple} {machine.cpu}",
        "inputs": inputs,
        "outputs": outputs,
        "integers": len(activations),
        "variants": [] if variant is None else [variant.description],
        "kernels": kernels_of(fused, what),
    }
    return Compiled(with_description(scheduled, description), inputs, outputs, what, variant, len(activations), found)


__all__ = ["Compiled", "compile_module"]

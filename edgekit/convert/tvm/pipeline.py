"""The order of things: graph, kernels, schedules, code.

`prepare` takes an imported module to fused kernels, `schedule` gives each its schedule, `build` generates code. TVM's
own lowering unrolls after it has partitioned loops; here unrolling comes first, so that the conditions at a tensor's
border depend on real loops only and `LoopPartition` can give the border loops of its own, without conditions inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm import tails
from edgekit.convert.tvm.channels_last import channels_last
from edgekit.convert.tvm.lowering import lower
from edgekit.convert.tvm.partial_sums import partial_sums
from edgekit.convert.tvm.simplify import simplify
from edgekit.convert.tvm.views import sink_views

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgekit.convert.tvm.machine import Machine
    from edgekit.convert.tvm.quantization import Activation
    from edgekit.convert.tvm.storage import Storage
    from edgekit.convert.tvm.tiles import Product, Tile
    from edgekit.convert.tvm.variants import Variant

NAME = "edgekit"
OPTIONS = {"s_tir.LoopPartition": {"partition_const_loop": True}, "tirx.disable_assert": True}
"""Of TVM's pass context: loops of constant length are partitioned too; and kernels do not check what they are called
with. Each of them would check shape, dtype, strides and alignment of every argument, which was two thirds of all code.
The virtual machine calls them with what it allocated itself, and checks the model's own inputs."""


def plain(module: Any) -> Any:
    """An imported module's graph, rewritten as is good for every machine."""
    return sink_views(channels_last(simplify(module)))


def prepare(
    module: Any,
    machine: Machine,
    storage: Storage,
    packed_for: Machine | None = None,
    activations: Iterable[Activation] = (),
    tuned: Mapping[Product, Tile] | None = None,
) -> Any:
    """From a `plain` module to one whose operators are fused kernels, not scheduled yet; arguments as of `lower`."""
    import tvm
    from tvm import relax

    module = lower(module, machine, storage, packed_for, activations, tuned)
    passes = [
        relax.transform.LegalizeOps({"relax.reshape": lambda _, call: call}),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    with machine.target():
        return tvm.transform.Sequential(passes)(module)


def build(module: Any, machine: Machine, variant: Variant | None = None) -> Any:
    """Code for a scheduled module: a `tvm.runtime.Executable`.

    Args:
        module: scheduled, for `machine`; holds the functions of the variant too, if there is one.
        machine: what everything else is compiled for.
        variant: kernels that are compiled for another machine.
    """
    import tvm
    from tvm import relax

    register()
    graph = relax.get_pipeline("default")
    if variant is not None:
        graph = tvm.transform.Sequential([graph, _compiled_apart(variant)])
    with tvm.transform.PassContext(opt_level=3, config=OPTIONS):
        return tvm.relax.build(module, machine.target(), relax_pipeline=graph, tir_pipeline=NAME)


def _compiled_apart(variant: Variant) -> Any:
    """A pass that takes a variant's kernels out of a module and links their code to it, as of an external library.

    TVM gives all kernels of a module the same processor; an external library has one of its own.
    """
    import tvm

    def compiled_apart(module: Any, _: Any) -> Any:
        functions = dict(module.functions.items())
        theirs = {name: functions.pop(name) for name in list(functions) if name.name_hint in variant.kernels}
        library = tvm.tirx.build(tvm.IRModule(theirs), variant.machine.target(), NAME)
        return tvm.IRModule(functions, attrs=module.attrs).with_attr("external_mods", [library])

    return tvm.transform.module_pass(compiled_apart, opt_level=0)


def register() -> None:
    """Makes our lowering known to TVM under `NAME`: loops to flat buffers, unrolling, partition, then TVM's own."""
    import tvm
    from tvm import s_tir, tirx
    from tvm.s_tir.pipeline import default_s_tir_pipeline
    from tvm.tirx import compilation_pipeline

    def lowering() -> Any:
        usual, host, device = default_s_tir_pipeline()
        first = [
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.CompactBufferAllocation(),
            s_tir.transform.LowerMatchBuffer(),
            tirx.transform.StmtSimplify(),
            s_tir.transform.LowerOpaqueBlock(),
            tirx.transform.FlattenBuffer(),
            tirx.transform.NarrowDataType(32),
            tirx.transform.UnrollLoop(),
            tirx.transform.StmtSimplify(),
            partial_sums(),
            tails.marked(),
            s_tir.transform.LoopPartition(),
            tirx.transform.StmtSimplify(),
            tails.trimmed(),
        ]
        return tvm.transform.Sequential([*first, usual]), host, device

    compilation_pipeline.PIPELINE_MAP[NAME] = lowering

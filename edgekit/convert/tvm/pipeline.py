"""The order of things: graph, kernels, schedules, code.

`prepare` takes an imported module to fused kernels, `schedule` gives each its schedule, `build` generates code. TVM's
own lowering unrolls after it has partitioned loops; here unrolling comes first, so that the conditions at a tensor's
border depend on real loops only and `LoopPartition` can give the border loops of its own, without conditions inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.channels_last import channels_last
from edgekit.convert.tvm.lowering import lower
from edgekit.convert.tvm.simplify import simplify
from edgekit.convert.tvm.views import sink_views

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine
    from edgekit.convert.tvm.storage import Storage

NAME = "edgekit"
OPTIONS = {"s_tir.LoopPartition": {"partition_const_loop": True}}
"""Of TVM's pass context: loops of constant length are partitioned too."""


def prepare(module: Any, machine: Machine, storage: Storage) -> Any:
    """From an imported module to one whose operators are fused kernels, not scheduled yet."""
    import tvm
    from tvm import relax

    module = sink_views(channels_last(simplify(module)))
    module = lower(module, machine, storage)
    passes = [
        relax.transform.LegalizeOps({"relax.reshape": lambda _, call: call}),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    with machine.target():
        return tvm.transform.Sequential(passes)(module)


def build(module: Any, machine: Machine) -> Any:
    """Code for a scheduled module: a `tvm.runtime.Executable`."""
    import tvm

    register()
    with tvm.transform.PassContext(opt_level=3, config=OPTIONS):
        return tvm.relax.build(module, machine.target(), tir_pipeline=NAME)


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
            s_tir.transform.LoopPartition(),
        ]
        return tvm.transform.Sequential([*first, usual]), host, device

    compilation_pipeline.PIPELINE_MAP[NAME] = lowering

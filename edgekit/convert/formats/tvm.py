"""TVM: a shared library with the model's kernels compiled for one kind of processor, from PyTorch or ONNX.

`lower` does what is the same for every processor: the import. `convert` chooses kernels and schedules for the triple's
registers (`edgekit.convert.tvm`), compiles and links. The library holds code, weights and a description of its inputs
and outputs; the device needs TVM's runtime (5 MB), not TVM. For x86-64 it holds the code twice, for AVX2 and for
AVX-512; the runtime chooses, and the proof runs both.

Weights are stored as float32, float16 or int8 and computed with in float32, except for `int8`, whose products and
convolutions are computed in integers. A library for another kind of processor
cannot run here: the proof runs a stand-in, the same kernels with the same tiles compiled for this machine.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Bindings
from edgekit.convert.formats.base import Converted, Explanation, Exported, Format, Operator, Precision
from edgekit.convert.imports import not_installed
from edgekit.convert.sources.base import ONNX, PROGRAM
from edgekit.errors import RecipeError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.recipe import Recipe

CPU = "cpu"
TUNE = "tune_minutes"
MOST_MINUTES = 120
LOWERED = "model.json"
INT8 = "int8"
NATIVE = "native"
_STORED = {"float32": "float32", "float16": "float16", "weight-int8": "int8", INT8: "int8"}


class TVM(Format):
    """Apache TVM, compiled ahead of time for a CPU."""

    name = "tvm"
    accepts = ("torch-export", "onnx")
    runtime = "tvm"
    payload = "model.so"
    distributions = ("apache-tvm",)
    lowering = {"torch-export": ("torch",), "onnx": ("onnx",)}  # noqa: RUF012 - the base class declares it a ClassVar
    extra = "tvm"
    parts = ("edgekit.convert.tvm",)
    compiled = True
    options = {  # noqa: RUF012 - the base class declares it a ClassVar
        CPU: "the processor, in LLVM's words (cortex-a72, skylake-avx512); native is this machine's own. Without it: "
        "the least that devices of the triple have in common (x86-64-v3 and, chosen at run time, x86-64-v4; generic; "
        "cortex-a7)",
        TUNE: "minutes to measure tiles of matrix products for, on this machine; what was measured before is in the "
        "cache, and with 0 nothing else is taken",
    }
    precisions = {  # noqa: RUF012 - the base class declares it a ClassVar
        "float32": Precision("as trained", 60.0, must_not_store=("int8", "float16")),
        "float16": Precision(
            "half-precision weights, float32 compute", 30.0, must_store=("float16",), nearest=("float32",)
        ),
        "weight-int8": Precision(
            "int8 weights per channel, float32 compute", 6.0, must_store=("int8",), nearest=("float16", "float32")
        ),
        "int8": Precision(
            "int8 weights per channel, int8 activations of products and convolutions, calibrated",
            6.0,
            needs_calibration=True,
            must_store=("int8",),
            nearest=("weight-int8", "float16", "float32"),
        ),
    }

    def __init__(self) -> None:
        self._folder: Any = None
        """Where the stand-in lies, until the proof has run it."""

    def validate(self, recipe: Recipe) -> Precision:
        precision = super().validate(recipe)
        if not isinstance(recipe.options.get(CPU, ""), str):
            raise RecipeError(f"{recipe}: the option {CPU} must be a processor's name.", remedy="Mend the recipe.")
        from edgekit.convert.tvm.machine import canonical_triple

        triple = canonical_triple(recipe.triple)
        minutes = recipe.options.get(TUNE)
        if minutes is None:
            return precision
        if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not 0 <= minutes <= MOST_MINUTES:
            raise RecipeError(
                f"{recipe}: the option {TUNE} is {minutes!r}.", remedy=f"Give minutes, 0 to {MOST_MINUTES}."
            )
        if triple != canonical_triple(None) or recipe.options.get(CPU, NATIVE) != NATIVE or recipe.precision == INT8:
            raise RecipeError(
                f"{recipe}: the option {TUNE} measures products in floating point on this machine, so it is for this "
                "machine's own processors, and for every precision but int8.",
                remedy=f"Leave {TUNE} out, or convert on such a machine.",
            )
        return precision

    def fixed_because(self, recipe: Recipe, kind: str) -> str:  # noqa: ARG002 - no precision can
        return "TVM's kernels are tiled and unrolled for one size of each axis when they are compiled"

    def load(self, kind: str) -> None:  # noqa: ARG002 - either way what it reads here is TVM's own
        with not_installed(["torch"]):
            import tvm  # noqa: F401 - without PyTorch, which it would load for its tensors: 1.1 instead of 3.4 CPU s

    def lower(self, exported: Exported, folder: Path) -> None:
        import tvm

        from edgekit.convert.tvm.importing import from_onnx, from_torch_export

        if exported.kind == "onnx":
            module = from_onnx(exported.folder / ONNX)
        else:
            module = from_torch_export(exported.folder / PROGRAM)
        (folder / LOWERED).write_text(tvm.ir.save_json(module))

    def convert(
        self,
        exported: Exported,  # noqa: ARG002 - the lowered module has all of it
        lowered: Path,
        recipe: Recipe,
        calibration: Mapping[str, np.ndarray],
        payload: Path,
    ) -> Converted:
        import tvm

        from edgekit.convert.tvm import compile_module
        from edgekit.convert.tvm.linking import link
        from edgekit.convert.tvm.machine import canonical_triple, machine_for

        integers = recipe.precision == INT8
        machine = machine_for(recipe.triple, recipe.options.get(CPU))
        if integers and machine.pair > 1 and machine.triple != canonical_triple(None):
            raise RefusedError(
                f"{recipe}: integer kernels for x86-64 use its own instructions, and no other processor can stand in.",
                remedy="Convert on an x86-64 machine, or take tvm:weight-int8.",
            )
        module = tvm.ir.load_json((lowered / LOWERED).read_text())
        wider = None if CPU in recipe.options else machine.wider(integers=integers)
        tuning = self._tuning(recipe.options[TUNE], recipe) if TUNE in recipe.options else None
        compiled = compile_module(
            module, machine, _STORED[recipe.precision], wider, calibration if integers else None, tuning
        )
        if integers and not compiled.integers:
            raise RefusedError(
                f"{recipe}: no operator of this model has integer kernels here: no product or convolution of one group "
                "with constant weights and an even number of channels.",
                remedy="Take tvm:weight-int8, which is as small.",
            )
        notes = [f"Compiled for {machine.triple}, processor {machine.cpu}: {machine.needs}."]
        if wider is not None:
            notes.append(f"Compiled for {wider.cpu} too: the runtime takes that code where there is {wider.needs}.")
        notes.append(f"Linked with {link(compiled.build(machine), machine.triple, payload)}.")
        if compiled.tuned is not None:
            notes.append(compiled.tuned.note)
        if integers:
            notes.append(
                f"{compiled.integers} products and convolutions are computed in integers, everything else in float32."
            )
        stand_in = None
        if machine.triple != canonical_triple(None):
            here = machine.imitated()
            self._folder = tempfile.TemporaryDirectory(prefix="edgekit-tvm-")
            stand_in = Path(self._folder.name) / payload.name
            link(compiled.build(here), here.triple, stand_in)
            notes.append(
                f"Proven by a stand-in: the same kernels with the same tiles, compiled for {here.triple}. The code for "
                f"{machine.triple} itself did not run on this machine; `edgekit verify` on the device proves it."
            )
        names = Bindings(
            inputs=tuple(tensor["name"] for tensor in compiled.inputs),
            outputs=tuple(tensor["name"] for tensor in compiled.outputs),
        )
        return Converted(names, notes=tuple(notes), stand_in=stand_in)

    def _tuning(self, minutes: float, recipe: Recipe) -> Any:
        """What measures products, if this processor runs the code that they are measured in."""
        from edgekit.convert.tvm.tuning import Database, tune
        from edgekit.runner.runtimes.tvm import processor_flags

        def measure(products: Any, machine: Any) -> Any:
            if not processor_flags().issuperset(machine.flags):
                raise RefusedError(
                    f"{recipe}: tiles are made for {machine.needs}, which this processor does not have.",
                    remedy=f"Leave {TUNE} out, or set cpu = {NATIVE}.",
                )
            return tune(products, machine, minutes, Database(machine), self.progress)

        return measure

    def session(self, payload: Path, bindings: Bindings) -> tuple[Any, str]:
        """Runs every variant of the library that this processor can run."""
        from edgekit.convert.tvm.agreement import TOLERANCE, TOLERANCE_OF_INTEGERS, Agreeing
        from edgekit.convert.tvm.description import read_description

        session, proved_by = super().session(payload, bindings)
        if len(session.variants) == 1:
            return session, proved_by
        tolerance = TOLERANCE_OF_INTEGERS if read_description(payload).get("integers") else TOLERANCE
        return Agreeing(session, tolerance), f"{proved_by} ({' and '.join(session.variants)})"

    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        from edgekit.convert.tvm.description import is_description, stored_tensors

        counts = Counter(dtype for dtype, _, first in stored_tensors(payload) if not is_description(dtype, first))
        return dict(sorted(counts.items()))

    def explain(self, exported: Exported, lowered: Path, recipe: Recipe, payload: Path) -> Explanation:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.tvm.description import read_description
        from edgekit.convert.tvm.schedules import DEFAULT

        kernels = read_description(payload)["kernels"]
        total = sum(kernel["flops"] * kernel["count"] for kernel in kernels) or 1.0
        operators = tuple(
            Operator(
                kernel["name"],
                kernel["count"],
                f"{kernel['schedule']}, {100 * kernel['flops'] * kernel['count'] / total:.1f} % of the operations",
                f"on one thread, not vectorised by us: {kernel['because']}" if kernel["schedule"] == DEFAULT else "",
            )
            for kernel in kernels
        )
        return Explanation(operators, because="a compiled module has no delegate")

"""ONNX: `.onnx` files, with external data beside them, and `build` functions that return one (a path or a ModelProto).

The first export is the model itself: checked, with all weights inside and the declared inputs and outputs; its axes are
fixed, or vary by name. The reference is ONNX Runtime on the CPU, which runs that graph as it is written, without
optimisations. Formats that read `torch.export` programs get one from EdgeKit's own import
(`edgekit.convert.onnx_to_torch`), compared with the reference; there every axis is fixed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgekit import plugins
from edgekit.convert.programs import save_program
from edgekit.convert.sources.base import ONNX, PROGRAM, Reference, Shapes, Source
from edgekit.dimensions import resized, sizes_to_prove, varying_outputs
from edgekit.errors import ModelError, first_line
from edgekit.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from edgekit.dimensions import Sizes

MIN_IMPORT_SNR_DB = 60.0
"""An import that is further from ONNX Runtime than this is wrong; those of tests are above 90 dB."""


class OnnxModel(Source):
    """An ONNX graph."""

    name = "onnx"
    suffixes = (".onnx",)
    exports = ("onnx", "torch-export")
    distributions = ("onnx", "onnxruntime")
    extra = "onnx"
    varies = ("onnx",)
    parts = ("edgekit.convert.onnx_model", "edgekit.convert.onnx_to_torch")
    deriving: ClassVar[Mapping[str, tuple[str, ...]]] = {"torch-export": ("torch",)}

    @classmethod
    def inspect(cls, path: Path, *, trust: bool, shown: str) -> list[str]:  # noqa: ARG003 - see below
        """Nothing: an ONNX file holds no code. What it may name outside of its folder is refused when it is read."""
        return []

    @classmethod
    def companions(cls, path: Path) -> tuple[str, ...]:
        plugins.require(cls.distributions[:1], extra=cls.extra, purpose="An ONNX model")
        from edgekit.convert.onnx_model import reading

        return reading.companions(path, str(path))

    def open_file(self, path: Path, name: str, shown: str, shapes: Shapes) -> Model:
        from edgekit.convert.onnx_model import reading, shaping

        model = reading.read(path, shown)
        return Model(
            name=name,
            source=self.name,
            build=lambda: model,
            inputs=shaping.input_specs(model, shown, shapes),
            outputs=shaping.output_names(model),
            no_metric_because="a model file brings no evaluation data",
        )

    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        from edgekit.convert.onnx_model import cleaning, shaping
        from edgekit.convert.onnx_model.running import reference_of

        shown = f"The ONNX model {model.name!r}"
        graph = _built(model, shown)
        outputs = shaping.arrange(graph, model.inputs, model.outputs, shown)
        graph = cleaning.clean(graph)
        cleaning.save(graph, folder / ONNX)
        run = reference_of(folder / ONNX, outputs, shown)
        first = run(sample)
        others = [(sizes, _resized(run, model, sample, sizes)) for sizes in sizes_to_prove(model.inputs)]
        varies = [
            varying_outputs(array.shape, [(sizes, results[j].shape) for sizes, results in others], name)
            for j, (name, array) in enumerate(zip(outputs, first, strict=True))
        ]
        shaping.set_output_shapes(graph, first, varies)
        cleaning.save(cleaning.infer(graph), folder / ONNX)
        return reference_of(folder / ONNX, outputs, shown)

    def derive(self, kind: str, exported: Path, sample: Sequence[np.ndarray], folder: Path) -> None:
        import onnx
        import torch

        from edgekit.convert.onnx_to_torch import import_onnx

        assert kind == "torch-export"
        module = import_onnx(onnx.load(exported / ONNX))
        arguments = tuple(torch.from_numpy(array.copy()) for array in sample)
        try:
            program = torch.export.export(module, arguments)
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            raise ModelError(
                f"torch.export cannot trace the imported ONNX model: {first_line(error)}.",
                remedy="Convert it to onnx:float32, which needs no import; the log holds the whole explanation.",
            ) from error
        _compare(program.module(), exported / ONNX, sample)
        save_program(program, folder / PROGRAM)


def _resized(run: Reference, model: Model, sample: Sequence[np.ndarray], sizes: Sizes) -> list[np.ndarray]:
    """What the model answers to the sample at other sizes."""
    return run([resized(array[None], spec, sizes)[0] for spec, array in zip(model.inputs, sample, strict=True)])


def _built(model: Model, shown: str) -> Any:
    """What `build` returns, as a checked ModelProto that nobody else holds."""
    import onnx

    from edgekit.convert.onnx_model import reading

    built = model.build()
    if isinstance(built, (str, Path)):
        return reading.read(Path(built), shown)
    if isinstance(built, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(built)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in copy.graph.initializer):
            raise ModelError(
                f"{shown} was built as a ModelProto whose weights are elsewhere.",
                remedy="Return the path of its file instead.",
            )
        reading.check(copy, shown)
        return copy
    raise ModelError(
        f"build() of model {model.name!r} returned {type(built).__name__}, not a path or an onnx.ModelProto.",
        remedy="Return one of the two.",
    )


def _compare(module: Any, path: Path, sample: Sequence[np.ndarray]) -> None:
    """Refuses an import that does not compute what ONNX Runtime computes: the converter that reads it must not be
    blamed.

    Raises:
        ModelError: names the first output that differs.
    """
    import onnx

    from edgekit.convert.onnx_model.running import reference_of
    from edgekit.convert.sources.pytorch import reference_of as torch_reference
    from edgekit.runner.compare import at_least, compare

    names = [value.name for value in onnx.load(path, load_external_data=False).graph.output]
    expected = reference_of(path, names, "The ONNX model")(sample)
    answered = torch_reference(module)(sample)
    for name, wanted, got in zip(names, expected, answered, strict=True):
        result = compare(wanted[None], got[None]) if wanted.shape == got.shape else None
        if result is None or not at_least(result, MIN_IMPORT_SNR_DB):
            told = f"shape {got.shape} instead of {wanted.shape}" if result is None else f"{result['snr_db']} dB"
            raise ModelError(
                f"Imported into PyTorch, the ONNX model computes another output {name!r} than ONNX Runtime: {told}.",
                remedy="This is a bug in EdgeKit: report it with the model. onnx:float32 needs no import.",
            )

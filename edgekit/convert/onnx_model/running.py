"""ONNX Runtime on the CPU: as the reference that artifacts are judged against, and as an optimiser of graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.convert.sources.base import Reference


def session(model: Any, *, optimise: str = "none", save_as: Path | None = None) -> Any:
    """An InferenceSession with one thread.

    Args:
        model: a path, or a ModelProto.
        optimise: "none" runs the graph as it is written; "basic" folds constants and fuses into ONNX's own operators;
            "all" also fuses into operators of ONNX Runtime, but does not lay data out anew for this machine's CPU.
        save_as: where to write the optimised graph.
    """
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    level = {"none": levels.ORT_DISABLE_ALL, "basic": levels.ORT_ENABLE_BASIC, "all": levels.ORT_ENABLE_EXTENDED}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = level[optimise]
    options.log_severity_level = 3
    if save_as is not None:
        options.optimized_model_filepath = str(save_as)
    content = model.SerializeToString() if hasattr(model, "SerializeToString") else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def reference_of(path: Path, outputs: Sequence[str], shown: str) -> Reference:
    """Runs a file on one sample, the graph as it is written: no fusion may round otherwise.

    Raises:
        ModelError: ONNX Runtime cannot open or run it, or an output changes its shape with the data.
    """
    try:
        opened = session(path)
    except Exception as error:  # ONNX Runtime raises what it likes here; the user gets its first line
        raise ModelError(f"ONNX Runtime cannot open {shown}: {first_line(error)}.", remedy=_REMEDY) from error
    names = [value.name for value in opened.get_inputs()]
    seen: dict[tuple[Any, ...], tuple[int, ...]] = {}

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            results = opened.run(list(outputs), dict(zip(names, arrays, strict=True)))
        except Exception as error:  # likewise
            raise ModelError(f"ONNX Runtime cannot run {shown}: {first_line(error)}.", remedy=_REMEDY) from error
        sizes = tuple(array.shape for array in arrays)
        for name, result in zip(outputs, results, strict=True):
            if (first := seen.setdefault((name, sizes), result.shape)) != result.shape:
                raise ModelError(
                    f"Output {name!r} of {shown} has the shape {first} for one sample and {result.shape} for "
                    "another: it depends on the data.",
                    remedy="Export the model without the part that selects (such as NonMaxSuppression).",
                )
        return list(results)

    return run


_REMEDY = "Check that it runs with onnxruntime, and that the shapes are ones that it was exported for."

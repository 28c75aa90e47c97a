"""Fewer bits for weights and activations, by coremltools' passes over an ML Program.

Weights are quantized symmetrically per output channel (int8) or per block of at most 32 inputs (int4); palettes come
from k-means over a whole tensor. A tensor of `MIN_ELEMENTS` or fewer is left in float16: its scales would cost as much.

Activations (W8A8) need the range of every tensor over the calibration data. coremltools asks Core ML for them, which
is not there on Linux, and version 9.0 keeps the range of the last sample only: its
`ModelDebugger.record_intermediate_output` overwrites before it compares. Here our evaluator computes them, over all
samples, and hands them to the same passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from edgekit.convert.mil import Evaluator

MIN_ELEMENTS = 512
BLOCK = 32
QUANTIZED_OPERATORS = ("add", "avg_pool", "conv", "linear", "max_pool")
"""Whose inputs and outputs coremltools quantizes (`insert_prefix_quantize_dequantize_pair`)."""
LARGEST_EXTENT = 65504.0 / 2
SMALLEST_EXTENT = 2.0**-14 * 127
INPUT_AXIS = {"conv": 1, "linear": 1, "gather": 1}
"""Of an operator's weight, the axis that its blocks of int4 run along; others are quantized per channel."""


class Weights:
    """The large constants of a program, and which operators read them.

    Args:
        function: coremltools' `Function`.
    """

    def __init__(self, function: Any) -> None:
        self.readers: dict[str, list[Any]] = {}
        self.values: dict[str, np.ndarray] = {}
        for operation in function.operations:
            if operation.op_type != "const":
                continue
            variable = operation.outputs[0]
            if _is_large(variable):
                self.readers[operation.name] = list(variable.child_ops)
                self.values[operation.name] = variable.val

    def kept(self, layers: frozenset[str]) -> list[str]:
        """The names of the constants that the layers read."""
        return [name for name, readers in self.readers.items() if any(reader.name in layers for reader in readers)]

    def layers(self) -> list[str]:
        """The operators that read a large constant, in the program's order."""
        return list(dict.fromkeys(reader.name for readers in self.readers.values() for reader in readers))


def layers_of(function: Any, *, activations: bool) -> list[str]:
    """The names of the operators that quantization touches, in the program's order."""
    weighted = set(Weights(function).layers())
    return [
        operation.name
        for operation in function.operations
        if operation.name in weighted or (activations and _has_float_inputs(operation))
    ]


def check_layers(function: Any, keep: frozenset[str]) -> None:
    """Every layer to keep must be one of the program.

    Raises:
        RecipeError: names those that are not.
    """
    unknown = sorted(keep - {operation.name for operation in function.operations})
    if unknown:
        raise RecipeError(
            f"There is no layer {', '.join(unknown)} to keep in the ML Program.",
            remedy="--max-drop lists the layers of this precision by name.",
        )


def quantize_weights(model: Any, function: Any, dtype: str, keep: frozenset[str], *, joint: bool = False) -> Any:
    """Weights in int8 per channel or int4 per block."""
    from coremltools.optimize import coreml

    weights = Weights(function)
    single: dict[str, Any] = dict.fromkeys(weights.kept(keep))
    if dtype == "int4":
        single.update({name: _blocks(weights, name) for name in weights.readers if name not in single})
    config = coreml.OptimizationConfig(
        global_config=coreml.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype=dtype, granularity="per_channel", weight_threshold=MIN_ELEMENTS
        ),
        op_name_configs=single,
    )
    return coreml.linear_quantize_weights(model, config, joint_compression=joint)


def _blocks(weights: Weights, name: str) -> Any:
    """int4 per block along the inputs: as many as divide them, at most 32; else per channel."""
    from coremltools.optimize import coreml

    shape = weights.values[name].shape
    axes = {INPUT_AXIS.get(reader.op_type) for reader in weights.readers[name]}
    axis = axes.pop() if len(axes) == 1 else None
    options: dict[str, Any] = {"granularity": "per_channel"}
    if axis is not None and len(shape) > 1:
        block = max(size for size in range(1, BLOCK + 1) if shape[axis] % size == 0)
        per_axis = [1 if i == 0 else block if i == axis else 0 for i in range(len(shape))]
        if block > 1:
            options = {"granularity": "per_block", "block_size": tuple(per_axis)}
    return coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int4", weight_threshold=MIN_ELEMENTS, **options
    )


def palettize_weights(model: Any, function: Any, bits: int, keep: frozenset[str]) -> Any:
    """Weights as indices into a palette of 2^bits values, one palette per tensor, found by k-means."""
    from coremltools.optimize import coreml

    config = coreml.OptimizationConfig(
        global_config=coreml.OpPalettizerConfig(mode="kmeans", nbits=bits, weight_threshold=MIN_ELEMENTS),
        op_name_configs=dict.fromkeys(Weights(function).kept(keep)),
    )
    return coreml.palettize_weights(model, config)


def prune_weights(model: Any, function: Any, sparsity: float, keep: frozenset[str]) -> Any:
    """The smallest weights of every tensor set to zero, and not stored: the share `sparsity` of them, and their equals.

    The thresholds are found here: coremltools' own `OpMagnitudePrunerConfig` asks NumPy for a percentile of float16,
    which overflows beyond 65,504 elements, and then prunes nothing.
    """
    from coremltools.optimize import coreml

    weights = Weights(function)
    single: dict[str, Any] = dict.fromkeys(weights.readers)
    for name in set(single) - set(weights.kept(keep)):
        threshold = _threshold(weights.values[name], sparsity)
        single[name] = coreml.OpThresholdPrunerConfig(
            threshold=threshold, minimum_sparsity_percentile=0.0, weight_threshold=MIN_ELEMENTS
        )
    return coreml.prune_weights(model, coreml.OptimizationConfig(op_name_configs=single))


def _threshold(values: np.ndarray, sparsity: float) -> float:
    """The largest magnitude among the share `sparsity` of smallest ones."""
    import numpy as np

    magnitudes = np.abs(values.astype(np.float32)).reshape(-1)
    count = max(1, int(len(magnitudes) * sparsity))
    return float(np.partition(magnitudes, count - 1)[count - 1])


# ----------------------------------------------------------------------------------------------- activations


def observed_ranges(evaluator: Evaluator, samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """The smallest and largest value of every float of the program over all samples, as coremltools' passes read it."""
    ranges: dict[str, dict[str, float]] = {}

    def note(name: str, low: float, high: float) -> None:
        before = ranges.get(name, {"rmin": low, "rmax": high})
        ranges[name] = {"rmin": min(low, before["rmin"]), "rmax": max(high, before["rmax"])}

    def observe(name: str, value: Any) -> None:
        if value.is_floating_point() and value.numel():
            note(name, float(value.min()), float(value.max()))

    for sample in samples:
        for name, array in sample.items():
            if array.dtype.kind == "f":
                note(name, float(array.min()), float(array.max()))
        evaluator(sample, observe)
    _join_concatenated(evaluator.program.function, ranges)
    return ranges


def _join_concatenated(function: Any, ranges: dict[str, dict[str, float]]) -> None:
    """The inputs and the output of a `concat` share one range, so that it can work on int8 as it is."""
    groups: list[set[str]] = []
    for operation in function.operations:
        if operation.op_type == "concat":
            names = {variable.name for variable in [*operation.inputs["values"], operation.outputs[0]]}
            names &= ranges.keys()
            for group in [group for group in groups if group & names]:
                groups.remove(group)
                names |= group
            groups.append(names)
    for group in groups:
        joined = {
            "rmin": min((ranges[name]["rmin"] for name in group), default=0.0),
            "rmax": max((ranges[name]["rmax"] for name in group), default=0.0),
        }
        ranges.update(dict.fromkeys(group, joined))


def quantize_activations(model: Any, function: Any, ranges: dict[str, dict[str, float]], keep: frozenset[str]) -> Any:
    """Inserts the rounding to int8 before and after the operators that can compute with it.

    An operator whose inputs are integers, or whose range cannot have a scale in float16 (a mask of -inf is added to
    the scores of attention), is left as it is.
    """
    from coremltools import _SPECIFICATION_VERSION_IOS_17
    from coremltools.converters.mil.mil.passes.graph_pass import PassOption
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY
    from coremltools.models import utils
    from coremltools.optimize import coreml

    left = {
        operation.name: None
        for operation in function.operations
        if operation.op_type in QUANTIZED_OPERATORS
        and (operation.name in keep or not _has_float_inputs(operation) or not _has_scales(operation, ranges))
    }
    config = coreml.OptimizationConfig(
        global_config=coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=MIN_ELEMENTS),
        op_name_configs=left,
    )
    passes = []
    for name in ("insert_prefix_quantize_dequantize_pair", "insert_suffix_quantize_dequantize_pair"):
        insert = PASS_REGISTRY[f"compression::{name}"]
        insert.set_options([PassOption("config", config), PassOption("activation_stats", ranges)])
        passes.append(insert)
    passes.append(PASS_REGISTRY["common::dequantize_quantize_pair_elimination"])
    return utils._apply_graph_pass(  # noqa: SLF001 - what `linear_quantize_activations` itself calls
        model, passes, spec_version=_SPECIFICATION_VERSION_IOS_17, skip_model_load=True
    )


def _is_large(variable: Any) -> bool:
    from coremltools.converters.mil.mil import types

    size = 1
    for n in variable.shape:
        size *= int(n)
    return variable.rank > 1 and size > MIN_ELEMENTS and types.is_float(variable.dtype)


def _has_float_inputs(operation: Any) -> bool:
    from coremltools.converters.mil.mil import types

    return operation.op_type in QUANTIZED_OPERATORS and types.is_float(operation.inputs["x"].dtype)


def _has_scales(operation: Any, ranges: dict[str, dict[str, float]]) -> bool:
    """Whether what goes in and comes out has a scale that float16 holds: coremltools computes it there.

    It divides the width of the symmetric range, which must not overflow, by 254; what is left must be a normal number.
    """
    names = [operation.inputs["x"].name, operation.outputs[0].name]
    if operation.op_type == "add":
        names.append(operation.inputs["y"].name)
    extents = [max(-ranges[name]["rmin"], ranges[name]["rmax"]) for name in names if name in ranges]
    return all(SMALLEST_EXTENT <= extent <= LARGEST_EXTENT for extent in extents)

"""What goes in and out of a graph: dtypes, shapes, order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.onnx_model.reading import has_dtype, subgraphs
from edgekit.convert.sources.base import fixed_shape
from edgekit.dimensions import Range
from edgekit.errors import ModelError
from edgekit.specs import DTYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from edgekit.convert.sources.base import Shapes
    from edgekit.dimensions import Axis


def graph_inputs(model: Any) -> list[Any]:
    """The graph's inputs; until IR version 4 initialisers were listed among them."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def input_specs(model: Any, shown: str, shapes: Shapes) -> tuple[TensorSpec, ...]:
    """Every input with its dtype and shape.

    A size or range that is given for one axis holds for every axis of the same symbol ("batch") in the model; one that
    varies is called like the symbol.

    Raises:
        ModelError: a dynamic axis that no shape fixes, a shape for an input that is not there or does not fit, an input
            that is no tensor of numbers.
    """
    values = graph_inputs(model)
    names = [value.name for value in values]
    unknown = sorted(set(shapes) - set(names))
    if unknown:
        raise ModelError(
            f"{shown} has no input {', '.join(map(repr, unknown))}.", remedy=f"Its inputs are {', '.join(names)}."
        )
    symbols: dict[str, int | Range] = {}
    for value in values:
        for axis, size in zip(_axes(value, shown), shapes.get(value.name, ()), strict=False):
            if isinstance(axis, str) and symbols.setdefault(axis, size) != size:
                raise ModelError(
                    f"The axis {axis!r} of {shown} was given the sizes {symbols[axis]} and {size}.",
                    remedy="Give it one size in all inputs.",
                )
    return tuple(
        TensorSpec(value.name, _shape(value, shown, shapes, symbols), _dtype(value, shown)) for value in values
    )


def _axes(value: Any, shown: str) -> list[int | str | None]:
    """Each axis: its size, the symbol that stands for it, or None if nothing is known of it."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise ModelError(
            f"Input {value.name!r} of {shown} has no rank, or is no tensor.", remedy="Export it with known ranks."
        )
    return [
        axis.dim_value if axis.dim_value > 0 else axis.dim_param or None for axis in value.type.tensor_type.shape.dim
    ]


def _shape(value: Any, shown: str, shapes: Shapes, symbols: Mapping[str, int | Range]) -> tuple[int, ...]:
    axes = _axes(value, shown)
    sizes = [axis if isinstance(axis, int) else symbols.get(axis or "") for axis in axes]
    declared = [axis if isinstance(axis, int) else None for axis in axes]
    called = [axis if isinstance(axis, str) else None for axis in axes]
    if value.name in shapes:
        return fixed_shape(value.name, declared, shown, shapes, called)
    if None in sizes:
        free = [f"{i} ({axis})" if axis else str(i) for i, axis in enumerate(axes) if sizes[i] is None]
        example = ",".join("1" if size is None else str(size) for size in sizes)
        raise ModelError(
            f"Input {value.name!r} of {shown} has {'a dynamic axis' if len(free) == 1 else 'dynamic axes'}: "
            f"{', '.join(free)}.",
            remedy=f"Fix it, such as --shape {value.name}={example}, or give bounds, such as 1..8 for an axis.",
        )
    return fixed_shape(value.name, declared, shown, {value.name: tuple(size for size in sizes if size)}, called)


def _dtype(value: Any, shown: str) -> str:
    import onnx

    number = value.type.tensor_type.elem_type
    name = "something unknown"
    if has_dtype(number):
        name = "string" if number == onnx.TensorProto.STRING else onnx.helper.tensor_dtype_to_np_dtype(number).name
    if name not in DTYPES:
        raise ModelError(
            f"{value.name!r} of {shown} is a tensor of {name}, which EdgeKit does not feed.",
            remedy=f"Export it with one of {', '.join(DTYPES)}.",
        )
    return str(name)


def output_names(model: Any) -> tuple[str, ...]:
    """Names of the graph's outputs, in its order."""
    return tuple(value.name for value in model.graph.output)


def arrange(model: Any, inputs: Sequence[TensorSpec], outputs: Sequence[str], shown: str) -> tuple[str, ...]:
    """Gives the graph the inputs and outputs that a model declares, in its order, with their shapes. In place.

    Args:
        model: a ModelProto.
        inputs: by the names of the graph's inputs.
        outputs: names of the graph's outputs, all or some of them; a single graph output may be called anything.
        shown: what the user calls the model.

    Returns:
        The graph's names of the outputs.

    Raises:
        ModelError: another name, dtype or shape than the graph has.
    """
    graph = model.graph
    by_name = {value.name: value for value in graph_inputs(model)}
    if sorted(by_name) != sorted(spec.name for spec in inputs):
        raise ModelError(
            f"{shown} declares the inputs {', '.join(spec.name for spec in inputs)}; its graph has "
            f"{', '.join(by_name)}.",
            remedy="Name them as the graph does.",
        )
    found = input_specs(model, shown, {spec.name: _wanted(spec) for spec in inputs})
    for spec in found:
        declared = next(other for other in inputs if other.name == spec.name)
        if spec.dtype != declared.dtype:
            raise ModelError(
                f"{shown} declares the input {spec.name!r} as {declared.dtype}; its graph takes {spec.dtype}.",
                remedy="Correct the input spec in model.py.",
            )
    chosen = _outputs(output_names(model), outputs, shown)
    results = {value.name: value for value in graph.output}
    kept = [results[name] for name in chosen]
    ordered = [by_name[spec.name] for spec in inputs]
    for value, spec in zip(ordered, inputs, strict=True):
        _set_shape(value, spec.shape, spec.varies)
    del graph.input[:], graph.output[:]
    graph.input.extend(ordered)
    graph.output.extend(kept)
    return chosen


def _outputs(there: tuple[str, ...], declared: Sequence[str], shown: str) -> tuple[str, ...]:
    if set(declared) <= set(there):
        return tuple(declared)
    if len(there) == len(declared) == 1:
        return there
    raise ModelError(
        f"{shown} declares the outputs {', '.join(declared)}; its graph has {', '.join(there)}.",
        remedy="Name outputs of the graph in `outputs=`.",
    )


def _wanted(spec: TensorSpec) -> tuple[int | Range, ...]:
    varying = {axis.axis: axis for axis in spec.varies}
    return tuple(
        Range(varying[i].min, varying[i].max, size, varying[i].name) if i in varying else size
        for i, size in enumerate(spec.shape)
    )


def set_shapes(values: Sequence[Any], specs: Sequence[TensorSpec]) -> None:
    """Declares the shapes of a graph's inputs or outputs, with names in place of sizes that vary."""
    for value, spec in zip(values, specs, strict=True):
        _set_shape(value, spec.shape, spec.varies)


def set_output_shapes(model: Any, arrays: Sequence[np.ndarray], varies: Sequence[Sequence[Axis]]) -> None:
    """Declares the outputs' shapes as they were when the model ran, and which of their axes vary."""
    for value, array, axes in zip(model.graph.output, arrays, varies, strict=True):
        _set_shape(value, array.shape, axes)


def _set_shape(value: Any, shape: Sequence[int], varies: Sequence[Axis]) -> None:
    names = {axis.axis: axis.name for axis in varies}
    tensor = value.type.tensor_type
    tensor.ClearField("shape")
    tensor.shape.SetInParent()
    for i, size in enumerate(shape):
        if i in names:
            tensor.shape.dim.add().dim_param = names[i]
        else:
            tensor.shape.dim.add().dim_value = size


def call(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """Gives the graph's inputs and outputs these names, in its order. In place.

    An output that is an input, a constant or another output as well gets an Identity; one that is called like an input
    gets another name.

    Returns:
        The outputs' names.
    """
    import onnx

    graph = model.graph
    called = tuple(f"{name}_output" if name in inputs else name for name in outputs)
    taken = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
    for i, value in enumerate(graph.output):
        if value.name in taken:
            own = f"{value.name}.output.{i}"
            graph.node.append(onnx.helper.make_node("Identity", [value.name], [own]))
            value.name = own
        taken.append(value.name)
    names = {value.name: name for value, name in zip(graph.input, inputs, strict=True)}
    names |= {value.name: name for value, name in zip(graph.output, called, strict=True)}
    _rename(graph, names)
    return called


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Renames values wherever they are used; another value that bears one of the new names makes way."""
    taken = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    taken |= {value.name for value in graph.input}
    whole = {old: new for old, new in names.items() if old != new}
    for new in list(whole.values()):
        if new in taken and new not in names:
            away = f"{new}.0"
            while away in taken:
                away += "0"
            whole[new] = away
    if whole:
        _rename_in(graph, whole)


def _rename_in(graph: Any, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            _rename_in(inner, names)

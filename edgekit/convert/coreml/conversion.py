"""From a source's export to an ML Program, by coremltools' own converters.

PyTorch goes the way of `torch.export`: the traced way of coremltools 9.0 fails with numpy 2.4. TensorFlow is read from
the frozen SavedModel. Either way the program has the model's names (those that MIL allows), inputs and outputs of
float32 or int32, and the shapes of the model; an axis that varies is a range of Core ML's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Bindings
from edgekit.convert.programs import load_program
from edgekit.convert.sources.base import PROGRAM, SAVED_MODEL
from edgekit.dimensions import dimensions
from edgekit.errors import ConversionError, RefusedError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.convert.formats.base import Exported
    from edgekit.specs import TensorSpec

POOLS = ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")


def bindings_of(exported: Exported) -> Bindings:
    """The program's names: the model's, with `_` for what MIL does not allow, each of them once."""
    taken: set[str] = set()

    def allowed(spec: TensorSpec) -> str:
        name = re.sub(r"[^A-Za-z0-9_]", "_", spec.name)
        name = name if re.match(r"[A-Za-z_]", name) else f"_{name}"
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    return Bindings(
        inputs=tuple(allowed(spec) for spec in exported.inputs),
        outputs=tuple(allowed(spec) for spec in exported.outputs),
    )


def convert(exported: Exported, *, target: str, float16: bool) -> Any:
    """The export as coremltools' `MLModel`.

    Args:
        exported: "torch-export" or "saved-model".
        target: the minimum deployment target, such as "iOS16".
        float16: compute and store weights in float16, else in float32.

    Raises:
        RefusedError: the model has an operator that coremltools cannot convert; names it.
        ConversionError: the program has another interface than the model.
    """
    import coremltools

    options = {
        "convert_to": "mlprogram",
        "minimum_deployment_target": coremltools.target[target],
        "compute_precision": coremltools.precision.FLOAT16 if float16 else coremltools.precision.FLOAT32,
        "skip_model_load": True,
    }
    convert_one = _from_torch if exported.kind == "torch-export" else _from_saved_model
    try:
        return convert_one(exported, bindings_of(exported), options)
    except NotImplementedError as error:
        raise RefusedError(
            f"coremltools cannot convert this model: {first_line(error)}.",
            remedy="Replace the operator in the model by others, or take another format.",
        ) from error


def _from_torch(exported: Exported, names: Bindings, options: dict[str, Any]) -> Any:
    import coremltools

    program = load_program(exported.folder / PROGRAM).run_decompositions(_decompositions())
    _name_strides(program.graph)
    _name_fills(program.graph)
    return coremltools.convert(
        program,
        inputs=_tensor_types(exported.inputs, names.inputs, shapes=True),
        outputs=_tensor_types(exported.outputs, names.outputs, shapes=False),
        **options,
    )


def _decompositions() -> dict[Any, Any]:
    """PyTorch's own decompositions of the operators that coremltools does not know, and of no others.

    They make `sub` of `subtract`, and steps of recurrent layers. Operators that coremltools knows stay whole: Core ML
    has faster ones than the pieces.
    """
    import torch
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    table = torch.export.default_decompositions()
    return {
        operator: function
        for operator, function in table.items()
        if _TORCH_OPS_REGISTRY.get_func(operator.name()) is None
    }


def _name_strides(graph: Any) -> None:
    """Writes out the strides of pools: torch leaves out what equals the window, and coremltools asks for it."""
    for node in graph.nodes:
        name = getattr(node.target, "__name__", "").split(".")[0]
        if node.op == "call_function" and name in POOLS and len(node.args) == 2 and "stride" not in node.kwargs:
            node.args = (*node.args, node.args[1])


def _name_fills(graph: Any) -> None:
    """Writes tensors of one value as `full`, the only one whose dtype coremltools reads.

    Of `zeros_like(mask, dtype=float32)` it made booleans, and of the -inf that is filled in `True`: PyTorch's padding
    mask came out inverted, without a word.
    """
    import torch

    for node in list(graph.nodes):
        name = getattr(node.target, "__name__", "").split(".")[0]
        value = _filled_with(name, node.args) if node.op == "call_function" else None
        if value is None or not all(isinstance(size, int) for size in node.meta["val"].shape):
            continue
        declared = node.meta["val"]
        dtype = torch.float32 if declared.dtype == torch.float64 else declared.dtype
        with graph.inserting_before(node):
            full = graph.call_function(torch.ops.aten.full.default, (list(declared.shape), value), {"dtype": dtype})
        full.meta.update(node.meta)
        node.replace_all_uses_with(full)
        graph.erase_node(node)


def _filled_with(name: str, arguments: Sequence[Any]) -> float | None:
    """The value of a tensor that holds one value only, if `name` makes such a tensor."""
    if name in ("zeros", "zeros_like", "new_zeros"):
        return 0
    if name in ("ones", "ones_like", "new_ones"):
        return 1
    at = {"full_like": 1, "new_full": 2}.get(name)
    value = arguments[at] if at is not None else None
    return value if isinstance(value, (bool, int, float)) else None


def _from_saved_model(exported: Exported, names: Bindings, options: dict[str, Any]) -> Any:
    """A frozen SavedModel calls its outputs Identity, Identity_1, …, in the order of the alphabet of their names."""
    import coremltools

    _teach_erfc()
    alphabet = sorted(range(len(exported.outputs)), key=lambda i: exported.outputs[i].name)
    frozen = ["Identity" if k == 0 else f"Identity_{k}" for k in range(len(alphabet))]
    model = coremltools.convert(
        str(exported.folder / SAVED_MODEL),
        source="tensorflow",
        inputs=_tensor_types(exported.inputs, [spec.name for spec in exported.inputs], shapes=True),
        outputs=_tensor_types([exported.outputs[i] for i in alphabet], frozen, shapes=False),
        **options,
    )
    new = dict(zip(frozen, (names.outputs[i] for i in alphabet), strict=True))
    new.update(zip((spec.name for spec in exported.inputs), names.inputs, strict=True))
    return _renamed(model, new)


def _teach_erfc() -> None:
    """TensorFlow computes `gelu` with Erfc, which coremltools does not know: 1 - erf(x)."""
    from coremltools.converters.mil.frontend.tensorflow.tf_op_registry import _TF_OPS_REGISTRY, register_tf_op
    from coremltools.converters.mil.mil import Builder

    if "Erfc" in _TF_OPS_REGISTRY:
        return

    def erfc(context: Any, node: Any) -> None:
        x = context[node.inputs[0]]
        context.add(node.name, Builder.sub(x=1.0, y=Builder.erf(x=x), name=node.name))

    erfc.__name__ = "Erfc"  # the name that it is registered by
    register_tf_op(erfc)


def _renamed(model: Any, names: dict[str, str]) -> Any:
    import coremltools

    spec = model.get_spec()
    found = {feature.name for feature in [*spec.description.input, *spec.description.output]}
    if found != set(names):
        raise ConversionError(
            f"The ML Program has the inputs and outputs {', '.join(sorted(found))}, where "
            f"{', '.join(sorted(names))} were expected.",
            remedy="This is a converter's bug: report it with the log.",
        )
    for old, new in names.items():
        if old != new:
            coremltools.utils.rename_feature(spec, old, new)
    return coremltools.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)


def _tensor_types(specs: Sequence[TensorSpec], names: Iterable[str], *, shapes: bool) -> list[Any]:
    import coremltools
    import numpy as np

    ranges = {
        name: coremltools.RangeDim(dim.min, dim.max, default=int(dim), symbol=name)
        for name, dim in dimensions(specs if shapes else ()).items()
    }
    types = []
    for spec, name in zip(specs, names, strict=True):
        # Core ML's tensors are float32, float16, float64 or int32; token ids are int32 there.
        dtype = np.float32 if np.dtype(spec.dtype).kind == "f" else np.int32
        sizes: list[Any] = list(spec.shape)
        for axis in spec.varies if shapes else ():
            sizes[axis.axis] = ranges[axis.name]
        shape = {"shape": tuple(sizes)} if shapes else {}
        types.append(coremltools.TensorType(name=name, dtype=dtype, **shape))
    return types

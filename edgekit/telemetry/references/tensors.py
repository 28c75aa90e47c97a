"""A model's inputs and outputs as features: summarised by the very code that runs on devices, then counted.

What a tensor is (an image, sound, token ids, a row of a table, scores of classes) follows from its layout, shape, dtype
and values, unless the model says it (`Watch`). A model can also watch numbers of its own, which its program hands to
the reporter under the same name. Values are the source model's: real numbers, in its own layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import DataError, ModelError
from edgekit.telemetry.references.columns import Column, features_of
from edgekit.telemetry.reporter.reference import CATEGORY, INPUT, MAX_CELLS, NUMBER, OUTPUT, Reference, Tensor
from edgekit.telemetry.reporter.summaries import KINDS, SUMMARIES, defaults, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.model import Watch
    from edgekit.specs import TensorSpec

WIDEST_ROW = 64
"""A vector of floats up to so long is a row of a table, each element a feature of its own."""
SHORTEST_SOUND, NEIGHBOURLY = 256, 0.3
"""Longer vectors are sound if neighbours resemble each other this much (their correlation), else embeddings."""
CHANNELS = (1, 3, 4)
SMALLEST_SIDE = 8


def reference_of_model(
    model: str,
    inputs: Sequence[tuple[TensorSpec, np.ndarray]],
    outputs: Sequence[tuple[TensorSpec, np.ndarray]],
    watched: Mapping[str, Watch | None],
    data: str,
) -> Reference | None:
    """The reference of a model from samples of what goes in and comes out.

    Args:
        model: its name.
        inputs, outputs: each tensor's spec, with its samples `(n, *shape)`.
        watched: by tensor name how to summarise it, None for not at all; further names are the model's own numbers.
        data: what the samples are, in words.

    Returns:
        The reference; None if nothing is to be watched.

    Raises:
        ModelError: a `Watch` that does not fit its tensor.
        DataError: samples that cannot be summarised.
    """
    columns: list[Column] = []
    tensors: list[Tensor] = []
    samples = [(INPUT, spec, array) for spec, array in inputs] + [(OUTPUT, spec, array) for spec, array in outputs]
    names = [spec.name for _, spec, _ in samples]
    for role, spec, array in samples:
        watch = watched.get(spec.name)
        if spec.name in watched and watch is None:
            continue
        tensor = tensor_of(spec, array, role, watch)
        tensors.append(tensor)
        prefix = f"{spec.name}." if names.count(spec.name) == 1 else f"{role}.{spec.name}."
        columns += _columns(tensor, array, watch, prefix)
    for name, watch in watched.items():
        if name not in names and watch is not None:
            values = _own(name, watch, inputs, outputs)
            tensors.append(Tensor(name, INPUT, watch.kind))
            kind = CATEGORY if watch.kind == CATEGORY else NUMBER
            columns.append(Column(name, kind, values, INPUT, name, "value", *_valid(watch)))
    columns = [column for column in columns if column.kind == CATEGORY or _has_numbers(column)]
    return Reference.of(model, features_of(columns), tensors=tensors, data=data) if columns else None


def tensor_of(spec: TensorSpec, array: np.ndarray, role: str, watch: Watch | None = None) -> Tensor:
    """What a tensor is: as the model says, else by what it looks like.

    Args:
        spec: its name, shape, dtype and layout.
        array: samples, `(n, *shape)`.
        role: "input" or "output".
        watch: what the model says.
    """
    kind = watch.kind if watch is not None and watch.kind else _kind(spec, array, role)
    if kind not in KINDS:
        raise ModelError(f"Watch of {spec.name!r} has the kind {kind!r}.", remedy=f"Choose one of: {', '.join(KINDS)}.")
    low, high = _scale(array, kind)
    channels = _channel_axis(spec) if kind == "image" else None
    if watch is not None:
        low = low if watch.low is None else watch.low
        high = high if watch.high is None else watch.high
        channels = channels if watch.channel_axis is None else watch.channel_axis
    return Tensor(spec.name, role, kind, channels, low, high)


def _kind(spec: TensorSpec, array: np.ndarray, role: str) -> str:
    shape = spec.shape
    size = shape[-1] if shape else 1
    elements = int(np.prod(shape)) if shape else 1
    rank = len([axis for axis in shape if axis > 1])
    whole = np.issubdtype(array.dtype, np.integer)
    if elements == 1:
        return "number"
    if role == OUTPUT:
        return "scores" if size == elements and elements < MAX_CELLS and not whole else "array"
    if (spec.layout and {"H", "W"} <= set(spec.layout)) or _looks_like_an_image(shape):
        return "image"
    if whole and rank <= 1:
        return "tokens"
    if size != elements:
        return "array"
    if size <= WIDEST_ROW:
        return "row"
    return (
        "audio" if size >= SHORTEST_SOUND and _neighbours(array.reshape(len(array), -1)) > NEIGHBOURLY else "embedding"
    )


def _looks_like_an_image(shape: Sequence[int]) -> bool:
    if len(shape) >= 3 and shape[-1] in CHANNELS:
        return min(shape[-3:-1]) >= SMALLEST_SIDE
    return len(shape) >= 3 and min(shape[-2:]) >= SMALLEST_SIDE and shape[-3] in CHANNELS


def _neighbours(rows: np.ndarray) -> float:
    """Correlation of neighbours within rows."""
    rows = rows.astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    square = float((rows * rows).sum())
    return float((rows[:, 1:] * rows[:, :-1]).sum()) / square if square > 0 else 0.0


def _channel_axis(spec: TensorSpec) -> int | None:
    shape, layout = spec.shape, spec.layout
    if layout is not None and "C" in layout:
        axis = layout.index("C") - len(layout)
        return axis if axis in (-1, -3) else None
    if len(shape) >= 3 and shape[-1] in CHANNELS:
        return -1
    return -3 if len(shape) >= 3 and shape[-3] in CHANNELS else None


def _scale(array: np.ndarray, kind: str) -> tuple[float | None, float | None]:
    """The ends of the scale on which the values lie, for saturation and for telling probabilities from logits."""
    if kind not in ("image", "audio", "scores") or not np.isfinite(array).any():
        return None, None
    if array.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if kind == "scores":
        return (0.0, 1.0) if low >= 0 and high <= 1 else (None, None)
    for ends in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if ends[0] <= low and high <= ends[1]:
            return ends
    return None, None


def _columns(tensor: Tensor, array: np.ndarray, watch: Watch | None, prefix: str) -> list[Column]:
    shape = array.shape[1:]
    summaries: list[tuple[str, str]] = []
    if watch is not None and watch.summaries:
        unknown = [name for name in watch.summaries if name.partition(":")[0] not in SUMMARIES[tensor.kind]]
        if unknown:
            raise ModelError(
                f"Watch of {tensor.name!r} names the summaries {', '.join(unknown)}.",
                remedy=f"A tensor of the kind {tensor.kind} has {', '.join(SUMMARIES[tensor.kind])}.",
            )
        summaries = [(name, CATEGORY if name == "class" else NUMBER) for name in watch.summaries]
    try:
        summaries = summaries or defaults(tensor, shape)
        names = [name for name, _ in summaries]
        rows = [summarise(tensor, names, sample, numpy=np) for sample in array]
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"The tensor {tensor.name!r} cannot be summarised as {tensor.kind}: {error}.",
            remedy="Say what it is with `features=` in model.py.",
        ) from error
    flat = [row for sample in rows for row in sample]
    columns = []
    for i, (summary, kind) in enumerate(summaries):
        values = [row[i] for row in flat]
        one = tensor.kind in ("number", "category")
        known = tuple(range(shape[-1])) if summary == "class" else ()
        columns.append(
            Column(
                tensor.name if one else prefix + summary.replace("column:", "").replace(":", ""), kind,
                values if kind == CATEGORY else np.array(values, dtype=np.float64),
                tensor.role, tensor.name, summary, *(_valid(watch) if one else (None, None)), categories=known,
            )
        )  # fmt: skip
    return columns


def _own(
    name: str, watch: Watch, inputs: Sequence[tuple[TensorSpec, np.ndarray]],
    outputs: Sequence[tuple[TensorSpec, np.ndarray]],
) -> Any:  # fmt: skip
    """The model's own numbers for its samples."""
    if watch.compute is None or watch.kind not in ("number", "category"):
        raise ModelError(
            f"`features` names {name!r}, which is no input or output of the model.",
            remedy="Give it `compute=` and the kind number or category, or correct the name.",
        )
    values = np.asarray(watch.compute({s.name: a for s, a in inputs}, {s.name: a for s, a in outputs}))
    if values.shape != (len(inputs[0][1]),):
        raise ModelError(
            f"`compute` of {name!r} gave shape {values.shape} for {len(inputs[0][1])} samples.",
            remedy="Let it return one value a sample.",
        )
    return values.tolist() if watch.kind == "category" else values.astype(np.float64)


def _valid(watch: Watch | None) -> tuple[float | None, float | None]:
    return (None, None) if watch is None or watch.valid is None else watch.valid


def _has_numbers(column: Column) -> bool:
    return bool(np.isfinite(np.asarray(column.values, dtype=np.float64)).any())

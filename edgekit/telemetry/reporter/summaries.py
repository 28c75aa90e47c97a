"""Summaries: how a tensor becomes a few numbers that can be counted. The same code makes references and observes.

A tensor's kind says which summaries it has (`defaults`), 16 at most:

    number, category   value                 the thing itself, a scalar; an array of them is one observation each
    row                column:I              element I of the last axis; each row of a batch is one observation
    image              mean std low high sharpness entropy channel:I
    audio              mean rms peak high zero_crossings
    tokens             length distinct mean max
    embedding          norm mean std projection:I
    scores             class confidence margin entropy
    array              mean std min max norm          all values of the call together

    low, high        share of the values at or beyond the ends of the tensor's scale (saturation)
    sharpness        mean squared difference of neighbours, across and down: falls with blur, rises with noise
    entropy          of an image: bits of its histogram in 16 steps over the scale; of scores: bits of the distribution
    channel:I        mean of channel I
    zero_crossings   share of neighbouring samples with different signs
    length           tokens without the zeros at the end; distinct: share of them that differ; mean and max are of them
    projection:I     Σ ±x / sqrt(size), signs from the bits of SHA-256: fixed for ever, in every language
    class            index of the largest score; confidence: its probability; margin: that minus the second's.
                     Scores are probabilities if the scale is 0 to 1, else they go through a softmax

Axes before a sample's own (an image has two, or three with channels; audio, tokens, embeddings and scores have one)
are a batch: every sample is one observation. What has no value (a NaN in it, nothing to take a mean of) is NaN.

Results are rounded to single precision. The two ways to compute them, with NumPy and with the standard library, agree
to some 1e-15, and so fall into the same cell even where a value repeats so often that it has a cell of its own.
"""

from __future__ import annotations

import math
import sys
from array import array

from .records import TYPE_CHECKING
from .reference import CATEGORY, NUMBER

if TYPE_CHECKING:
    from typing import Any, Sequence

    from .reference import Tensor

SUMMARIES = {
    "number": ("value",),
    "category": ("value",),
    "row": ("column",),
    "image": ("mean", "std", "low", "high", "sharpness", "entropy", "channel"),
    "audio": ("mean", "rms", "peak", "high", "zero_crossings"),
    "tokens": ("length", "distinct", "mean", "max"),
    "embedding": ("norm", "mean", "std", "projection"),
    "scores": ("class", "confidence", "margin", "entropy"),
    "array": ("mean", "std", "min", "max", "norm"),
}
KINDS = tuple(SUMMARIES)
PROJECTIONS = 8
STEPS = 16
MAX_CHANNELS = 4
NAN = math.nan


def defaults(tensor: Tensor, shape: Sequence[int]) -> list[tuple[str, str]]:
    """(summary, feature kind) for a tensor of a shape, batch axes included or not; those that it can have.

    Raises:
        ValueError: the kind is not known.
    """
    scaled = tensor.low is not None and tensor.high is not None
    if tensor.kind in ("number", "category"):
        return [("value", tensor.kind)]
    if tensor.kind == "row":
        return [("column:%d" % i, NUMBER) for i in range(shape[-1])]
    if tensor.kind == "image":
        names = ["mean", "std"] + (["low", "high"] if scaled else []) + ["sharpness"]
        names += ["entropy"] if scaled else []
        if tensor.channel_axis is not None:
            channels = shape[tensor.channel_axis]
            names += ["channel:%d" % i for i in range(channels if 1 < channels <= MAX_CHANNELS else 0)]
    elif tensor.kind == "audio":
        names = ["mean", "rms", "peak"] + (["high"] if tensor.high is not None else []) + ["zero_crossings"]
    elif tensor.kind == "tokens":
        names = ["length", "distinct", "mean", "max"]
    elif tensor.kind == "embedding":
        names = ["norm", "mean", "std"] + ["projection:%d" % i for i in range(PROJECTIONS)]
    elif tensor.kind == "scores":
        return [("class", CATEGORY), ("confidence", NUMBER), ("margin", NUMBER), ("entropy", NUMBER)]
    elif tensor.kind == "array":
        names = ["mean", "std", "min", "max", "norm"]
    else:
        raise ValueError("tensor %r has the kind %r; there are %s" % (tensor.name, tensor.kind, ", ".join(KINDS)))
    return [(name, NUMBER) for name in names]


def summarise(tensor: Tensor, summaries: Sequence[str], value: Any, *, numpy: Any = None) -> list[list[Any]]:
    """One row of results, in the order of `summaries`, for each sample in `value`.

    Args:
        tensor: how to take the value.
        summaries: those that are wanted, all of the tensor's kind.
        value: a scalar, nested sequences, anything with the buffer protocol, or a NumPy array.
        numpy: the module, or None for the standard library; `loaded_numpy()` finds out.

    Raises:
        ValueError, TypeError, IndexError: the value is not of that kind, or a summary is not known.
    """
    if tensor.kind in ("number", "category"):
        return [[item] for item in scalars(value)]
    if tensor.kind == "row":
        columns = [int(name.partition(":")[2]) for name in summaries]
        return [[row[i] for i in columns] for row in rows_of(value, 1)]
    rank = 1 if tensor.kind != "image" else 2 if tensor.channel_axis is None else 3
    if numpy is not None:
        from . import summaries_numpy as ways
    else:
        from . import summaries_stdlib as ways  # type: ignore[no-redef] # has the same functions
    calls = []
    for summary in summaries:
        name, _, index = summary.partition(":")
        if name not in SUMMARIES[tensor.kind]:
            raise ValueError("no summary of %s is called %r" % (tensor.kind, summary))
        calls.append((name.replace("class", "class_"), (int(index),) if index else ()))
    rows = []
    for sample in ways.samples_of(value, None if tensor.kind == "array" else rank):
        compute = ways.Sample(tensor, sample)
        rows.append(single([getattr(compute, name)(*arguments) for name, arguments in calls]))
    return rows


def single(values: list[Any]) -> list[Any]:
    """Floats rounded to single precision (beyond it: infinite); whole numbers stay what they are."""
    rounded = array("f", [value if type(value) is float else 0.0 for value in values]).tolist()
    return [new if type(value) is float else value for value, new in zip(values, rounded)]


def loaded_numpy() -> Any:
    """NumPy if the program has imported it already, else None: it is never imported for telemetry's sake."""
    return sys.modules.get("numpy")


def scalars(value: Any) -> list[Any]:
    """A scalar, or all scalars of nested sequences and arrays, as Python's own; bytes and texts are scalars."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return [value]
    found: list[Any] = []
    for item in value:
        if isinstance(item, (str, float, int)):
            found.append(item)
        else:
            found += scalars(item)
    return found


def rows_of(value: Any, rank: int) -> list[Any]:
    """The samples of `rank` axes in nested sequences or an array of that many axes or more, in order.

    Raises:
        ValueError: it has fewer axes.
    """
    if hasattr(value, "tolist"):  # NumPy, array.array, memoryview and most other arrays
        value = value.tolist()
    elif isinstance(value, (bytes, bytearray)):
        value = list(value)
    axes = 0
    inner = value
    while isinstance(inner, (list, tuple)) and inner:
        axes += 1
        inner = inner[0]
        if hasattr(inner, "tolist"):
            inner = inner.tolist()
    if axes < rank:
        raise ValueError("a value of %d axes, where a sample has %d" % (axes, rank))
    samples = [value]
    for _ in range(axes - rank):
        samples = [inner for outer in samples for inner in outer]
    return [sample.tolist() if hasattr(sample, "tolist") else sample for sample in samples]


_SIGNS: dict[tuple[int, int], list[int]] = {}


def signs(projection: int, size: int) -> list[int]:
    """The ±1 of a projection: bit j, lowest first, of SHA-256("edgekit-projection:I:BLOCK"), 256 a block; 1 is +1."""
    key = (projection, size)
    if key not in _SIGNS:
        import hashlib

        bits: list[int] = []
        for block in range((size + 255) // 256):
            digest = hashlib.sha256(b"edgekit-projection:%d:%d" % (projection, block)).digest()
            number = int.from_bytes(digest, "little")
            bits += [1 if number >> j & 1 else -1 for j in range(256)]
        if len(_SIGNS) > 64:
            _SIGNS.clear()  # sizes that change with every call must not fill the memory
        _SIGNS[key] = bits[:size]
    return _SIGNS[key]


def distribution(scores: list[float], tensor: Tensor) -> list[float]:
    """Probabilities of scores: as they are on a scale of 0 to 1, else their softmax."""
    if tensor.low == 0 and tensor.high == 1:
        return scores
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = math.fsum(powers)
    return [power / total for power in powers]


def bits(shares: list[float]) -> float:
    """Shannon's entropy of shares; those that are 0 or below count nothing."""
    return -math.fsum([share * math.log2(share) for share in shares if share > 0])

"""TensorSpec and Quantization: what goes in and out of a model, in the words of NumPy.

A shape is the whole shape as the artifact takes it, batch axis included. Data sets put one more axis in front: an
array of *n* samples for a tensor of shape `(1, 28, 28)` is `(n, 1, 28, 28)`; because almost every model has a batch
axis of 1, `(n, 28, 28)` is understood as well (`stack_samples`). An axis may vary between bounds: its size in `shape`
is then the nominal one, which data have (`edgekit.dimensions`).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from edgekit.dimensions import Axis, Dim
from edgekit.errors import ConversionError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")


_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_model_name(name: str) -> bool:
    """Whether a model's name can be a folder's name everywhere: ASCII letters, digits, `_`, `-`, `.`; first no sign."""
    return _MODEL_NAME.fullmatch(name) is not None


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Affine quantization: `real = scale × (stored - zero_point)`, along `axis` if per-channel.

    scale and zero_point have one entry per tensor, or one per channel of `axis`.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output: its name, shape, dtype and, where it matters, layout (such as "NCHW").

    A `Dim` in the shape makes its axis one that varies: `shape` keeps its nominal size, `varies` gets its bounds.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str | None = None
    quantization: Quantization | None = None
    varies: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        declared = [Axis(i, d.name, d.min, d.max) for i, d in enumerate(self.shape) if isinstance(d, Dim)]
        if declared:
            msgspec.structs.force_setattr(self, "varies", (*self.varies, *declared))
            msgspec.structs.force_setattr(self, "shape", tuple(map(int, self.shape)))
        if self.dtype not in DTYPES:
            raise DataError(
                f"Tensor {self.name!r} has dtype {self.dtype!r}.", remedy=f"Use one of {', '.join(DTYPES)}."
            )
        if any(size < 1 for size in self.shape):
            raise DataError(
                f"Tensor {self.name!r} has shape {self.shape}.", remedy="Every axis needs a size of 1 or more."
            )
        for axis in self.varies:
            if not 0 <= axis.axis < len(self.shape) or not axis.min <= self.shape[axis.axis] <= axis.max:
                raise DataError(
                    f"Tensor {self.name!r} of shape {self.shape} varies as {axis}.",
                    remedy="Name an axis of the shape, and bounds that hold its nominal size.",
                )

    def describe(self) -> str:
        """For messages and tables: `float32[1, 28, 28]`, `int64[1, length 8..128]`."""
        shown = list(map(str, self.shape))
        for axis in self.varies:
            shown[axis.axis] = f"{axis.name} {axis.min}..{axis.max}"
        return f"{self.dtype}[{', '.join(shown)}]"


def permutation(spec: TensorSpec, layout: str | None) -> list[int] | None:
    """The axes of a tensor in the order of another layout; None where that is the tensor's own, or none is asked for.

    Raises:
        ConversionError: the tensor does not say what layout it has, or one with other axes.
    """
    if layout is None or layout == spec.layout:
        return None
    if spec.layout is None or sorted(spec.layout) != sorted(layout):
        raise ConversionError(
            f"The payload takes {spec.name!r} as {layout}, but the model does not say what layout it has.",
            remedy=f"Give the tensor {spec.name!r} a layout in model.py, such as NCHW.",
        )
    return [spec.layout.index(axis) for axis in layout]


def relaid(samples: np.ndarray, spec: TensorSpec, layout: str | None) -> np.ndarray:
    """Samples `(n, *spec.shape)` with their axes in the order of another layout; see `permutation`."""
    order = permutation(spec, layout)
    return samples if order is None else samples.transpose(0, *(axis + 1 for axis in order))


def arrays_sha256(arrays: Iterable[np.ndarray]) -> str:
    """One hash over arrays: their types, shapes and elements, in order."""
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def stack_samples(spec: TensorSpec, array: np.ndarray, *, what: str) -> np.ndarray:
    """Brings samples to shape `(n, *spec.shape)` in the spec's dtype.

    Args:
        spec: the tensor that each sample is for.
        array: `(n, *spec.shape)`, or `(n, *spec.shape[1:])` where the batch axis is 1.
        what: names the data in an error, such as "calibration data in data.npz".

    Raises:
        DataError: another shape, no samples, a NaN or infinity, a value beyond the spec's dtype, or a dtype that cannot
            be cast without loss of kind (a float where the model takes integers).
    """
    import numpy as np

    batch_is_one = spec.shape[:1] == (1,)
    if array.ndim >= 1 and array.shape[1:] == spec.shape:
        stacked = array
    elif batch_is_one and array.ndim >= 1 and array.shape[1:] == spec.shape[1:]:
        stacked = array[:, None]
    else:
        wanted = f"(n, {', '.join(map(str, spec.shape))})"
        if batch_is_one:
            wanted += f" or (n, {', '.join(map(str, spec.shape[1:]))})"
        raise DataError(
            f"The {what} has shape {tuple(array.shape)} for input {spec.name!r}, which takes {spec.describe()}.",
            remedy=f"Give an array of shape {wanted}, one sample after the other.",
        )
    if stacked.shape[0] == 0:
        raise DataError(f"The {what} holds no samples for input {spec.name!r}.", remedy="Give at least one.")
    dtype = np.dtype(spec.dtype)
    if not np.can_cast(stacked.dtype, dtype, casting="same_kind"):
        raise DataError(
            f"The {what} is {stacked.dtype} for input {spec.name!r}, which takes {spec.dtype}.",
            remedy=f"Convert it with .astype({spec.dtype!r}) where it is made.",
        )
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(stacked, dtype=dtype)
    if dtype.kind == "f":
        usable, problem = np.isfinite(cast), f"NaN or values that are infinite as {spec.dtype}"
    else:
        usable, problem = cast == stacked, f"values beyond the range of {spec.dtype}"
    if not usable.all():
        bad = int(np.argwhere(~usable)[0][0])
        raise DataError(
            f"The {what} holds {problem} for input {spec.name!r} (first in sample {bad}).",
            remedy="Remove or repair those samples.",
        )
    return cast


def stack_all(specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray], *, what: str) -> dict[str, np.ndarray]:
    """`stack_samples` for every input; all must hold the same number of samples.

    Raises:
        DataError: a missing or unknown name, or different numbers of samples.
    """
    wanted = [spec.name for spec in specs]
    if sorted(arrays) != sorted(wanted):
        if len(specs) == 1 and len(arrays) == 1:  # one unnamed array is meant for the one input
            arrays = {wanted[0]: next(iter(arrays.values()))}
        else:
            raise DataError(
                f"The {what} holds {', '.join(sorted(arrays)) or 'nothing'}, but the model's inputs are "
                f"{', '.join(wanted)}.",
                remedy="Name the arrays like the inputs.",
            )
    stacked = {spec.name: stack_samples(spec, arrays[spec.name], what=what) for spec in specs}
    counts = {name: len(array) for name, array in stacked.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise DataError(f"The {what} has a different number of samples per input ({listed}).", remedy="Align them.")
    return stacked

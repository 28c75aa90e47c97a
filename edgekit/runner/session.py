"""An artifact in a runtime: whole batches of samples in, whole batches out, quantized where the payload is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _to_stored(array: Any, tensor: dict[str, Any]) -> Any:
    import numpy as np

    dtype = np.dtype(tensor["dtype"])
    if array.dtype == dtype or tensor["scale"] is None:
        return np.ascontiguousarray(array, dtype=dtype)
    limits = np.iinfo(dtype)
    stored = np.rint(array / tensor["scale"]) + tensor["zero_point"]
    return np.clip(stored, limits.min, limits.max).astype(dtype)


def to_real(array: Any, tensor: dict[str, Any]) -> Any:
    """A tensor's values, dequantized with its `scale` and `zero_point` if it has them and stores integers."""
    import numpy as np

    if tensor["scale"] is None or array.dtype.kind == "f":
        return array
    return (array.astype(np.float32) - tensor["zero_point"]) * np.float32(tensor["scale"])


def set_sample(session: Any, sample: Sequence[Any]) -> None:
    """Sets all inputs to one sample: a list of arrays, each in the shape of its tensor."""
    for i, array in enumerate(sample):
        session.set_input(i, _to_stored(array, session.inputs[i]))


def get_sample(session: Any) -> list[Any]:
    """All outputs of the last invoke, dequantized."""
    return [to_real(session.get_output(i), session.outputs[i]) for i in range(len(session.outputs))]


def get_stored(session: Any) -> list[Any]:
    """All outputs of the last invoke, as the payload stores them; `to_real` dequantizes them elsewhere."""
    return [session.get_output(i) for i in range(len(session.outputs))]


def run_samples(
    session: Any,
    inputs: Sequence[Any],
    tick: Callable[[], object] | None = None,
    read: Callable[[Any], list[Any]] = get_sample,
) -> list[Any]:
    """Runs every sample.

    Args:
        session: a runtime's session.
        inputs: one array per input, `(n, *shape)`.
        tick: called after each sample.
        read: what reads the outputs of one.

    Returns:
        One array per output, `(n, *shape)`.
    """
    import numpy as np

    collected: list[list[Any]] = [[] for _ in session.outputs]
    for k in range(len(inputs[0])):
        set_sample(session, [array[k] for array in inputs])
        session.invoke()
        for i, output in enumerate(read(session)):
            collected[i].append(np.array(output))
        if tick is not None:
            tick()
    return [np.stack(outputs) for outputs in collected]

"""The proof of a library with variants: all that this processor can run must give the same answer.

A device runs one of them, and which one is not known when the artifact is made. So the proof runs each sample through
each, takes the answer of the one that the runtime prefers, and fails where another one's is not the same up to the
rounding of sums in another order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ParityError

if TYPE_CHECKING:
    from edgekit.runner.runtimes.tvm import Session

TOLERANCE = 1e-3
"""Of the largest magnitude of an output: 60 dB, what float32 has to reach against its source too."""
TOLERANCE_OF_INTEGERS = 0.1
"""With quantized activations: one that lies between two integers may round to either, and others follow from it."""


class Agreeing:
    """A session of the TVM runtime that runs every variant at each call.

    Args:
        session: of a library with several `variants`; the first one's answers are those that `get_output` gives.
        tolerance: how far answers may be apart, as a part of an output's largest magnitude.
    """

    def __init__(self, session: Session, tolerance: float = TOLERANCE) -> None:
        self._session, self._tolerance = session, tolerance
        self.inputs, self.outputs = session.inputs, session.outputs
        self._answers: list[np.ndarray] = []

    def set_input(self, i: int, array: Any) -> None:
        self._session.set_input(i, array)

    def invoke(self) -> None:
        """Runs all variants.

        Raises:
            ParityError: two of them do not agree; names them and the output.
        """
        answers = {variant: self._run(variant) for variant in self._session.variants}
        preferred, *others = answers
        for other in others:
            for spec, mine, theirs in zip(self.outputs, answers[preferred], answers[other], strict=True):
                if not _same(mine, theirs, self._tolerance):
                    raise ParityError(
                        f"The library's variants {preferred} and {other} differ in output {spec['name']!r} by up to "
                        f"{np.abs(mine.astype(np.float64) - theirs).max():.3g}.",
                        remedy="This is a bug of the tvm format: report it. The option cpu makes a library without "
                        "variants.",
                    )
        self._answers = answers[preferred]

    def get_output(self, i: int) -> np.ndarray:
        return self._answers[i]

    def _run(self, variant: str) -> list[np.ndarray]:
        self._session.variant = variant
        self._session.invoke()
        return [np.array(self._session.get_output(i)) for i in range(len(self.outputs))]


def _same(mine: np.ndarray, theirs: np.ndarray, tolerance: float) -> bool:
    if not np.issubdtype(mine.dtype, np.floating):
        return bool(np.array_equal(mine, theirs))
    limit = tolerance * float(np.abs(mine).max(initial=0.0))
    return bool(np.allclose(mine, theirs, rtol=0.0, atol=limit, equal_nan=True))

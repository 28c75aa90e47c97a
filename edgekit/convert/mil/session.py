"""A program in the evaluator, as a runtime's session: what the proof runs where Core ML is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.convert.mil.evaluator import Evaluator
from edgekit.convert.mil.program import Feature, read_program
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from edgekit.artifact import Bindings

NAME = "MIL evaluator (not Core ML)"


class Session:
    """One `.mlpackage`, its tensors in the model's order (`edgekit.runner.runtimes` says what a session is).

    Raises:
        RefusedError: the evaluator lacks operators of the program.
        ConversionError: the package has no input or output of a name in `bindings`.
    """

    def __init__(self, path: Path, bindings: Bindings) -> None:
        program = read_program(path)
        self._evaluator = Evaluator(program)
        self.inputs = [_described(name, program.inputs, path) for name in bindings.inputs]
        self.outputs = [_described(name, program.outputs, path) for name in bindings.outputs]
        self._given: dict[str, np.ndarray] = {}
        self._results: dict[str, np.ndarray] = {}

    def set_input(self, i: int, array: np.ndarray) -> None:
        self._given[self.inputs[i]["name"]] = array

    def invoke(self) -> None:
        self._results = self._evaluator(self._given)

    def get_output(self, i: int) -> np.ndarray:
        return self._results[self.outputs[i]["name"]]


def _described(name: str, features: Sequence[Feature], path: Path) -> dict[str, Any]:
    for feature in features:
        if feature.name == name:
            return {
                "name": name, "shape": list(feature.shape), "dtype": feature.dtype, "scale": None, "zero_point": None,
            }  # fmt: skip
    raise ConversionError(
        f"{path.name} has no input or output {name!r}, but {', '.join(feature.name for feature in features)}.",
        remedy="This is a converter's bug: report it with the log.",
    )

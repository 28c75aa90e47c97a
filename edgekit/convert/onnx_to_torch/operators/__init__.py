"""All operators, put together from the tables of the files beside this one; two of a name are an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.convert.onnx_to_torch.operators import (
    activations,
    attention,
    constants,
    convolutions,
    elementwise,
    indexing,
    matrices,
    normalisations,
    pooling,
    quantization,
    recurrent,
    reductions,
    resize,
    shapes,
)

if TYPE_CHECKING:
    from edgekit.convert.onnx_to_torch.node import Operator


def _together(*tables: dict[str, Operator]) -> dict[str, Operator]:
    together: dict[str, Operator] = {}
    for table in tables:
        twice = together.keys() & table.keys()
        assert not twice, f"defined twice: {', '.join(sorted(twice))}"
        together.update(table)
    return together


OPERATORS = _together(
    activations.OPERATORS,
    attention.OPERATORS,
    constants.OPERATORS,
    convolutions.OPERATORS,
    elementwise.OPERATORS,
    indexing.OPERATORS,
    matrices.OPERATORS,
    normalisations.OPERATORS,
    pooling.OPERATORS,
    quantization.OPERATORS,
    recurrent.OPERATORS,
    reductions.OPERATORS,
    resize.OPERATORS,
    shapes.OPERATORS,
)

"""Samples of a model's tensors as the columns of its reference: what a device would have counted of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import DataError
from edgekit.telemetry.references.columns import Column
from edgekit.telemetry.references.tables import Table
from edgekit.telemetry.reporter.reference import NUMBER
from edgekit.telemetry.reporter.summaries import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.telemetry.reporter.reference import Reference

PLAIN = ("number", "category")


def has_tensors(reference: Reference) -> bool:
    """Whether it summarises tensors, and so wants arrays and not columns."""
    return any(tensor.kind not in PLAIN for tensor in reference.tensors)


def observed(reference: Reference, arrays: Mapping[str, np.ndarray], path: str) -> Table:
    """The arrays, one `(n, …)` a tensor of the reference, summarised.

    Args:
        reference: its tensors are looked up by name; those that are not there are left out, which is told.
        arrays: as the source model takes and gives them.
        path: where they come from, for messages.

    Raises:
        DataError: none of its tensors is there, or one cannot be summarised, or they are of different numbers.
    """
    columns: list[Column] = []
    rows = set()
    for tensor in reference.tensors:
        if tensor.name not in arrays:
            continue
        features = [f for f in reference.features if (f.role, f.tensor) == (tensor.role, tensor.name)]
        summaries = [feature.summary for feature in features]
        try:
            found = [row for sample in arrays[tensor.name] for row in summarise(tensor, summaries, sample, numpy=np)]
        except (ValueError, TypeError, IndexError) as error:
            raise DataError(
                f"The array {tensor.name!r} of {path} cannot be summarised as {tensor.kind}: {error}.",
                remedy="Give it as the source model takes it.",
            ) from error
        rows.add(len(found))
        for i, feature in enumerate(features):
            values = [row[i] for row in found]
            known = np.array(values, dtype=np.float64) if feature.kind == NUMBER else values
            columns.append(Column(feature.name, feature.kind, known, feature.role, tensor.name, feature.summary))
    if len(rows) != 1:
        names = ", ".join(tensor.name for tensor in reference.tensors)
        raise DataError(
            f"{path} has the arrays {', '.join(arrays)} ({sorted(rows)} samples); the reference watches {names}.",
            remedy="Give arrays of these names, with the same number of samples each.",
        )
    absent = [tensor.name for tensor in reference.tensors if tensor.name not in arrays]
    remarks = (f"not in the data, and so not judged: {', '.join(absent)}",) if absent else ()
    return Table(path, rows.pop(), tuple(columns), remarks=remarks)

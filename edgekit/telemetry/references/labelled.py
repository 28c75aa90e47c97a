"""How good a model is on labelled data: one number of a file with what it answered and what was right.

A CSV file has a column of each; rows without a label are left out, as people seldom label everything. An NPZ file has
an array of each, `(n,)`, or `(n, classes)` of scores for the answers.
"""

from __future__ import annotations

import csv
import math
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgekit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METRICS = ("accuracy", "mae", "rmse")
"""Share of right answers; mean absolute and root mean square difference of numbers."""


class Score(NamedTuple):
    """A metric of so many labelled samples."""

    value: float
    samples: int


def score(path: Path, metric: str, *, prediction: str = "prediction", label: str = "label") -> Score:
    """What a file of predictions and labels comes to.

    Args:
        path: .csv or .npz.
        metric: one of `METRICS`.
        prediction, label: names of its columns or arrays.

    Raises:
        DataError: it cannot be read, lacks one of them, has no labelled row, or a value that is no number where one is
            needed.
    """
    if metric not in METRICS:
        raise DataError(
            f"{metric!r} cannot be computed here.", remedy=f"Take {', '.join(METRICS)}, or give the number itself."
        )
    try:
        pairs = list(_of_npz(path, prediction, label) if path.suffix == ".npz" else _of_csv(path, prediction, label))
    except (OSError, ValueError, csv.Error, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as predictions and labels: {error}.", remedy="Give a .csv or .npz file."
        ) from error
    if not pairs:
        raise DataError(f"{path} has no row with a label.", remedy=f"Fill in the column {label!r}.")
    if metric == "accuracy":
        return Score(sum(_same(answer, right) for answer, right in pairs) / len(pairs), len(pairs))
    differences = [_float(answer, path) - _float(right, path) for answer, right in pairs]
    if metric == "mae":
        return Score(sum(map(abs, differences)) / len(pairs), len(pairs))
    return Score(math.hypot(*differences) / math.sqrt(len(pairs)), len(pairs))


def _of_csv(path: Path, prediction: str, label: str) -> Iterator[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        _need({prediction, label}, set(rows.fieldnames or ()), path)
        for row in rows:
            answer, right = (row[prediction] or "").strip(), (row[label] or "").strip()
            if right:
                yield answer, right


def _of_npz(path: Path, prediction: str, label: str) -> Iterator[tuple[str, str]]:
    with np.load(path, allow_pickle=False) as arrays:
        _need({prediction, label}, set(arrays.files), path)
        answers, rights = arrays[prediction], arrays[label]
    if answers.ndim == 2 and rights.ndim == 1:
        answers = answers.argmax(axis=1)
    if answers.shape != rights.shape or rights.ndim != 1:
        raise DataError(
            f"{path} has {prediction} of shape {answers.shape} and {label} of shape {rights.shape}.",
            remedy="Both are (n,), or the first is (n, classes) of scores.",
        )
    for answer, right in zip(answers.tolist(), rights.tolist(), strict=True):
        yield str(answer), str(right)


def _need(wanted: set[str], found: set[str], path: Path) -> None:
    if missing := wanted - found:
        raise DataError(
            f"{path} has no {' and no '.join(sorted(missing))}, but {', '.join(sorted(found)) or 'nothing'}.",
            remedy="Name them with --prediction and --label.",
        )


def _same(answer: str, right: str) -> bool:
    try:
        return answer == right or float(answer) == float(right)
    except ValueError:
        return False


def _float(text: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path} has {text!r} where a number is needed.", remedy="Use accuracy for classes.")
    return value

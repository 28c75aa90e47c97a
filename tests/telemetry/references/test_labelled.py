"""A metric of predictions and labels: of CSV and NPZ, checked against sums by hand; what is wrong is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.telemetry.references.labelled import score


def test_accuracy_of_a_table_leaves_out_what_has_no_label(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,answer,right\n1,cat,cat\n2,cat,\n3, dog,cat\n4,2,2.0\n", encoding="utf-8-sig")
    assert score(file, "accuracy", prediction="answer", label="right") == (2 / 3, 3)


def test_errors_of_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("prediction,label\n1,1\n5,2\n-1,3\n")
    assert score(file, "mae") == (7 / 3, 3)
    value, samples = score(file, "rmse")
    assert value == pytest.approx(np.sqrt(25 / 3))
    assert samples == 3


def test_arrays_of_scores(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, prediction=np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), label=np.array([1, 0, 0]))
    assert score(file, "accuracy") == (2 / 3, 3)
    np.savez(file, prediction=np.arange(4), label=np.arange(5))
    with pytest.raises(DataError, match=r"shape \(4,\) and label of shape \(5,\)"):
        score(file, "accuracy")


@pytest.mark.parametrize(
    ("content", "metric", "told"),
    [
        ("prediction,truth\n1,1\n", "accuracy", "no label, but prediction, truth"),
        ("prediction,label\n1,\n", "accuracy", "no row with a label"),
        ("prediction,label\n1,x\n", "mae", "'x' where a number is needed"),
        ("prediction,label\nnan,1\n", "rmse", "'nan' where a number is needed"),
        ("prediction,label\n", "f1", "cannot be computed"),
        ("", "accuracy", "no label and no prediction"),
        ("prediction,label\n1\n", "accuracy", "no row with a label"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, content: str, metric: str, told: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=told):
        score(file, metric)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no zip")
    (tmp_path / "b.csv").write_bytes(b"prediction,label\n\xff\xfe,1\n")
    np.savez(tmp_path / "c.npz", prediction=np.array([{}], dtype=object), label=np.array([1]))
    for name in ("a.npz", "b.csv", "c.npz", "none.csv"):
        with pytest.raises(DataError, match="cannot be read"):
            score(tmp_path / name, "accuracy")

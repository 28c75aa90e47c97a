"""Tables: what is a number, a category, a time, and what is refused or left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataError, MissingPackageError
from edgekit.telemetry.references.columns import Column, counts_of, features_of
from edgekit.telemetry.references.tables import Options, Table, read_table

TEXT = """id,when,speed,kind,note,flag,empty
7,2026-01-03T00:00:00,1.5,a,"x, 1",True,
8,2026-01-01T00:00:00,,b,"x, 2",False,
9,2026-01-02T00:00:00,2.5,,"x, 3",True,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TEXT)
    return path


def _column(table: Table, name: str) -> Column:
    return next(column for column in table.columns if column.name == name)


def test_columns_are_found_out_and_rows_come_in_the_order_of_time(table: Path) -> None:
    read = read_table(table)
    assert [column.name for column in read.columns] == ["speed", "kind", "note", "flag"]
    assert np.isnan(_column(read, "speed").values[0])
    assert _column(read, "speed").values[1:].tolist() == [2.5, 1.5]  # type: ignore[union-attr, call-overload]
    assert _column(read, "kind").values == ["b", None, "a"]
    assert read.times is not None
    assert (np.diff(read.times) == 86400).all()
    assert any("id was left out: it counts the rows" in remark for remark in read.remarks)
    assert any("empty was left out" in remark for remark in read.remarks)


def test_options_decide_what_values_do_not_say(table: Path) -> None:
    options = Options(
        categories=("id",), outputs=("speed",), ranges={"speed": (0.0, None)}, sentinels={"speed": (-1.0,)},
        ignored=("note",),
    )  # fmt: skip
    read = read_table(table, options)
    assert _column(read, "id").values == [8, 9, 7]
    assert (_column(read, "speed").role, _column(read, "speed").valid_min) == ("output", 0.0)
    assert _column(read, "speed").sentinels == (-1.0,)
    assert "note" not in [column.name for column in read.columns]


def test_with_a_reference_only_its_columns_are_read_and_as_it_has_them(table: Path) -> None:
    read = read_table(table, expected={"id": "number", "flag": "category"})
    assert [(column.name, column.kind) for column in read.columns] == [("id", "number"), ("flag", "category")]
    with pytest.raises(DataError, match="'kind' .* is a number in the reference, and has texts here"):
        read_table(table, expected={"kind": "number"})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "does not name its columns"),
        ("a,a\n1,2\n", "does not name its columns"),
        ("a,b\n1,2\n3\n", "Line 3 .* has 1 values; 2 columns"),
        ("a,b\n", "columns of"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=match):
        read_table(path)


def test_a_column_that_is_not_there_is_named(table: Path) -> None:
    with pytest.raises(DataError, match="has no column speeed; it has id, when"):
        read_table(table, Options(outputs=("speeed",)))
    with pytest.raises(DataError, match="does not hold times"):
        read_table(table, Options(time="kind"))


def test_npz_gives_a_column_an_array_or_one_an_element(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, a=np.array([1.0, 5.0, 2.0]), b=np.array([[1, 2], [5, 7], [1, 4]]))
    assert [column.name for column in read_table(path).columns] == ["a", "b.0", "b.1"]
    np.savez(path, a=np.arange(3.0), b=np.arange(4.0))
    with pytest.raises(DataError, match="columns of"):
        read_table(path)
    np.savez(path, a=np.array([object()]), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as NPZ"):
        read_table(path)


def test_no_file_and_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table that can be read"):
        read_table(tmp_path / "a.xlsx")
    with pytest.raises(DataError, match="There is no file"):
        read_table(tmp_path / "a.csv")


def test_parquet_without_pyarrow_names_the_extra_and_with_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(MissingPackageError, match=r"edgekit\[parquet\]"):
            read_table(path)
        return
    parquet.write_table(pyarrow.table({"a": [1.0, None, 9.0], "k": ["x", "y", None]}), path)
    read = read_table(path)
    assert _column(read, "k").values == ["x", "y", None]
    assert np.isnan(_column(read, "a").values[1])
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_table(path)


def test_a_reference_counts_what_its_own_data_have() -> None:
    rng = np.random.default_rng(1)
    values = np.where(rng.random(3000) < 0.1, np.nan, np.maximum(0, rng.normal(size=3000)))
    texts = rng.choice(["a", "b", "c"], 3000).tolist()
    columns = [Column("x", "number", values, valid_min=0.0), Column("k", "category", texts)]
    for feature, column in zip(features_of(columns), columns, strict=True):
        counts = counts_of(feature, column.values)
        assert counts.cells == feature.cells
        assert counts.missing == feature.missing
        assert sum(feature.cells) + feature.missing == 3000
        assert counts.out_of_range == 0
    assert features_of(columns)[1].categories == ("a", "b", "c")
    assert features_of(columns)[1].cells[-1] == 0


def test_columns_without_values_or_with_too_many_categories_are_refused() -> None:
    with pytest.raises(DataError, match="has no number in 3 values"):
        features_of([Column("x", "number", np.full(3, np.nan))])
    with pytest.raises(DataError, match="has 300 different values"):
        features_of([Column("x", "category", [str(i) for i in range(300)])])

"""`edgekit telemetry check`: tables and stores, exit status, and the forms that a verdict is printed in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgekit.cli import cli
from edgekit.specs import TensorSpec
from edgekit.telemetry.references.tensors import reference_of_model


def _check(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["telemetry", "check", *map(str, arguments)])


def _table(path: Path, seed: int, rows: int, shift: float = 0.0) -> Path:
    rng = np.random.default_rng(seed)
    values = zip(rng.normal(20 + shift, 3, rows), rng.choice(["on", "off"], rows), rng.beta(5, 2, rows), strict=True)
    path.write_text("temperature,state,score\n" + "\n".join(f"{a},{b},{c}" for a, b, c in values) + "\n")
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    data = _table(tmp_path / "pump.csv", 1, 5000)
    out = tmp_path / "reference.json"
    arguments = ["telemetry", "reference", str(data), "--output", "score", "--out", str(out)]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
    return out


def test_quiet_is_0_drift_3_and_too_little_4(tmp_path: Path, reference: Path) -> None:
    quiet = _check(reference, _table(tmp_path / "q.csv", 2, 3000))
    assert quiet.exit_code == 0, quiet.output
    assert "pump: quiet" in quiet.output
    moved = _check(reference, _table(tmp_path / "m.csv", 3, 3000, shift=3))
    assert moved.exit_code == 3
    assert "drift in 1 of 3 features" in moved.output
    assert "higher: mean" in moved.output
    assert "the model's outputs did not move" in moved.output
    few = _check(reference, _table(tmp_path / "f.csv", 4, 60))
    assert few.exit_code == 4
    assert "60 rows are too few for a verdict, which takes 200" in few.output


def test_json_has_every_field_and_markdown_a_table(tmp_path: Path, reference: Path) -> None:
    data = _table(tmp_path / "m.csv", 3, 3000, shift=3)
    told = json.loads(_check(reference, data, "--json", "--kl").stdout)
    assert told["command"] == "telemetry check"
    assert told["outcome"] == "drift"
    assert [f["feature"] for f in told["features"] if f["outcome"] == "drift"] == ["temperature"]
    assert told["features"][0]["kl"] > 0
    assert told["outputs_moved"] is False
    page = Path(__file__).parents[2] / "docs/formats/drift-verdict.md"
    described = page.read_text()
    fields = {*told, *told["features"][0]} - {"command"}
    assert [name for name in sorted(fields) if f"`{name}`" not in described] == []
    written = _check(reference, data, "--markdown").output
    assert written.startswith("## pump: drift in 1 of 3 features")
    assert "| temperature | input |" in written


def test_where_it_began_is_a_row(tmp_path: Path, reference: Path) -> None:
    whole = _table(tmp_path / "a.csv", 5, 6000).read_text()
    later = _table(tmp_path / "b.csv", 6, 6000, shift=4).read_text().partition("\n")[2]
    both = tmp_path / "both.csv"
    both.write_text(whole + later)
    told = json.loads(_check(reference, both, "--json").stdout)
    assert told["shape"] == "sudden"
    assert abs(int(told["began"].removeprefix("row ")) - 6000) <= 300
    assert _check(reference, both, "--rows", ":6000").exit_code == 0
    assert _check(reference, both, "--rows", "6000:").exit_code == 3


def test_a_column_that_is_missing_is_a_finding(tmp_path: Path, reference: Path) -> None:
    data = tmp_path / "m.csv"
    lines = _table(tmp_path / "whole.csv", 2, 1000).read_text().splitlines()
    data.write_text("\n".join(line.partition(",")[2] for line in lines) + "\n")
    result = _check(reference, data)
    assert result.exit_code == 3
    assert "the data have no temperature" in result.output


def test_an_artifacts_reference_judges_arrays_and_outputs_may_be_absent(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    image, scores = TensorSpec("image", (1, 8, 8, 3)), TensorSpec("scores", (1, 4))
    seen = rng.random((600, 1, 8, 8, 3)).astype("float32"), rng.normal(size=(600, 1, 4)).astype("float32")
    made = reference_of_model("m", [(image, seen[0])], [(scores, seen[1])], {}, "a test's samples")
    assert made is not None
    (tmp_path / "reference.json").write_bytes(made.to_json())
    data = tmp_path / "new.npz"
    np.savez(data, image=rng.random((500, 8, 8, 3)).astype("float32"))
    result = _check(tmp_path, data)
    assert result.exit_code == 0, result.output
    assert "not in the data, and so not judged: scores" in result.output
    np.savez(data, image=0.5 * rng.random((500, 8, 8, 3)), scores=rng.normal(size=(500, 4)))
    told = json.loads(_check(tmp_path, data, "--json").stdout)
    assert {f["feature"] for f in told["features"] if f["outcome"] == "drift"} >= {"image.mean", "image.std"}
    assert told["outputs_moved"] is False
    np.savez(data, picture=np.zeros((500, 8, 8, 3)))
    assert "the reference watches image, scores" in str(_check(tmp_path, data).exception)
    table = _table(tmp_path / "t.csv", 1, 300)
    assert "watches tensors (image, scores)" in str(_check(tmp_path, table).exception)


def test_wrong_files_and_options_are_told(tmp_path: Path, reference: Path) -> None:
    data = _table(tmp_path / "q.csv", 2, 300)
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(reference.read_bytes().replace(b"pump", b"pimp"))
    for arguments, status, said in (
        ((damaged, data), 1, "its id is not the hash of its content"),
        ((tmp_path / "none.json", data), 1, "edgekit telemetry reference DATA"),
        ((reference,), 2, "Give REFERENCE and DATA"),
        ((reference, reference, "--keep"), 2, "--keep goes with --db"),
        ((reference, data, "--rows", "7"), 2, "is not FROM:TO"),
        (("--db", tmp_path / "t.db"), 2, "Give the --model"),
        (("--db", tmp_path / "t.db", "--model", "m", "--span", "1y"), 2, "is no time such as"),
        (("--db", tmp_path / "t.db", "--model", "m"), 1, "There is no database"),
    ):
        result = _check(*arguments)
        if status == 1:
            assert result.exception is not None
            assert said in str(result.exception), arguments
        else:
            assert (result.exit_code, said in result.output) == (2, True), result.output

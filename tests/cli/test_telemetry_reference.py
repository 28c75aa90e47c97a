"""`edgekit telemetry reference`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from edgekit.cli import cli
from edgekit.telemetry.reporter.reference import Reference


def test_a_table_becomes_a_reference_that_devices_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = zip(rng.normal(20, 3, 1000), rng.choice(["on", "off"], 1000), rng.integers(0, 3, 1000), strict=True)
    data = tmp_path / "pump.csv"
    data.write_text("temperature,state,mode\n" + "\n".join(f"{a},{b},{c}" for a, b, c in rows) + "\n")
    out = tmp_path / "reference.json"
    arguments = ["telemetry", "reference", str(data), "--category", "mode", "--valid", "temperature=-40:125"]
    arguments += ["--sentinel", "temperature=-999", "--output", "state", "--out", str(out), "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    reference = Reference.load(out)
    assert told["id"] == reference.id
    assert reference.model == "pump"
    kinds = {feature.name: (feature.kind, feature.role) for feature in reference.features}
    assert kinds == {
        "temperature": ("number", "input"), "state": ("category", "output"), "mode": ("category", "input"),
    }  # fmt: skip
    temperature = reference.features[0]
    assert (temperature.valid_min, temperature.valid_max) == (-40, 125)
    assert -999.0 in temperature.edges
    assert temperature.floors
    again = tmp_path / "again.json"
    CliRunner().invoke(cli, [*arguments[:-3], "--out", str(again)], catch_exceptions=False)
    assert again.read_bytes() == out.read_bytes()


def test_wrong_options_are_usage_errors(tmp_path: Path) -> None:
    data = tmp_path / "t.csv"
    data.write_text("a\n1\n2\n4\n")
    for wrong in (["--valid", "a"], ["--valid", "a=x:1"], ["--sentinel", "a=nothing"]):
        arguments = ["telemetry", "reference", str(data), "--out", str(tmp_path / "r.json"), *wrong]
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2, wrong


def test_a_joint_tells_a_change_between_columns_that_no_column_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 4000))
    written = {"then": (a, b), "now": (a, 0.8 * a + 0.6 * b)}
    for name, columns in written.items():
        rows = zip(*columns, rng.choice(["on", "off"], 4000), strict=True)
        (tmp_path / f"{name}.csv").write_text("a,b,state\n" + "\n".join(f"{x},{y},{z}" for x, y, z in rows) + "\n")
    out = str(tmp_path / "reference.json")
    arguments = ["telemetry", "reference", str(tmp_path / "then.csv"), "--joint", "--out", out]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(cli, ["telemetry", "check", out, str(tmp_path / "now.csv"), "--json"])
    assert result.exit_code == 3, result.output
    assert [f["feature"] for f in json.loads(result.stdout)["features"] if f["outcome"] == "drift"] == ["joint"]
    result = CliRunner().invoke(cli, ["telemetry", "check", out, str(tmp_path / "now.csv")])
    assert "together" in result.output
    (tmp_path / "one.csv").write_text("a,state\n1,on\n2,off\n4,on\n")
    result = CliRunner().invoke(cli, ["telemetry", "reference", str(tmp_path / "one.csv"), "--joint", "--out", out])
    assert result.exit_code == 1
    assert "no two numbers" in str(result.exception)

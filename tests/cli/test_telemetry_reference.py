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

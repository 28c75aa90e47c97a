"""`edgekit-report`: sends what ended programs left, and leaves a running one alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.telemetry.reporter import Reporter
from edgekit.telemetry.reporter.__main__ import main
from tests.telemetry.reporter.models import KEY, Collecting, tabular

if TYPE_CHECKING:
    import pytest


def test_flush_and_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = str(tmp_path)
    with Collecting(lambda n: 503 if n == 0 else None) as collector:
        arguments = {"state": state, "collector": collector.url, "key_id": "k1", "key": KEY, "device": "dev-1"}
        first = Reporter.open(tabular(), background=False, **arguments)
        second = Reporter.open(tabular(), background=False, **arguments)
        for reporter in (first, second):
            for _ in range(10):
                reporter.observe([0.0, 0.0, 0.0])
        second.close(0)
        first.flush(0)
        assert main(["status", state]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["enrolled"]
        assert [folder["inferences"] for folder in told["folders"].values()] == [10, 10]
        assert main(["flush", state]) == 1
        assert "status 503" in capsys.readouterr().err
        assert main(["flush", state, "--timeout", "5"]) == 0
        assert collector.total() == 10  # the first still runs
        first.close(0)
        assert main(["flush", state]) == 0
        assert collector.total() == 20
    assert main(["flush", str(tmp_path / "none")]) == 1
    assert "no collector and key" in capsys.readouterr().err
    for wrong in ([], ["flush"], ["erase", state], ["flush", state, "--timeout"], ["flush", state, "--timeout", "x"]):
        assert main(wrong) == 2

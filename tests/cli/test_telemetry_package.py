"""`edgekit telemetry package --to`: the reporter on a device, for a program there to import."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer, Board

pytestmark = pytest.mark.device


def test_the_reporter_is_put_on_a_device_and_counts_there(
    edgekit: Callable[..., Answer], board: Board, tmp_path: Path
) -> None:
    placed = edgekit("telemetry", "package", "--to", board.target, "--json").document["placed"]
    assert placed == str(board.root / "bin/edgekit-report.pyz")
    program = f"import sys; sys.path.insert(0, {placed!r})\nfrom edgekit_reporter import Reporter\n"
    program += "reporter = Reporter.open(model='m', state='state'); reporter.observe([1.0, 2.0]); reporter.close()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    status = subprocess.run([sys.executable, placed, "status", "state"], cwd=tmp_path, capture_output=True, timeout=60)
    assert status.returncode == 0


def test_a_device_that_is_away_is_an_error_and_nothing_is_packed_for_nobody(
    edgekit: Callable[..., Answer], board: Board, tmp_path: Path
) -> None:
    away = board.sshd.write_target(tmp_path / "away.toml", "away", str(tmp_path / "root"), port=1)
    answer = edgekit("telemetry", "package", "--to", away)
    assert answer.code == 1
    assert "did not answer" in answer.err
    assert edgekit("telemetry", "package").code == 2

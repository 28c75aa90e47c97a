"""The reporter alone: installed by pip into an environment that has nothing else, and on the oldest Python there is."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgekit.cli import cli
from edgekit.telemetry import reporter
from edgekit.telemetry.packaging import PACKAGE, wheel, zipapp
from tests.telemetry.reporter.models import tabular

PROGRAM = f"""
import json, sys
from {PACKAGE} import Reporter
with Reporter.open(sys.argv[1], state=sys.argv[2]) as reporter:
    for i in range(500):
        reporter.observe([float(i), 0.0, 0.0], latency_ns=1e6)
    assert [each.verdict for each in reporter.drift().features] == ["drift"] * 3
    assert reporter.status()["dropped"] == 0, reporter.status()
assert not [name for name in sys.modules if name.split(".")[0] in ("edgekit", "numpy")]
"""


def run(python: str, path: Path, folder: Path, flags: tuple[str, ...] = ()) -> None:
    """PROGRAM, with `path` on the way to the package."""
    tabular().save(folder / "reference.json")
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}, "PYTHONPATH": str(path)}
    command = [python, *flags, "-c", PROGRAM, str(folder / "reference.json"), str(folder / "state")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, done.stderr


def oldest_python() -> str | None:
    """A Python 3.8 of this machine, on the path or of pyenv."""
    candidates = [
        shutil.which("python3.8"),
        *map(str, Path("~/.pyenv/versions").expanduser().glob("3.8*/bin/python3.8")),
    ]
    for each in candidates:
        if each and subprocess.run([each, "-c", ""], capture_output=True).returncode == 0:
            return each
    return None


def test_the_wheel_installs_and_works_alone(tmp_path: Path) -> None:
    made = wheel(tmp_path / "dist")
    assert made.stat().st_size <= 150 * 1024
    assert wheel(tmp_path / "again").read_bytes() == made.read_bytes()
    venv.create(tmp_path / "env", with_pip=False)
    python = str(tmp_path / "env" / "bin" / "python")
    install = ["-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "-q", str(made)]
    subprocess.run([sys.executable, *install], check=True, timeout=120)
    run(python, tmp_path / "none", tmp_path)
    script = tmp_path / "env" / "bin" / "edgekit-report"
    done = subprocess.run([script, "status", tmp_path / "state"], capture_output=True, text=True, timeout=60)
    assert '"inferences": 500' in done.stdout
    assert subprocess.run([script, "flush", tmp_path / "state"], capture_output=True, timeout=60).returncode == 1


def test_the_zipapp_is_imported_and_run(tmp_path: Path) -> None:
    made = zipapp(tmp_path / "report.pyz")
    run(sys.executable, made, tmp_path, ("-S",))
    done = subprocess.run([made, "status", tmp_path / "state"], capture_output=True, text=True, timeout=60)
    assert '"inferences": 500' in done.stdout
    assert subprocess.run([sys.executable, made, "--help"], capture_output=True, timeout=60).returncode == 2


def test_the_code_is_python_3_8() -> None:
    for path in sorted(Path(reporter.__file__).parent.glob("*.py")):
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_it_runs_on_python_3_8(tmp_path: Path) -> None:
    python = oldest_python()
    if python is None:
        pytest.skip("no Python 3.8 here; its syntax is checked by another test")
    run(python, zipapp(tmp_path / "report.pyz"), tmp_path, ("-W", "error"))


def test_the_wheel_holds_the_package_and_nothing_of_edgekit(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel(tmp_path)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {name.split("/")[0].split("-")[0] for name in names} == {PACKAGE}
        for name in names:
            if name.endswith(".py"):
                tree = ast.walk(ast.parse(archive.read(name)))
                imported = [node.names[0].name for node in tree if isinstance(node, ast.Import)]
                assert not [each for each in imported if each.startswith(("edgekit", "msgspec"))]


def test_the_command(tmp_path: Path) -> None:
    arguments = ["telemetry", "package", "--wheel", str(tmp_path), "--zipapp", str(tmp_path / "r.pyz")]
    assert "KiB" in CliRunner().invoke(cli, arguments).output
    assert '"zipapp": null' in CliRunner().invoke(cli, [*arguments[:4], "--json"]).output
    assert CliRunner().invoke(cli, arguments[:2]).exit_code == 2

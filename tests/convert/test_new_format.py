"""A format from outside the package, taken word for word from docs/new-format.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgekit.artifact import open_artifact
from tests.convert.conftest import REPOSITORY

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / "docs" / "new-format.md"


def blocks() -> dict[str, str]:
    """The page's files, by the name in the comment on their first line."""
    found = re.findall(r"^    # (\S+)(?: .*)?\n((?:    .*\n|\n)+)", PAGE.read_text(), flags=re.MULTILINE)
    return {name: textwrap.dedent(body).strip() + "\n" for name, body in found}


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the page's package is installed, as pip would: files and metadata."""
    files = blocks()
    site = tmp_path / "site"
    for name in ("edgekit_pt2/format.py", "edgekit_pt2/pt2.py"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(files[name])
    points = re.sub(r'\[project\.entry-points\."(.+)"\]', r"[\1]", files["pyproject.toml"]).replace('"', "")
    metadata = site / "edgekit_pt2-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: edgekit-pt2\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(points)
    path = f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return {**os.environ, "PYTHONPATH": path, "EDGEKIT_CACHE": str(tmp_path / "cache")}


def test_it_is_as_short_as_the_page_says() -> None:
    lines = [line for line in blocks()["edgekit_pt2/format.py"].splitlines() if line.strip()]
    assert len(lines) <= 50


def test_converted_proven_verified_and_benched(installed: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"

    def edgekit(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgekit", *arguments]
        return subprocess.run(command, env=installed, cwd=REPOSITORY, capture_output=True, text=True)

    recipes = ["--to", "pt2:float32", "--to", "pt2:bfloat16"]
    done = edgekit("convert", "models/digits_cnn", *recipes, "--out", str(out))
    assert done.returncode == 0, done.stderr
    half = open_artifact(out / "digits_cnn" / "pt2-bfloat16").manifest
    full = open_artifact(out / "digits_cnn" / "pt2-float32").manifest
    assert full.parity.outputs[0].exact
    assert 15 < half.parity.worst_snr_db < 60
    assert half.stored_dtypes.keys() == {"bfloat16"}
    assert half.parity.proved_by.startswith("pt2 2.")

    again = edgekit("convert", "models/digits_cnn", *recipes, "--out", str(out))
    assert again.stdout.count("cached") == 2
    assert edgekit("verify", str(out / "digits_cnn" / "pt2-bfloat16")).returncode == 0
    (tmp_path / "here.toml").write_text(
        f'schema = 1\nname = "here"\ntransport = "local"\npython = "{sys.executable}"\nroot = "{tmp_path / "root"}"\n'
    )
    bench = edgekit("bench", str(out / "digits_cnn" / "pt2-float32"), "--on", str(tmp_path / "here.toml"),
                    "--blocks", "1", "--out", str(tmp_path / "runs"))  # fmt: skip
    assert bench.returncode == 0, bench.stderr
    assert "pt2:float32" in bench.stdout


def test_without_its_runtime_the_device_says_so(installed: dict[str, str], tmp_path: Path) -> None:
    """A format whose runtime is not registered fails before anything runs."""
    points = tmp_path / "site" / "edgekit_pt2-1.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().partition("[edgekit.runtimes]")[0])
    command = [sys.executable, "-m", "edgekit", "convert", "models/digits_cnn", "--to", "pt2:float32", "--out",
               str(tmp_path / "out")]  # fmt: skip
    done = subprocess.run(command, env=installed, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1
    assert "There is no runtime 'pt2'" in done.stderr
    assert not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path / "site")

"""A target that is a browser, measured briefly; and the browser's processes, to do things to."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.artifact import Artifact, open_artifact
from edgekit.devices import BenchSettings, Target
from edgekit.devices.settings import BrowserSettings

BRIEF = BenchSettings(max_warmup_s=1.0, min_samples=20, min_s=0.2, max_s=1.0, idle_timeout_s=60.0)


@pytest.fixture(scope="session")
def float32(digits: Path) -> Artifact:
    """digits_cnn in float32."""
    return open_artifact(digits / "tflite-float32")


@pytest.fixture(scope="session")
def int8(digits: Path) -> Artifact:
    """digits_cnn in int8, inside and at its ends."""
    return open_artifact(digits / "tflite-int8")


@pytest.fixture
def browser_target(node_modules: Path, tmp_path: Path) -> Callable[..., Target]:
    """Makes targets: `browser_target(start=False)` with these settings."""

    def make(bench: BenchSettings = BRIEF, **settings: Any) -> Target:
        given = {"litert_js": str(node_modules / "@litertjs" / "core"), "open_timeout_s": 90.0, **settings}
        return Target("page", "browser", root=str(tmp_path / "root"), browser=BrowserSettings(**given), bench=bench)

    return make


@pytest.fixture(autouse=True)
def _profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers of a test have their profiles in its folder: nobody else's browser is taken for one of them."""
    (tmp_path / "p").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "p"))


def processes(kind: str = "") -> list[int]:
    """The processes of this test's browsers: all of them, or those of a kind such as `renderer`."""
    profile = f"--user-data-dir={tempfile.gettempdir()}/edgekit-browser-"
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
            except OSError:
                continue
            if profile in words and (f"--type={kind} " in words if kind else True):
                found.append(int(folder.name))
    return found


def main_process() -> int:
    """The browser itself: the one without a type."""
    (found,) = (pid for pid in processes() if b"--type=" not in Path(f"/proc/{pid}/cmdline").read_bytes())
    return found


def nothing_is_left(within_s: float = 10) -> bool:
    """Whether no browser of EdgeKit's runs any more and no profile of one lies around."""
    end = time.monotonic() + within_s
    while processes() or list(Path(tempfile.gettempdir()).glob("edgekit-browser-*")):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True

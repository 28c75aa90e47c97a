"""digits_cnn bundled for the web, LiteRT.js and TypeScript out of npm, and a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.bundle import write_bundle
from tests.browser import chromium, watched
from tests.bundle.web.serving import BundleServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgekit.artifact import Artifact

LITERT_SAYS = ("INFO: ", "WARNING: [npu_registry", "No available adapters", "Failed to create default WebGPU device")
"""What LiteRT.js writes to the console where there is no GPU and no NPU."""


@pytest.fixture(scope="session")
def bundles(float32: Artifact, int8: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles of digits_cnn: the folders `float32` and `int8`."""
    folder = tmp_path_factory.mktemp("bundles")
    for artifact in (float32, int8):
        write_bundle([artifact], "web", folder / artifact.manifest.recipe.precision)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all of a module, and closed behind it: Playwright runs one at a time in a process."""
    with chromium() as opened:
        yield opened


class Page:
    """check.html of a bundle in a tab of its own."""

    def __init__(self, browser: Any, server: BundleServer) -> None:
        self.server = server
        self.tab, self._trouble = watched(browser.new_context(), home=server.home)

    def open(self) -> dict[str, Any]:
        """Opens it and waits for its report, half a minute at most."""
        self.tab.goto(f"{self.server.home}check.html")
        self.tab.wait_for_function("document.getElementById('report').textContent.startsWith('{')", timeout=30_000)
        return json.loads(self.tab.text_content("#report"))

    @property
    def trouble(self) -> list[str]:
        """What went wrong there, without what LiteRT.js always says."""
        return [text for text in self._trouble if not text.startswith(LITERT_SAYS)]


@pytest.fixture
def page(browser: Any, bundles: Path, node_modules: Path) -> Iterator[Callable[[str], Page]]:
    """Serves the bundle of a precision, and makes a tab for it."""
    servers: list[BundleServer] = []

    def make(precision: str) -> Page:
        servers.append(BundleServer(bundles / precision, node_modules))
        return Page(browser, servers[-1])

    yield make
    for server in servers:
        server.close()

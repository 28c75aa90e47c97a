"""The browser that EdgeKit starts, and what others on its machine see of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.devices.browser.program import Browser, find_browser
from edgekit.devices.browser.server import PageServer
from tests.devices.browser.conftest import nothing_is_left, processes

PAGE = b"""<script>
const socket = new WebSocket(new URL("lines", document.baseURI.replace("http", "ws")));
socket.onopen = () => socket.send(`${document.visibilityState} ${crossOriginIsolated}`);
</script>"""


@pytest.mark.slow
def test_no_command_line_has_the_secret() -> None:
    """Every user of a machine may read them."""
    server = PageServer("127.0.0.1", 0, "127.0.0.1")
    server.put([("page.html", PAGE)])
    url = server.invite()
    browser = Browser(find_browser(None), url, headless=True, arguments=())
    try:
        page = server.await_page(60)
        assert page is not None
        assert page.lines.get(timeout=10) == b"visible true"
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes()]
        assert lines
        assert not any(url.split("/")[3].encode() in line for line in lines)
    finally:
        browser.end()
        server.close()
    assert nothing_is_left()

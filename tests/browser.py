"""A real browser for tests: Debian's Chromium, headless, driven by Playwright, which notes whatever goes wrong."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
          "--disable-sync", "--no-first-run")  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(_QUIET))
        yield opened
        opened.close()


def watched(context: Any, *, home: str) -> tuple[Any, list[str]]:
    """A tab, and the list of what goes wrong in it: messages, errors, requests to anywhere but `home`."""
    tab = context.new_page()
    trouble: list[str] = []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(home) else trouble.append(request.url))
    return tab, trouble

"""One request in one page, as a process whose stdout are the runner's lines.

Two ways to a page: `Launched` starts a browser of its own for the request, and ends it afterwards; `Awaited` takes the
page that somebody opened, and lets it load itself anew afterwards. Either way a page that is gone, hangs or never comes
is an error within a bound.
"""

from __future__ import annotations

import queue
import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from edgekit.devices.browser.program import Browser
from edgekit.devices.process import Process
from edgekit.errors import ConnectionLostError, RunnerError, UnreachableDeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.devices.browser.server import PageConnection, PageServer
    from edgekit.devices.settings import BrowserSettings
    from edgekit.errors import DeviceError

_POLL_S = 0.2
_ENDING_S = 1.0
"""How long a browser that is going down may take to be known as gone."""
AGAIN = 4001
"""The close code by which a page is told to load itself anew."""


class PageProcess(Process):
    """A page that carries out one request. Its errors name the device; it has neither stdin nor stderr."""

    def __init__(self, server: PageServer, name: str) -> None:
        self._server = server
        self._name = name
        self._page: PageConnection | None = None
        self._step = ""
        self._over = False

    def ask(self, request: str, timeout_s: float, step: str) -> None:
        """Waits for the page, and gives it its request.

        Raises:
            UnreachableDeviceError: no page came within the bound.
            RunnerError: the browser ended.
        """
        self._step = step
        deadline = time.monotonic() + timeout_s
        while self._page is None:
            self._page = self._server.await_page(min(_POLL_S, timeout_s))
            if self._page is None and time.monotonic() > deadline:
                raise self._absent(timeout_s, step)
            self._look(step)
        try:
            self._page.send(request)
        except OSError as error:
            raise self._lost(step) from error

    def read(self, timeout_s: float) -> tuple[bytes, bytes] | None:
        assert self._page is not None
        if self._over:
            return None
        try:
            line = self._page.lines.get(timeout=timeout_s)
        except queue.Empty:
            return b"", b""
        if line is None:
            raise self._lost(self._step)
        if not line:
            self._over = True
            return None
        return line + b"\n", b""

    def code(self, timeout_s: float) -> int | None:  # noqa: ARG002 - a page has no exit status; its `done` event has
        return 0

    def feed(self, stdin: Iterable[bytes]) -> None:
        pass

    def end(self) -> None:
        if self._page is not None:
            self._page.close(AGAIN)

    def _look(self, step: str) -> None:
        """Raises if no page can come any more."""

    @abstractmethod
    def _absent(self, timeout_s: float, step: str) -> DeviceError: ...

    @abstractmethod
    def _lost(self, step: str) -> DeviceError: ...


class Launched(PageProcess):
    """In a browser that is started for it."""

    def __init__(self, server: PageServer, name: str, program: str, settings: BrowserSettings) -> None:
        super().__init__(server, name)
        self._browser = Browser(program, server.invite(), headless=settings.headless, arguments=settings.arguments)

    def end(self) -> None:
        super().end()
        self._browser.end()

    def _look(self, step: str) -> None:
        if self._browser.status is not None:
            raise self._ended(step)

    def _absent(self, timeout_s: float, step: str) -> DeviceError:
        return UnreachableDeviceError(
            f"{self._name} started, and its page did not come within {timeout_s:g} s while {step}.",
            remedy="Raise browser.open_timeout_s in the target if this machine is that slow, or try headless = false.",
        )

    def _lost(self, step: str) -> DeviceError:
        deadline = time.monotonic() + _ENDING_S
        while self._browser.status is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._browser.status is not None:
            return self._ended(step)
        return RunnerError(
            f"The page of {self._name[0].lower()}{self._name[1:]} was closed or crashed while {step}; the browser "
            "itself still ran.",
            remedy="Nothing of it was kept. A page crashes where its memory ends: try a smaller artifact.",
        )

    def _ended(self, step: str) -> DeviceError:
        said = self._browser.said
        return RunnerError(
            f"{self._name} ended with exit status {self._browser.status} while {step}"
            f"{': ' + said if said else ', and said nothing'}.",
            remedy="Nothing of it was kept. Look whether something ended it (too little memory?), and run it again.",
        )


class Awaited(PageProcess):
    """In a page that somebody opened, perhaps on another device."""

    def _absent(self, timeout_s: float, step: str) -> DeviceError:
        return UnreachableDeviceError(
            f"{self._name} was not opened within {timeout_s:g} s while {step}.",
            remedy=f"Open {self._server.url} there and leave it in front; browser.open_timeout_s is the bound.",
        )

    def _lost(self, step: str) -> DeviceError:
        return ConnectionLostError(
            f"The page of {self._name[0].lower()}{self._name[1:]} was closed, crashed or lost its network while "
            f"{step}.",
            remedy="Nothing of it was kept. Leave the page in front and the screen on, and run it again.",
        )

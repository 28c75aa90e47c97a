"""BrowserDevice: a browser that is measured in. It has no shell and no store.

Artifacts, samples, the runner and LiteRT.js are served to the page from where they lie here. A browser that EdgeKit
starts runs on this machine, so this machine's load, clocks and lock are its own; of the machine of a page that somebody
opened elsewhere nothing is known but what the page tells.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import socket
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgekit.artifact import MANIFEST, check_files
from edgekit.devices.browser.fitting import unsuitable
from edgekit.devices.browser.litert_js import LiteRtJs, find_litert_js
from edgekit.devices.browser.page import Awaited, Launched, PageProcess
from edgekit.devices.browser.program import find_browser
from edgekit.devices.browser.server import PageServer
from edgekit.devices.conditions import Conditions
from edgekit.devices.device import Device, connect
from edgekit.devices.process import LineStream
from edgekit.devices.runners import Runner
from edgekit.devices.settings import BrowserSettings
from edgekit.devices.target import Target
from edgekit.errors import (
    ConnectionLostError,
    EdgeKitError,
    RemoteCommandError,
    RemoteTimeoutError,
    RunnerError,
    RuntimeMissingError,
    UnreachableDeviceError,
    UnsuitableArtifactError,
)
from edgekit.runner import facts, web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from edgekit.artifact import Artifact, FileEntry
    from edgekit.devices.lock import Holder
    from edgekit.devices.progress import Progress

_RUNTIME = "litert"
_UNROUTED = "192.0.2.1"
"""An address of documentation (RFC 5737): asking the way to it tells our own address, and nothing is sent."""


class BrowserDevice:
    """A browser, as `RunnerDevice`. Made by `connect`."""

    INSTEAD: ClassVar[str] = (
        "It is measured in: bench, gate, evaluate, verify and doctor take it. To ship a model to browsers, put it into "
        "a package for the web: edgekit bundle ARTIFACT --for web. LiteRT.js comes from npm."
    )

    def __init__(self, target: Target, server: PageServer, program: str | None, machine: Device | None) -> None:
        self.target = target
        self.boot_id: str | None = None
        self._settings = target.browser or BrowserSettings()
        self._server = server
        self._program = program
        self._machine = machine
        self._runner: Runner | None = None

    @classmethod
    def connect(cls, target: Target) -> BrowserDevice:
        """Finds the browser, unless a person is to open one, and serves its page. No browser is started yet.

        Raises:
            UnreachableDeviceError: there is no browser, or no port to serve on.
        """
        settings = target.browser or BrowserSettings()
        program = find_browser(settings.program) if settings.start else None
        try:
            server = PageServer(settings.listen, settings.port, _address(settings.listen))
        except OSError as error:
            raise UnreachableDeviceError(
                f"Nothing can be served for the target {target.name!r} on {settings.listen}, port {settings.port}: "
                f"{error.strerror or error}.",
                remedy="Choose another `port` in [browser], or 0 for one that is free.",
            ) from error
        try:
            machine = connect(_this_machine(target)) if program is not None else None
        except BaseException:  # Ctrl-C too: no server stays; it is raised again
            server.close()
            raise
        device = cls(target, server, program, machine)
        if program is None:
            with suppress(RuntimeMissingError):  # told when it is asked for; until then whoever opens the page finds it
                device._runner = device._serve_runner()
        return device

    @property
    def name(self) -> str:
        """`The browser 'browser' (/usr/bin/chromium)`."""
        return f"The browser {self.target.name!r} ({self.describe})"

    @property
    def describe(self) -> str:
        """The browser's program, or where the page is served for one."""
        if self._program is not None:
            return self._program
        return f"opened by hand, page served on {self._settings.listen}"

    @property
    def invitation(self) -> str | None:
        """The address to open, where that is a person's part."""
        return (
            None
            if self._program is not None
            else f"Open this in the browser, and leave it in front: {self._server.url}"
        )

    def __enter__(self) -> BrowserDevice:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Serves no more; an open page is told so."""
        self._server.close()
        if self._machine is not None:
            self._machine.close()

    def runner(self, runtime: str = "") -> Runner:
        """The page, for `litert`.

        Raises:
            RuntimeMissingError: another runtime, or LiteRT.js is not installed here.
            RunnerError: the target or the command line asks for another runner.
        """
        if self.target.runner != "auto":
            raise RunnerError(
                f"{self.name} runs a page, and not the {self.target.runner} runner.", remedy="Leave --runner out."
            )
        if runtime not in ("", _RUNTIME):
            raise RuntimeMissingError(
                f"{self.name} has no runtime {runtime!r}: a page runs .tflite payloads.",
                remedy="Convert the model to tflite, or measure it on another target.",
            )
        if self._runner is None:
            self._runner = self._serve_runner()
        return self._runner

    def _serve_runner(self) -> Runner:
        litert_js = find_litert_js(self._settings.litert_js)
        page = _page_files()
        self._server.put([*page.items(), *litert_js.files()])
        return self._as_runner(page, litert_js)

    def _as_runner(self, page: dict[str, Path], litert_js: LiteRtJs) -> Runner:
        digest = hashlib.sha256()
        for name in sorted(page):
            digest.update(f"{name}\0".encode() + page[name].read_bytes())
        fields = {"litert_js": litert_js.version, "machine": None if self._machine is None else facts.lasting()}
        execution = "page in a fresh browser" if self._program is not None else "page loaded anew"
        return Runner("browser", page["runner.js"], digest.hexdigest(), fields, execution)

    def check_fits(self, artifact: Artifact) -> None:
        """Refuses tensors that no page has an array for, and sizes that vary."""
        found = unsuitable(artifact)
        if found is not None:
            what, remedy = found
            raise UnsuitableArtifactError(f"{what} Nothing was served.", remedy=remedy)

    def place(self, artifact: Artifact, progress: Progress | None = None) -> str:  # noqa: ARG002 - nothing is sent yet
        """Serves an artifact's files, which are whole now.

        Raises:
            CorruptArtifactError: they are not.
        """
        check_files(artifact)
        folder = f"artifacts/{artifact.id}"
        paths = [MANIFEST, *(entry.path for entry in artifact.manifest.files)]
        self._server.put((f"{folder}/{path}", artifact.path / path) for path in paths)
        return folder

    def place_samples(self, name: str, sources: Sequence[tuple[Path, FileEntry]], *, keeping: Sequence[str]) -> str:
        """Serves samples from where they lie, as long as they do."""
        self.keep_samples([*keeping, name])
        self._server.put((f"samples/{name}/{entry.path}", path) for path, entry in sources)
        return f"samples/{name}"

    def keep_samples(self, names: Sequence[str]) -> None:
        """Serves no samples but these."""
        self._server.keep("samples", names)

    def start(self, runner: Runner, request: dict[str, Any], *, idle_timeout_s: float, step: str) -> LineStream:
        """A fresh page for one request.

        Raises:
            UnreachableDeviceError: no page came within the bound.
            RunnerError: the browser ended.
        """
        del runner  # there is one only
        process: PageProcess
        if self._program is not None:
            process = Launched(self._server, self.name, self._program, self._settings)
        else:
            process = Awaited(self._server, self.name)
        try:
            process.ask(json.dumps(request), self._settings.open_timeout_s, step)
        except BaseException:  # Ctrl-C too: no browser stays; it is raised again
            process.end()
            raise
        return LineStream(
            process,
            guard=lambda: self._guard(step),
            timeout=lambda: RemoteTimeoutError(
                f"The page of {self.name[0].lower()}{self.name[1:]} said nothing for {idle_timeout_s:g} s while "
                f"{step}.",
                remedy="It was ended. Raise bench.idle_timeout_s in the target if the model takes that long there.",
            ),
            idle_timeout_s=idle_timeout_s,
        )

    @contextmanager
    def _guard(self, step: str) -> Iterator[None]:
        """A page's errors are ours already; what is left is a line without end."""
        try:
            yield
        except EdgeKitError:
            raise
        except OSError as error:
            raise ConnectionLostError(f"{self.name} was lost while {step}: {error}.", remedy="Run it again.") from error
        except Exception as error:  # OutputTooLargeError: a page that sends that much is not ours
            raise RemoteCommandError(f"{self.name} sent {error} while {step}.", remedy="Run it again.") from error

    def conditions(self, *, watch_s: int = 1) -> Conditions:
        """This machine's, where the browser runs on it."""
        return Conditions() if self._machine is None else self._machine.conditions(watch_s=watch_s)

    def ask_boot_id(self) -> str:
        """This machine's, likewise."""
        return "" if self._machine is None else self._machine.ask_boot_id()

    def lock(
        self, purpose: str, wait_s: float = 0, *, on_wait: Callable[[Holder], None] | None = None
    ) -> AbstractContextManager[object]:
        """This machine's, likewise: what else is measured on it would disturb. Another page has one user anyway."""
        return nullcontext() if self._machine is None else self._machine.lock(purpose, wait_s, on_wait=on_wait)

    def holder(self) -> Holder | None:
        """Who measures on this machine."""
        return None if self._machine is None else self._machine.holder()

    def keep_lock(self) -> None:
        """Renews this machine's lock when it is time to."""
        if self._machine is not None:
            self._machine.keep_lock()


def _this_machine(target: Target) -> Target:
    return Target(name="local", transport="local", root=target.root, python=sys.executable)


def _page_files() -> dict[str, Path]:
    folder = Path(web.__file__).parent
    return {path.name: path for path in folder.iterdir() if path.suffix in (".js", ".html")}


def _address(listen: str) -> str:
    """What a browser reaches the server by: this machine's own address in its network, where it listens on all."""
    if not ipaddress.ip_address(listen).is_unspecified:
        return listen
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((_UNROUTED, 9))
        address: str = asking.getsockname()[0]
    return address

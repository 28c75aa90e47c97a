"""A real web server over a folder, as tests need it: with ranges or without, and lying when told to."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class WebServer:
    """`url`; `sent` counts body bytes by path; `cut_after` closes a connection after so many bytes of one body.

    The first body longer than `hold_after` stops there (`holding` is set) until `go_on` is.
    """

    def __init__(self, folder: Path, *, ranges: bool) -> None:
        self.sent: dict[str, int] = {}
        self.cut_after: int | None = None
        self.hold_after: int | None = None
        self.holding, self.go_on = threading.Event(), threading.Event()
        handler = partial(_Handler, owner=self, ranges=ranges, directory=str(folder))
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[WebServer]:
        thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def sent_bytes(self, part: str) -> int:
        """Body bytes of all paths that contain `part`."""
        return sum(count for path, count in self.sent.items() if part in path)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, owner: WebServer, ranges: bool, **more: Any) -> None:
        self._owner = owner
        self._ranges = ranges
        super().__init__(*arguments, **more)

    def do_GET(self) -> None:
        try:
            content = Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            self.send_error(404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self._ranges else None
        first, last = 0, len(content) - 1
        if found:
            first, last = int(found[1]), min(int(found[2] or last), last)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        else:
            self.send_response(200)
        body = content[first : last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self._owner.cut_after is not None and len(body) > self._owner.cut_after:
            body = body[: self._owner.cut_after]
            self.close_connection = True
        owner = self._owner
        if owner.hold_after is not None and len(body) > owner.hold_after and not owner.holding.is_set():
            self.wfile.write(body[: owner.hold_after])
            owner.holding.set()
            owner.go_on.wait(60)
            owner.sent[self.path] = owner.sent.get(self.path, 0) + owner.hold_after
            body = body[owner.hold_after :]
            if self._is_gone():
                return
        self.wfile.write(body)
        self._owner.sent[self.path] = self._owner.sent.get(self.path, 0) + len(body)

    def _is_gone(self) -> bool:
        """Whether the client closed its connection, as the kernel does for a killed one."""
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self.connection.setblocking(True)

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""

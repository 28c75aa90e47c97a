"""The server of one browser: its own files, by GET, and one WebSocket at a time for the runner's lines.

Whoever can reach the port is not trusted for that. Every path begins with a secret of 128 bits, which only the address
that the browser is given has; the `Host` must be one of the server's own (a name that somebody points at this machine
is none), and a page of another origin is refused, whatever it knows. Only what was put on the table is served.
"""

from __future__ import annotations

import hmac
import mimetypes
import queue
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from edgekit.devices.browser.websocket import WebSocket, accept_key

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence

LINES = "lines"
"""The WebSocket's path."""
TYPES = {
    ".js": "text/javascript", ".html": "text/html; charset=utf-8", ".wasm": "application/wasm",
    ".json": "application/json",
}  # fmt: skip
_MOST_CONNECTIONS = 64
_HEADERS_TIMEOUT_S = 20.0
_WAITING_LINES = 256
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""The first two give the page a clock of 5 µs, threads and a count of its memory, where it is a secure one."""


class PageConnection:
    """A page that is there. Its messages wait in `lines`; None follows when it is gone. `taken`: it is measuring."""

    def __init__(self, link: WebSocket) -> None:
        self._link = link
        self.lines: queue.Queue[bytes | None] = queue.Queue(_WAITING_LINES)
        self.gone = False
        self.taken = False

    def send(self, text: str) -> None:
        """Sends it a message.

        Raises:
            OSError: it is gone.
        """
        self._link.send(text)

    def close(self, code: int = 1001) -> None:
        """Ends the connection; a page that is told 4001 loads itself anew."""
        self.gone = True
        self._link.close(code)

    def carry(self) -> None:
        """Reads what it says until it is gone."""
        for message in self._link.messages():
            self._put(message)
        self._put(None)
        self.gone = True

    def _put(self, message: bytes | None) -> None:
        while not self.gone:  # a reader that ended takes no more
            try:
                self.lines.put(message, timeout=1)
            except queue.Full:
                continue
            return


class PageServer:
    """Serves from its making until `close`.

    Args:
        listen: the address to listen on.
        port: 0 for one that is free.
        address: by which the browser reaches it; `listen`, unless that is all of them.
    """

    def __init__(self, listen: str, port: int, address: str) -> None:
        self._files: dict[str, Path | bytes] = {}
        self._arrived: queue.Queue[PageConnection] = queue.Queue()
        self._one = threading.Lock()
        self._page: PageConnection | None = None
        self._secret = ""
        self._server = _Server((listen, port), _handler(self))
        self._port: int = self._server.server_address[1]
        self._hosts = {f"{host}:{self._port}" for host in (address, "127.0.0.1", "localhost")}
        self._address = address
        self.invite()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def invite(self) -> str:
        """A new address for a page; those from before lead nowhere any more, and a page that came by one goes."""
        with self._one:
            self._secret = secrets.token_hex(16)
            if self._page is not None:
                self._page.close()
        return self.url

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self._address}:{self._port}/{self._secret}/"

    def put(self, files: Iterable[tuple[str, Path | bytes]]) -> None:
        """Files to serve, by their path below the page's."""
        self._files.update(files)

    def keep(self, folder: str, names: Sequence[str]) -> None:
        """Serves nothing below a folder any more, but below these of its own."""
        kept = tuple(f"{folder}/{name}/" for name in names)
        self._files = {
            path: file
            for path, file in self._files.items()
            if path.startswith(kept) or not path.startswith(f"{folder}/")
        }

    def await_page(self, timeout_s: float) -> PageConnection | None:
        """The next page that has come and is still there; None if there is none within the bound."""
        try:
            page = self._arrived.get(timeout=timeout_s)
        except queue.Empty:
            return None
        with self._one:  # `seat` may just be making room for another one
            page.taken = not page.gone
        return page if page.taken else None

    def close(self) -> None:
        """Ends it, and the page's connection."""
        with self._one:
            if self._page is not None:
                self._page.close()
        self._server.shutdown()
        self._server.server_close()

    def accepts(self, host: str, origin: str | None) -> bool:
        """Whether a request is to one of our names, and by none but our own page."""
        named = host if ":" in host else f"{host}:80"  # browsers leave that port out
        return named in self._hosts and origin in (None, f"http://{host}")

    def path_of(self, path: str) -> str | None:
        """A path below the secret; None if it is not below it."""
        secret, slash, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        return rest if slash and hmac.compare_digest(secret.encode(), self._secret.encode()) else None

    def content(self, path: str) -> bytes | None:
        """A file's content; None if there is none of that path."""
        found = self._files.get(path or "page.html")
        if not isinstance(found, Path):
            return found
        try:
            return found.read_bytes()
        except OSError:
            return None

    def has_room(self) -> bool:
        """Whether a page may come: none is there, or one that nobody has asked for anything."""
        return self._page is None or self._page.gone or not self._page.taken

    def seat(self, link: WebSocket, path: str) -> PageConnection | None:
        """Takes a page in, unless another one was taken meanwhile, or its address is no more; one that waited goes.

        That one may be gone without having said so.
        """
        with self._one:
            if not self.has_room() or self.path_of(path) != LINES:
                return None
            if self._page is not None:
                self._page.close()
            self._page = PageConnection(link)
            self._arrived.put(self._page)
            return self._page


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, *arguments: Any) -> None:
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away in the middle is no news."""


def _handler(pages: PageServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "EdgeKit"
        sys_version = ""
        timeout = _HEADERS_TIMEOUT_S
        connection: socket.socket

        def do_GET(self) -> None:
            path = pages.path_of(self.path)
            if not pages.accepts(self.headers.get("Host", ""), self.headers.get("Origin")):
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"")
            elif path == LINES:
                self._take_page()
            else:
                content = None if path is None else pages.content(path)
                status = HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK
                suffix = Path(path or "page.html").suffix
                kind = TYPES.get(suffix) or mimetypes.guess_type(f"x{suffix}")[0] or "application/octet-stream"
                self._answer(status, kind, content or b"")

        def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(content)), **_ISOLATED}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def _take_page(self) -> None:
            key = self.headers.get("Sec-WebSocket-Key")
            wanted = self.headers.get("Upgrade", "").lower() == "websocket" and key is not None
            if not wanted or self.headers.get("Origin") is None:  # every page has one
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"")
                return
            if not pages.has_room():
                self._answer(HTTPStatus.CONFLICT, "text/plain", b"another page is open")
                return
            self.send_response(HTTPStatus.SWITCHING_PROTOCOLS)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", accept_key(key or ""))
            self.end_headers()
            self.wfile.flush()
            self.close_connection = True
            link = WebSocket(self.connection, self.rfile)
            page = pages.seat(link, self.path)
            if page is None:
                link.close()
            else:
                page.carry()

        def log_message(self, *_: object) -> None:
            pass

    return Handler

"""A loopback server of one bundle and its node_modules, as `npm install` would lay them, which can lie about files."""

from __future__ import annotations

import mimetypes
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html", ".json": "application/json"}


class BundleServer:
    """Serves until it is closed. `lies`: other content for a path, or None for 404. `asked`: every path so far."""

    def __init__(self, bundle: Path, node_modules: Path) -> None:
        self.lies: dict[str, bytes | None] = {"favicon.ico": b""}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path).lstrip("/")
                outer.asked.append(path)
                content = outer._content(bundle, node_modules, path)
                self.send_response(HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK)
                suffix = "." + path.rsplit(".", 1)[-1]
                self.send_header("Content-Type", TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "text/plain")
                self.send_header("Content-Length", str(len(content or b"")))
                self.send_header("Cross-Origin-Opener-Policy", "same-origin")  # both: a finer clock in the page
                self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def home(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def _content(self, bundle: Path, node_modules: Path, path: str) -> bytes | None:
        if path in self.lies:
            return self.lies[path]
        top, _, rest = path.partition("/")
        file = node_modules / rest if top == "node_modules" else bundle / path
        return file.read_bytes() if file.is_file() else None

"""References made by hand, and what else several tests of the reporter use."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING

from edgekit.telemetry.reporter import envelope, wire
from edgekit.telemetry.reporter.cells import count_sorted, edges_of
from edgekit.telemetry.reporter.clock import Clock
from edgekit.telemetry.reporter.reference import Feature, Reference, Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgekit.telemetry.reporter.window import Window

KEY = bytes(range(32))


def normal_feature(name: str, index: int, seed: int) -> Feature:
    """A column of standard normal draws."""
    draw = random.Random(seed)
    ordered = sorted(draw.gauss(0, 1) for _ in range(5000))
    edges = edges_of(ordered)
    cells = tuple(count_sorted(ordered, edges))
    return Feature(name, "number", "input", "row", f"column:{index}", edges, (), cells)


def tabular(width: int = 3) -> Reference:
    """Rows of `width` numbers in, nothing out."""
    features = [normal_feature(f"f{i}", i, i) for i in range(width)]
    return Reference.of("tabular", features, tensors=[Tensor("row", "input", "row")])


def classifier() -> Reference:
    """An image and two scalars in, scores out."""
    tensors = [
        Tensor("image", "input", "image", None, 0.0, 255.0),
        Tensor("age", "input", "number"),
        Tensor("country", "input", "category"),
        Tensor("scores", "output", "scores", low=0.0, high=1.0),
    ]
    tenths = tuple(i / 10 for i in range(1, 10))
    features = [
        Feature("image.mean", "number", "input", "image", "mean", (50.0, 100.0, 200.0), (), (9, 1, 1, 1)),
        Feature("image.high", "number", "input", "image", "high", (0.1, 0.5), (), (9, 1, 1)),
        Feature("age", "number", "input", "age", "value", (18.0, 65.0), (), (1, 8, 3), valid_min=0.0, valid_max=130.0),
        Feature("country", "category", "input", "country", "value", (), ("fr", "de"), (5, 5, 0)),
        Feature("scores.class", "category", "output", "scores", "class", (), (0, 1, 2), (4, 4, 4, 0)),
        Feature("scores.confidence", "number", "output", "scores", "confidence", tenths, (), (1,) * 10),
    ]
    return Reference.of("classifier", features, tensors=tensors)


class SetClock(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.wall = 1_790_000_000 * 10**9
        self.monotonic = 10**9
        self.is_synced: bool | None = True

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def synced(self) -> bool | None:
        return self.is_synced

    def pass_s(self, seconds: float) -> None:
        """Time passes on both."""
        self.wall += int(seconds * 1e9)
        self.monotonic += int(seconds * 1e9)


class Collecting:
    """A small collector of our own: a real HTTP server that verifies, takes each window once, and fails on demand.

    `plan` is called with the number of the request and may return a status, with headers, to answer without storing;
    a negative status stores first and then answers its absolute value (0: cuts the connection after storing).
    """

    def __init__(self, plan: Callable[[int], int | tuple[int, dict[str, str]] | None] = lambda _: None) -> None:
        self.windows: dict[tuple[str, str, int], Window] = {}
        self.references: list[bytes] = []
        self.requests: list[tuple[str, int]] = []
        self.duplicates = 0
        self.bodies: list[bytes] = []
        self.plan = plan
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.bodies.append(body)
        planned = self.plan(len(self.requests))
        status, headers = planned if isinstance(planned, tuple) else (planned, {})
        if status is None or status <= 0:
            stored = self.store(handler.path, body)
            status = stored if status is None else -status
        self.requests.append((handler.path, status))
        if status == 0:
            handler.connection.close()
            return
        reply = b'{"device": "dev-1", "key_id": "k1", "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}'
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply)))
        handler.end_headers()
        handler.wfile.write(reply)

    def store(self, path: str, body: bytes) -> int:
        """What an honest collector does."""
        if path == "/v1/enroll":
            return 200
        opened = envelope.parse(body)
        if not opened.verify(KEY):
            return 401
        if path == "/v1/references":
            self.references.append(opened.unpack())
            return 200
        for window in wire.decode_body(opened.unpack()):
            assert window.device == opened.device
            self.duplicates += window.key in self.windows
            self.windows.setdefault(window.key, window)
        return 200

    def total(self, field: str = "inferences") -> int:
        """Over all windows."""
        return sum(getattr(window, field) for window in self.windows.values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

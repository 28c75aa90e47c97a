"""A fleet for tests and benchmarks: a reference, windows that fit it, and devices that sign their uploads."""

from __future__ import annotations

import itertools
import json
import time
from random import Random
from typing import TYPE_CHECKING, Any

from edgekit.telemetry.reporter import envelope, wire
from edgekit.telemetry.reporter.reference import CATEGORY, INPUT, LATENCY, NUMBER, Feature, Reference, Tensor
from edgekit.telemetry.reporter.window import FeatureCounts, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from edgekit.telemetry.collector.keys import IssuedKey

NS = 1_000_000_000
HOUR_NS = 3600 * NS


def a_reference(model: str = "tiny", *, numbers: int = 3, cells: int = 12, bootstrapped: bool = False) -> Reference:
    """A reference of some numbers and a category."""
    edges = tuple(float(i) for i in range(cells - 1))
    features = [
        Feature(f"x{i}", NUMBER, INPUT, "row", f"column:{i}", edges, cells=(10,) * cells) for i in range(numbers)
    ]
    features.append(Feature("kind", CATEGORY, INPUT, "row", "value", categories=("a", "b"), cells=(5, 5, 0)))
    tensors = [Tensor("row", INPUT, "row")]
    return Reference.of(model, features, tensors=tensors, data="made for a test", bootstrapped=bootstrapped)


def counts_of(random: Random, size: int, n: int, *, number: bool = True) -> FeatureCounts:
    """Counts of n values, heavier in the middle."""
    cells = [0] * size
    for _ in range(n):
        cells[min(size - 1, int(size * (random.random() + random.random()) / 2))] += 1
    if not number or not n:
        return FeatureCounts(tuple(cells), random.randrange(3))
    positive = min(cells[-1], random.randrange(2))
    mean = random.gauss(size / 2, 1)
    moments = (
        (mean - 5, mean + 5, mean, random.random() * n) if n > positive else (float("inf"), -float("inf"), 0.0, 0.0)
    )
    return FeatureCounts(tuple(cells), random.randrange(4), positive, 0, random.randrange(min(n, 200) + 1), *moments)


class Fleet:
    """Makes windows of one reference; seeded, so that a failure can be repeated.

    Args:
        reference: what the windows count.
        seed: of everything random.
        now_ns: when the windows end; now unless given.
    """

    def __init__(self, reference: Reference, *, seed: int = 0, now_ns: int | None = None) -> None:
        self.reference = reference
        self.random = Random(seed)
        self.now_ns = time.time_ns() if now_ns is None else now_ns
        self._seq = itertools.count()

    def window(
        self,
        device: str,
        *,
        hours_ago: int = 1,
        n: int | None = None,
        boot: str = "0b" * 16,
        seq: int | None = None,
        cohort: str | None = None,
        **changes: Any,
    ) -> Window:
        """A window of one hour."""
        n = self.random.choice((0, 3, 50, 600)) if n is None else n
        start_ns = self.now_ns - self.now_ns % HOUR_NS - hours_ago * HOUR_NS
        window = Window(
            device=device,
            boot=boot,
            seq=next(self._seq) if seq is None else seq,
            model=self.reference.model,
            artifact="a1" * 32,
            reference=self.reference.id,
            start_ns=start_ns,
            end_ns=start_ns + HOUR_NS - 1,
            span_ns=HOUR_NS,
            synced=True,
            bootstrapped=self.reference.bootstrapped,
            labels=() if cohort is None else (("app", "1"), ("cohort", cohort)),
            inferences=n,
            errors=self.random.randrange(3),
            latency=counts_of(self.random, LATENCY.size, n),
            features=tuple(
                counts_of(self.random, feature.size, n, number=feature.kind == NUMBER)
                for feature in self.reference.features
            ),
        )
        return window._replace(**changes)

    def upload(self, key: IssuedKey, windows: Sequence[Window], *, sent_ns: int | None = None) -> bytes:
        """The windows, signed."""
        body = wire.encode_body(windows)
        return envelope.seal(body, device=key.device, key_id=key.key_id, key=key.key, sent_ns=sent_ns)


def summed(reference: Reference, windows: Iterable[Window]) -> dict[str, FeatureCounts]:
    """What all windows saw, added up one after another: what a collector must agree with."""
    names = [*(feature.name for feature in reference.features), LATENCY.name]
    sizes = [*(feature.size for feature in reference.features), LATENCY.size]
    totals = {name: FeatureCounts.empty(size) for name, size in zip(names, sizes, strict=True)}
    for window in windows:
        for name, counts in zip(names, (*window.features, window.latency), strict=True):
            totals[name] = totals[name].merge(counts)
    return totals


def same(a: FeatureCounts, b: FeatureCounts) -> bool:
    """Whether all that is counted is equal, and the moments but for rounding."""
    close = all(abs(x - y) <= 1e-9 * max(1.0, abs(x), abs(y)) for x, y in ((a.mean, b.mean), (a.m2, b.m2)))
    return a[:7] == b[:7] and close


class Client:
    """Asks an ASGI application without a socket."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def ask(self, method: str, path: str, body: bytes = b"", *, chunk: int = 1 << 16) -> tuple[int, Any]:
        """(status, JSON) of a request."""
        chunks = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
        messages = iter(
            [{"type": "http.request", "body": part, "more_body": i + 1 < len(chunks)} for i, part in enumerate(chunks)]
        )
        sent: list[Any] = []

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "server": ("t", 1)}
        await self.app(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        self.headers = dict(sent[0]["headers"])
        return sent[0]["status"], json.loads(answer) if answer[:1] == b"{" else answer

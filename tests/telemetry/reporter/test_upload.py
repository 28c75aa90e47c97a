"""Sending, to a real server that answers as told: what each answer means, and that nothing counts twice."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from edgekit.telemetry.reporter import Reporter, wire
from edgekit.telemetry.reporter.directory import Identity, load_identity
from edgekit.telemetry.reporter.errors import StateError
from edgekit.telemetry.reporter.outbox import Outbox
from edgekit.telemetry.reporter.upload import BACKOFF_MOST_S, Uploader, post, retry_after
from tests.telemetry.reporter.models import KEY, Collecting, tabular
from tests.telemetry.reporter.test_crash import window


def uploader(url: str, windows: int = 3, folder: Path | None = None, queue_bytes: int = 1 << 20) -> Uploader:
    outbox = Outbox(None if folder is None else str(folder), queue_bytes=queue_bytes)
    for seq in range(windows):
        outbox.seal(window(seq))
    return Uploader(outbox, Identity("dev-1", "k1", KEY, url), timeout_s=5)


def drain(sender: Uploader, steps: int = 50) -> list[float]:
    """Steps without waiting, until nothing waits; the waits that were asked for."""
    waits = []
    for _ in range(steps):
        wait = sender.step()
        if wait is None:
            return waits
        waits.append(wait)
    raise AssertionError(waits)


def test_accepted_and_duplicate_are_done() -> None:
    with Collecting() as collector:
        assert drain(uploader(collector.url)) == [0.0]
        assert collector.total() == 30
        assert drain(uploader(collector.url)) == [0.0]  # the same names once more
        assert collector.total() == 30
        assert collector.duplicates == 3


def test_an_answer_that_never_came_is_no_reason_to_count_twice(tmp_path: Path) -> None:
    with Collecting(lambda n: 0 if n < 2 else None) as collector:  # stores, then cuts the connection
        sender = uploader(collector.url, 3, tmp_path, queue_bytes=900)
        for seq in range(3, 12):
            assert sender.step() != 0.0 or len(collector.requests) > 2
            sender.outbox.seal(window(seq))  # the queue is full: it must not merge what may have arrived
        drain(sender)
        assert collector.total() == 120
        assert collector.duplicates >= 1


@pytest.mark.parametrize("status", [500, 502, 503, 408, 301, 302])
def test_after_other_answers_the_same_windows_go_again(status: int) -> None:
    with Collecting(lambda n: -status if n < 3 else None) as collector:
        sender = uploader(collector.url)
        waits = drain(sender)
        assert len(waits) == 4
        assert all(0 <= wait <= 2**i for i, wait in enumerate(waits[:3]))
        assert len(set(collector.bodies)) == 4  # signed anew,
        assert collector.duplicates == 9  # the same windows
        assert collector.total() == 30


def test_a_revoked_key_keeps_the_windows_and_waits_long() -> None:
    with Collecting(lambda n: 401 if n < 2 else None) as collector:
        sender = uploader(collector.url, 2, queue_bytes=500)
        assert sender.step() is not None
        assert sender.failures >= 12
        sender.outbox.seal(window(9))
        assert len(sender.outbox.sealed()) < 3  # nothing arrived, so they may be merged
        drain(sender)
        assert collector.total() == 30


def test_malformed_windows_go_to_quarantine_and_the_others_arrive(tmp_path: Path) -> None:
    class Picky(Collecting):
        def store(self, path: str, body: bytes) -> int:
            from edgekit.telemetry.reporter import envelope

            if any(each.seq == 1 for each in wire.decode_body(envelope.parse(body).unpack())):
                return 400
            return super().store(path, body)

    with Picky() as collector:
        sender = uploader(collector.url, 4, tmp_path)
        drain(sender)
        assert sorted(each.seq for each in collector.windows.values()) == [0, 2, 3]
    assert [each.seq for each in wire.decode_body((tmp_path / "quarantine").read_bytes())] == [1]


def test_too_large_is_halved(tmp_path: Path) -> None:
    class Small(Collecting):
        def store(self, path: str, body: bytes) -> int:
            return 413 if len(body) > 700 else super().store(path, body)

    with Small() as collector:
        sender = uploader(collector.url, 40, tmp_path)
        assert set(drain(sender, 200)) == {0.0}
        assert collector.total() == 400
        assert any(status == 413 for _, status in collector.requests)
    with Collecting(lambda _: 413) as collector:
        sender = uploader(collector.url, 1, tmp_path)
        assert drain(sender) == [0.0]
        assert (tmp_path / "quarantine").exists()


def test_retry_after_is_obeyed() -> None:
    answers = iter([(429, {"Retry-After": "77"}), (503, {"Retry-After": formatdate(time.time() + 500, usegmt=True)})])
    with Collecting(lambda n: next(answers) if n < 2 else None) as collector:
        waits = drain(uploader(collector.url))
    assert waits[0] == 77
    assert 490 < waits[1] <= 501
    assert retry_after("1e9") == 24 * 3600
    assert retry_after("-5") == 0
    assert retry_after("soon") is retry_after("nan") is retry_after("") is retry_after(None) is None


def test_backoff_has_full_jitter_up_to_an_hour() -> None:
    sender = uploader("http://127.0.0.1:9")
    waits = [[sender.backoff() for _ in range(40)] for sender in (uploader("http://127.0.0.1:9") for _ in range(40))]
    for k in range(40):
        most = min(BACKOFF_MOST_S, 2**k)
        column = [row[k] for row in waits]
        assert max(column) <= most
        assert max(column) > 0.6 * most
        assert min(column) < 0.4 * most
    del sender


def test_a_refused_connection_is_known_not_to_have_arrived() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = post(f"http://127.0.0.1:{taken.getsockname()[1]}/v1/windows", b"x", "text/plain", 2)
    assert (answer.status, answer.sent) == (0, False)
    assert not post("http://no-such-host.invalid/", b"x", "text/plain", 2).sent


def test_a_server_that_says_nothing_or_nonsense_ends_in_bounded_time() -> None:
    for reply in (b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer(server: socket.socket = server, reply: bytes = reply) -> None:
                connection, _ = server.accept()
                connection.recv(1000)
                connection.sendall(reply)
                if reply:
                    connection.close()
                else:
                    time.sleep(1.5)

            threading.Thread(target=answer, daemon=True).start()
            begun = time.monotonic()
            result = post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"x", "text/plain", 0.5)
            assert time.monotonic() - begun < 5
            assert result.status == (200 if b"200" in reply else 0)
            assert result.sent


def test_redirects_are_not_followed() -> None:
    hits = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)

        def do_POST(self) -> None:
            hits.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        target = {"Location": f"http://127.0.0.1:{other.server_address[1]}/x"}
        with Collecting(lambda _: (307, target)) as collector:
            assert uploader(collector.url).step() != 0.0
        other.shutdown()
    assert hits == []


def test_enrolment_gives_a_key_that_is_kept(tmp_path: Path) -> None:
    arguments = {"state": tmp_path, "device": "dev-1", "window_s": 1.0}
    with Collecting(lambda n: 503 if n == 0 else None) as collector:
        with Reporter.open(tabular(), collector=collector.url, token="once", **arguments) as reporter:
            reporter.observe([0.0, 0.0, 0.0])
            end = time.monotonic() + 20
            while not collector.windows and time.monotonic() < end:
                time.sleep(0.05)
        assert json.loads(collector.bodies[0]) == {"token": "once", "device": "dev-1"}
        assert collector.total() == 1
        assert load_identity(str(tmp_path)) == Identity("dev-1", "k1", KEY, collector.url)
        with Reporter.open(tabular(), **arguments) as reporter:  # address and key are known from before
            reporter.observe([0.0, 0.0, 0.0])
        assert collector.total() == 2
    (tmp_path / "device.json").write_text("{}")
    with pytest.raises(StateError, match="enrol the device again"):
        load_identity(str(tmp_path))
    with Reporter.open(tabular(), **arguments) as reporter:
        assert "cannot be read" in reporter.status()["trouble"]


def test_without_a_key_nothing_is_sent_and_the_status_says_so(tmp_path: Path) -> None:
    with Collecting() as collector:
        with Reporter.open(tabular(), state=tmp_path, collector=collector.url, background=False) as reporter:
            reporter.observe([0.0, 0.0, 0.0])
            assert not reporter.flush(1.0, seal=True)
            assert "has no key" in reporter.status()["upload"]
        assert collector.requests == []


def test_a_reference_that_the_device_made_is_told_once(tmp_path: Path) -> None:
    with Collecting() as collector:
        arguments = {"model": "bare", "state": tmp_path, "collector": collector.url, "device": "dev-1"}
        with Reporter.open(key_id="k1", key=KEY, window_s=1.0, **arguments) as reporter:
            for i in range(300):
                reporter.observe([float(i % 17)])
            end = time.monotonic() + 20
            while not collector.windows and time.monotonic() < end:
                time.sleep(0.05)
            reporter.observe([0.0])
        assert len(collector.references) == 1
        (first, *_) = collector.windows.values()
        assert json.loads(collector.references[0])["id"] == first.reference
        assert first.bootstrapped
        assert collector.total() == 301


def test_close_is_bounded_when_the_collector_hangs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        reporter = Reporter.open(tabular(), state=tmp_path, collector=url, key_id="k1", key=KEY, window_s=1.0)
        reporter.observe([0.0, 0.0, 0.0])
        begun = time.monotonic()
        reporter.close(1.0)
        assert time.monotonic() - begun < 6

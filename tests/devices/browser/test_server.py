"""Whoever can reach the port gets nothing by that: secret, host and origin are looked at, each for itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from edgekit.devices.browser.server import PageServer
from tests.devices.browser.client import ACCEPT, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    """Serves two files."""
    (tmp_path / "runner.js").write_text("start()")
    made = PageServer("127.0.0.1", 0, "127.0.0.1")
    made.put([("page.html", b"<p>page"), ("runner.js", tmp_path / "runner.js"), ("samples/a/x.npy", b"x")])
    yield made
    made.close()


@pytest.fixture
def client(server: PageServer) -> Iterator[Callable[[], Client]]:
    """Connects to it, as often as it is called."""
    made: list[Client] = []

    def connect() -> Client:
        made.append(Client(server.url))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def test_the_page_is_served_isolated_and_never_cached(server: PageServer, client: Callable[[], Client]) -> None:
    one = client()
    assert one.get(one.path) == 200
    assert one.body == b"<p>page"
    assert one.headers["Content-Type"] == "text/html; charset=utf-8"
    assert one.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert one.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert one.headers["Cache-Control"] == "no-store"
    assert one.get(f"{one.path}runner.js") == 200
    assert one.headers["Content-Type"] == "text/javascript"


@pytest.mark.parametrize(
    "path", ["/", "/page.html", f"/{'0' * 32}/", "{0}nothing.js", "{0}../../etc/passwd", "{0}%2e%2e/%2e%2e/etc/passwd"]
)
def test_nothing_else_is(client: Callable[[], Client], path: str) -> None:
    one = client()
    assert one.get(path.format(one.path)) == 404
    assert one.body == b""


def test_a_file_that_is_gone_is_not_there(client: Callable[[], Client], tmp_path: Path) -> None:
    (tmp_path / "runner.js").unlink()
    one = client()
    assert one.get(f"{one.path}runner.js") == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_get_is_answered(client: Callable[[], Client], method: str) -> None:
    one = client()
    assert one.get(one.path, method=method) == 501


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": ""}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_a_name_that_is_not_ours_and_a_page_that_is_not_get_nothing(
    client: Callable[[], Client], headers: dict[str, str]
) -> None:
    """Even with the secret: a name that somebody points at this machine (DNS rebinding), a page of another origin."""
    one, two = client(), client()
    assert one.get(one.path, headers) == 403
    assert two.open(f"{two.path}lines", **headers) == 403


def test_browsers_leave_port_80_out() -> None:
    try:
        server = PageServer("127.0.0.1", 80, "127.0.0.1")
    except OSError as error:
        pytest.skip(f"port 80 cannot be had here: {error}")
    try:
        assert server.accepts("127.0.0.1", "http://127.0.0.1")
        assert server.accepts("127.0.0.1:80", None)
        assert not server.accepts("evil.example", "http://evil.example")
        assert not server.accepts("", "http://")
    finally:
        server.close()


def test_a_websocket_wants_an_origin_and_the_secret(client: Callable[[], Client], server: PageServer) -> None:
    one = client()
    assert one.get(f"{one.path}lines") == 403
    assert one.open(f"/{'0' * 32}/lines") == 404
    assert server.await_page(0.05) is None


def test_an_address_from_before_leads_nowhere(server: PageServer, client: Callable[[], Client]) -> None:
    old = client()
    server.invite()
    assert old.get(old.path) == 404
    assert client().open(old.path + "lines") == 404


def test_a_page_that_came_by_an_address_from_before_is_asked_for_nothing(
    server: PageServer, client: Callable[[], Client]
) -> None:
    """Such as one of the browser before, which was told to load itself anew and did so while it was ended."""
    old = client()
    assert old.open(f"{old.path}lines") == 101
    server.invite()
    assert old.receive()[0] == 8
    assert server.await_page(0.2) is None
    new = client()
    assert new.open(f"{new.path}lines") == 101
    assert server.await_page(5) is not None


def test_lines_come_whole_and_in_order(server: PageServer, client: Callable[[], Client]) -> None:
    one = client()
    assert one.open(f"{one.path}lines") == 101
    assert one.headers["Sec-WebSocket-Accept"] == ACCEPT
    page = server.await_page(5)
    assert page is not None
    page.send("ask " + "µ" * 100)
    assert one.receive() == (1, ("ask " + "µ" * 100).encode())
    one.send(b"first")
    one.send(b"", kind=9)
    one.send(b"sec", final=False)
    one.send(b"ond", kind=0)
    one.send("ü".encode() * 40_000)
    assert one.receive() == (10, b"")
    assert [page.lines.get(timeout=5) for _ in range(3)] == [b"first", b"second", "ü".encode() * 40_000]
    one.close()
    assert page.lines.get(timeout=5) is None


@pytest.mark.parametrize("how", ["unmasked", "no text", "too large", "control in pieces", "binary"])
def test_what_breaks_the_protocol_ends_the_connection(
    server: PageServer, client: Callable[[], Client], how: str
) -> None:
    one = client()
    one.open(f"{one.path}lines")
    page = server.await_page(5)
    assert page is not None
    if how == "too large":
        one.link.sendall(b"\x81\xff" + (1 << 40).to_bytes(8, "big"))
    else:
        one.send(
            b"\xff\xfe", masked=how != "unmasked", final=how != "control in pieces",
            kind={"control in pieces": 9, "binary": 2}.get(how, 1),
        )  # fmt: skip
    assert page.lines.get(timeout=5) is None
    assert one.receive()[0] == 8


def test_a_second_page_does_not_disturb_the_one_that_is_measured(
    server: PageServer, client: Callable[[], Client]
) -> None:
    first, second, third = client(), client(), client()
    first.open(f"{first.path}lines")
    first.send(b"", kind=9)
    assert first.receive() == (10, b"")  # it has its seat
    second.open(f"{second.path}lines")  # nobody asked the first for anything: it makes way
    assert first.receive()[0] == 8
    assert server.await_page(5) is None
    page = server.await_page(5)
    assert third.open(f"{third.path}lines") == 409
    assert page is not None
    page.send("request")
    assert second.receive() == (1, b"request")
    page.close(4001)
    assert second.receive() == (8, (4001).to_bytes(2, "big"))


def test_a_page_that_comes_while_another_is_taken_has_no_seat(
    server: PageServer, client: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them may have been told that there is room, before one is asked for something."""
    first, second = client(), client()
    first.open(f"{first.path}lines")
    first.send(b"", kind=9)
    assert first.receive() == (10, b"")  # it has its seat
    has_room, told = server.has_room, []

    def told_too_early() -> bool:
        told.append(has_room())
        if len(told) == 1:
            assert server.await_page(5) is not None
        return told[-1]

    monkeypatch.setattr(server, "has_room", told_too_early)
    assert second.open(f"{second.path}lines") == 101
    assert second.receive()[0] == 8
    assert server.await_page(0.2) is None


def test_samples_are_served_no_longer_than_they_are_wanted(server: PageServer, client: Callable[[], Client]) -> None:
    one = client()
    assert one.get(f"{one.path}samples/a/x.npy") == 200
    server.keep("samples", ["b"])
    assert one.get(f"{one.path}samples/a/x.npy") == 404
    assert one.get(one.path) == 200


def test_idle_connections_do_not_pile_up(server: PageServer) -> None:
    many = [Client(server.url) for _ in range(80)]
    assert threading.active_count() < 75
    for one in many:
        one.close()
    assert Client(server.url).get(Client(server.url).path) == 200

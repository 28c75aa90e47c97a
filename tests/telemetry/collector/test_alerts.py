"""Alerts open once, cool down, recover, and are delivered: signed, once, and in spite of a receiver that fails."""

from __future__ import annotations

import hmac
import http.server
import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.errors import TelemetryError
from edgekit.telemetry.collector import alerts, webhooks
from edgekit.telemetry.collector.reading import SqlStore, open_store
from edgekit.telemetry.collector.upkeep import Chores, Upkeep, take_lease
from edgekit.telemetry.collector.webhooks import Webhook
from edgekit.telemetry.store import Checked, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = b"a secret of the receiver"
COOL = 1000


class Receiver:
    """A real HTTP server that keeps what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append((dict(self.headers), body))
                self.send_response(outer.answers.pop(0) if outer.answers else 204)
                self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    made = open_store(url)
    yield made
    made.close()


def finding(feature: str = "x0", rule: str = "ks", **details: object) -> Finding:
    return Finding("tiny", "a" * 64, "", feature, rule, f"{feature} moved", details)


def found(*findings: Finding, conclusive: bool = True) -> list[Checked]:
    return [Checked("tiny", "a" * 64, "", findings, conclusive)]


def test_the_life_of_an_alert(store: SqlStore) -> None:
    def check(now: int, *findings: Finding, conclusive: bool = True) -> list[tuple[str, str]]:
        """Records a check; the notices that it queued."""
        before = {row[0] for row in alerts.due_notices(store.database, 1 << 40)}
        checked = found(*findings, conclusive=conclusive)
        alerts.record(store.database, checked, now, urls=["http://h/"], cool_down_s=COOL)
        queued = [row for row in alerts.due_notices(store.database, 1 << 40) if row[0] not in before]
        return [(json.loads(row[2])["kind"], json.loads(row[2])["feature"]) for row in queued]

    assert check(100, finding(ks=0.3), finding(ks=0.4)) == [("opened", "x0")], "told once"
    assert check(200, finding(ks=0.5), finding("x1")) == [("opened", "x1")]
    assert check(300, conclusive=False) == [], "too little data is no recovery"
    assert [row.state for row in store.alerts()] == ["open", "open"]
    assert check(400, finding("x1")) == [("recovered", "x0")]
    assert check(500, finding()) == [("recovered", "x1")], "x0 opens again, silently: it cools down"
    assert check(600) == [], "of x0's second opening nobody was told"
    assert check(700, finding()) == []
    assert check(100 + COOL, finding()) == [("opened", "x0")], "still open when it has cooled down"
    assert check(200 + COOL, finding()) == []
    log = store.alerts()
    assert [(row.finding.feature, row.state, row.opened_s, row.recovered_s) for row in log] == [
        ("x0", "open", 700, None), ("x0", "recovered", 500, 600), ("x1", "recovered", 200, 500),
        ("x0", "recovered", 100, 400),
    ]  # fmt: skip
    assert (log[0].times_found, log[3].times_found) == (3, 2)
    assert log[3].finding.details == {"ks": 0.5}
    assert [row.id for row in store.alerts(open_only=True)] == [log[0].id]
    assert store.alerts(model="other") == []


def test_what_was_not_checked_stays_as_it_is(store: SqlStore) -> None:
    alerts.record(store.database, found(finding()), 100)
    alerts.record(store.database, [Checked("tiny", "a" * 64, "pilot"), Checked("other", "a" * 64, "")], 200)
    assert [row.state for row in store.alerts()] == ["open"]


def test_a_notice_is_signed_and_sent_again_until_it_is_taken(store: SqlStore, receiver: Receiver) -> None:
    hooks = {receiver.url: Webhook(receiver.url, SECRET)}
    receiver.answers = [500, 302]
    now = int(time.time())
    alerts.record(store.database, found(finding(ks=0.3)), now, urls=list(hooks))
    assert webhooks.deliver(store.database, hooks, now_s=now) == 0
    assert webhooks.deliver(store.database, hooks, now_s=now) == 0, "not due yet"
    assert len(receiver.got) == 1
    assert webhooks.deliver(store.database, hooks, now_s=now + 15) == 0, "a redirect is not followed"
    assert webhooks.deliver(store.database, hooks, now_s=now + 60) == 1
    assert webhooks.deliver(store.database, hooks, now_s=now + 5000) == 0
    assert len({headers["X-EdgeKit-Notice"] for headers, _ in receiver.got}) == 1
    headers, body = receiver.got[-1]
    stamp, _, mac = headers["X-EdgeKit-Signature"].partition(",v1=")
    seconds = stamp.removeprefix("t=")
    assert mac == hmac.new(SECRET, f"{seconds}.".encode() + body, "sha256").hexdigest()
    assert abs(int(seconds) - time.time()) < 60
    document = json.loads(body)
    assert (document["kind"], document["feature"], document["details"]) == ("opened", "x0", {"ks": 0.3})


def test_a_receiver_that_is_gone_is_given_up_after_bounded_attempts(store: SqlStore) -> None:
    hook = Webhook("http://127.0.0.1:9/none", SECRET)
    alerts.record(store.database, found(finding()), 1000, urls=[hook.url, "http://removed.example/"])
    now, attempts = 1000, 0
    while rows := alerts.due_notices(store.database, 1 << 40):
        assert webhooks.deliver(store.database, {hook.url: hook}, now_s=now) == 0
        assert len(rows) <= 2
        now += webhooks.LONGEST_WAIT_S
        attempts += 1
    assert attempts == webhooks.MAX_ATTEMPTS


def test_bad_webhooks_are_refused(tmp_path: Path) -> None:
    for url, secret in (("ftp://host/", SECRET), ("https://", SECRET), ("https://host/", b"")):
        with pytest.raises(TelemetryError):
            Webhook(url, secret)
    with pytest.raises(TelemetryError, match="cannot be read"):
        webhooks.read_secret(tmp_path / "none")


def test_upkeep_checks_tells_and_survives_a_check_that_fails(
    sqlite_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(sqlite_url)
    monkeypatch.setattr("edgekit.telemetry.collector.upkeep.TURN_S", 0.02)
    calls: list[int] = []

    def check(read: object, now_s: int) -> list[Checked]:
        assert read is store
        calls.append(now_s)
        if len(calls) == 1:
            raise ZeroDivisionError
        return found(finding()) if len(calls) == 2 else found()

    upkeep = Upkeep(store, Chores(check=check, check_every_s=0.05, webhooks=(Webhook(receiver.url, SECRET),)))
    upkeep.start()
    deadline = time.monotonic() + 30
    while len(receiver.got) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    upkeep.stop()
    assert [document["kind"] for document in receiver.documents()] == ["opened", "recovered"]
    assert len(calls) >= 3
    store.close()


def test_one_of_several_collectors_has_the_lease(store: SqlStore) -> None:
    assert take_lease(store.database, "upkeep", "a", 100)
    assert not take_lease(store.database, "upkeep", "b", 120)
    assert take_lease(store.database, "upkeep", "a", 150)
    assert not take_lease(store.database, "upkeep", "b", 200)
    assert take_lease(store.database, "upkeep", "b", 211), "its holder died"
    assert not take_lease(store.database, "upkeep", "a", 212)

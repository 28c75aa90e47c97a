"""What people and monitoring ask the collector, on a port of its own that devices do not see: it only reads.

    /metrics                      Prometheus
    /api/models  /api/devices     who reports
    /api/totals  /api/series      counts by feature, of a model and reference between two times
    /api/alerts                   the alert log
    /api/flagged                  times with drift, and how good the model was then

It has no password: it listens on loopback unless it is told otherwise, and then belongs behind a proxy that has one.
Requests that name another host are refused, so a page somewhere on the web cannot read it through a browser.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.errors import StoreUnavailableError, UnknownReferenceError
from edgekit.telemetry.collector.app import BUSY_ANSWER, NOT_FOUND, WRONG_METHOD
from edgekit.telemetry.collector.http import Answer, error_answer
from edgekit.telemetry.store import Phase, Totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.telemetry.collector.app import CollectorApp
    from edgekit.telemetry.collector.http import App, Receive, Scope, Send
    from edgekit.telemetry.collector.reading import SqlStore

LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))
WRONG_HOST = error_answer(421, "this collector is not called that")


class AdminApp:
    """The application.

    Args:
        store: what is read.
        collector: whose metrics are shown.
        hosts: names under which this port is reached, beside those of loopback.
        page: answers everything else; None: nothing does.
    """

    def __init__(
        self, store: SqlStore, collector: CollectorApp, *, hosts: frozenset[str] = frozenset(), page: App | None = None
    ) -> None:
        self._store = store
        self._collector = collector
        self._hosts = LOCAL_HOSTS | hosts
        self._page = page
        self._routes: dict[str, Callable[[dict[str, str]], Any]] = {
            "/api/models": lambda _: store.models(),
            "/api/devices": lambda query: store.devices(silent_for_s=int(query.get("silent_for_s", "0"))),
            "/api/alerts": lambda query: store.alerts(model=query.get("model"), open_only="open" in query),
            "/api/flagged": lambda query: store.flagged(model=query.get("model"), to_do="todo" in query),
            "/api/totals": self._totals,
            "/api/series": self._series,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        path = scope["path"]
        if urllib.parse.urlsplit(f"//{host}").hostname not in self._hosts:
            answer = WRONG_HOST
        elif path == "/metrics":
            answer = Answer(200, await asyncio.to_thread(self._metrics), b"text/plain; version=0.0.4; charset=utf-8")
        elif path in self._routes:
            query = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            answer = WRONG_METHOD
            if scope["method"] == "GET":
                answer = await asyncio.to_thread(self._answer, self._routes[path], query)
        elif self._page is not None:
            await self._page(scope, receive, send)
            return
        else:
            answer = NOT_FOUND
        await answer.send(send)

    def _answer(self, route: Callable[[dict[str, str]], Any], query: dict[str, str]) -> Answer:
        try:
            return Answer(200, msgspec.json.encode(route(query)))
        except KeyError as error:
            return error_answer(400, f"{error.args[0]!r} is missing, or there is no such feature")
        except ValueError as error:
            return error_answer(400, str(error))
        except UnknownReferenceError as error:
            return error_answer(404, str(error))
        except StoreUnavailableError:
            return BUSY_ANSWER

    def _question(self, query: dict[str, str]) -> dict[str, Any]:
        question: dict[str, Any] = {"cohort": query.get("cohort")}
        if "phase" in query:
            cycle, _, part = query["phase"].partition(":")
            if cycle == "hour-of-day":
                question["phase"] = Phase("hour-of-day", int(part))
            elif cycle == "day-of-week":
                question["phase"] = Phase("day-of-week", int(part))
            else:
                raise ValueError("a phase is hour-of-day:13 or day-of-week:0")
        return question

    def _totals(self, query: dict[str, str]) -> dict[str, Any]:
        span = (int(query["since"]), int(query["until"]))
        return _as_dict(self._store.totals(query["model"], query["reference"], *span, **self._question(query)))

    def _series(self, query: dict[str, str]) -> list[dict[str, Any]]:
        span = (int(query["since"]), int(query["until"]))
        more = self._question(query)
        more["step_s"] = int(query.get("step_s", str(self._store.span_s)))
        if "features" in query:
            more["features"] = query["features"].split(",")
        return [_as_dict(each) for each in self._store.series(query["model"], query["reference"], *span, **more)]

    def _metrics(self) -> bytes:
        gauges = self._collector.gauges()
        try:
            pending, open_alerts, devices = self._store.sizes()
            gauges += [
                ("edgekit_database_bytes", "What it takes on disk.", self._store.database.size_bytes()),
                ("edgekit_windows_pending", "Windows that wait for their reference.", pending),
                ("edgekit_alerts_open", "Open alerts.", open_alerts),
                ("edgekit_devices", "Devices known.", devices),
                ("edgekit_database_up", "Whether the database answers.", 1),
            ]
        except StoreUnavailableError:
            gauges.append(("edgekit_database_up", "Whether the database answers.", 0))
        return self._collector.metrics.text(gauges)


def _as_dict(totals: Totals) -> dict[str, Any]:
    features = {name: counts._asdict() for name, counts in totals.features.items()}
    for each in features.values():
        if each["min"] > each["max"]:
            each["min"] = each["max"] = each["mean"] = each["m2"] = None
    fields = ("start_s", "end_s", "windows", "devices", "inferences", "errors", "dropped")
    return {**{name: getattr(totals, name) for name in fields}, "features": features}

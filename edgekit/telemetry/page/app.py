"""The page as an ASGI application: a path is a view, a query chooses what of it."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError, MissingPackageError, StoreUnavailableError, UnknownReferenceError
from edgekit.telemetry.collector.http import Answer
from edgekit.telemetry.page import views

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.telemetry.collector.http import App, Receive, Scope, Send
    from edgekit.telemetry.store import Store

KIND = b"text/html; charset=utf-8"
HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def page_of(store: Store, clock: Callable[[], float] = time.time) -> App:
    """The page over a store.

    Raises:
        MissingPackageError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingPackageError("The web page needs jinja2.", remedy="Install edgekit[collector].") from error
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("edgekit.telemetry.page"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters.update(time=_time, ago=_ago, share=lambda value: f"{100 * value:.3g} %", short=lambda i: i[:12])
    return Page(store, templates, clock)


class Page:
    """The application; made by `page_of`."""

    def __init__(self, store: Store, templates: Any, clock: Callable[[], float]) -> None:
        self._store = store
        self._templates = templates
        self._clock = clock
        self._routes: dict[str, Callable[[dict[str, str], int], dict[str, Any]]] = {
            "/": self._overview, "/model": self._model, "/feature": self._feature, "/devices": self._devices,
            "/alerts": self._alerts, "/flagged": self._flagged,
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is posted
        """Answers one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await Answer(405, b"", KIND, HEADERS).send(send)
            return
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1")))
        answer = await asyncio.to_thread(self._answer, scope["path"], query)
        await answer.send(send)

    def _answer(self, path: str, query: dict[str, str]) -> Answer:
        route = self._routes.get(path)
        try:
            if route is None:
                return self._trouble(404, "There is no such page.")
            values = route(query, int(self._clock()))
        except KeyError as error:
            return self._trouble(400, f"The address lacks {error.args[0]!r}.")
        except ValueError:
            return self._trouble(400, "The address has a number that is none.")
        except (DataError, UnknownReferenceError) as error:
            return self._trouble(404, str(error))
        except StoreUnavailableError:
            return self._trouble(503, "The database does not answer now. Try again in a moment.")
        return self._html(200, f"{path.strip('/') or 'overview'}.html.j2", **values)

    def _html(self, status: int, template: str, **values: Any) -> Answer:
        content = self._templates.get_template(template).render(now=int(self._clock()), **values)
        return Answer(status, content.encode(), KIND, HEADERS)

    def _trouble(self, status: int, told: str) -> Answer:
        return self._html(status, "trouble.html.j2", told=told)

    def _overview(self, _query: dict[str, str], now: int) -> dict[str, Any]:
        models, alerts, silent = views.overview(self._store, now)
        return {"models": models, "alerts": alerts, "silent": silent}

    def _model(self, query: dict[str, str], now: int) -> dict[str, Any]:
        return {"view": views.model_view(self._store, query["model"], query["reference"], now, **_asked(query))}

    def _feature(self, query: dict[str, str], now: int) -> dict[str, Any]:
        chosen = query["model"], query["reference"], query["feature"]
        return {"view": views.feature_view(self._store, *chosen, now, **_asked(query))}

    def _devices(self, query: dict[str, str], _now: int) -> dict[str, Any]:
        silent_for_s = views.SILENT_S if "silent" in query else 0
        return {"devices": self._store.devices(silent_for_s=silent_for_s), "silent_only": "silent" in query}

    def _alerts(self, query: dict[str, str], _now: int) -> dict[str, Any]:
        return {"alerts": self._store.alerts(open_only="open" in query), "open_only": "open" in query}

    def _flagged(self, query: dict[str, str], _now: int) -> dict[str, Any]:
        return {"windows": self._store.flagged(to_do="todo" in query), "to_do": "todo" in query}


def _asked(query: dict[str, str]) -> dict[str, Any]:
    days = min(max(1, int(query.get("days", "14"))), views.MOST_DAYS)
    return {"days": days, "cohort": query.get("cohort") or None}


def _time(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _ago(seconds: int | None) -> str:
    if seconds is None:
        return "never"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"

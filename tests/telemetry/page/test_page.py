"""The collector's web page: its views over real counts, by the real server, in a real browser."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.telemetry.collector import flagged
from edgekit.telemetry.drift.schedule import check_all
from edgekit.telemetry.evaluations import LabelledResult
from edgekit.telemetry.page import page_of
from edgekit.telemetry.page.charts import pair, timeline, trend
from tests.browser import chromium, watched
from tests.telemetry.collector.process import CollectorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.telemetry.collector.conftest import Collector


def ask(story: Collector, now: int, path: str, query: str = "") -> tuple[int, str]:
    """One view, without a socket."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    asyncio.run(page_of(story.store, lambda: now)(scope, receive, send))
    headers = dict(sent[0]["headers"])
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    return sent[0]["status"], sent[1]["body"].decode()


def reference_of(story: Collector) -> str:
    return next(iter(story.store.references("scanner")))


def test_the_overview_says_what_is_wrong_first(story: Collector, now: int) -> None:
    status, page = ask(story, now, "/")
    assert status == 200
    line = re.search(r"<tr><th scope=\"row\">.*?</tr>", page, re.DOTALL)
    assert line is not None
    assert re.search(r'class="drift">drift<', line[0])
    assert "x3" in line[0]
    assert "class" in line[0]
    assert "x4" not in line[0]
    assert "board-silent" in page


def test_what_to_label_names_the_time_the_artifact_and_what_came_of_it(story: Collector, now: int) -> None:
    flagged.record(story.store.database, check_all(story.store, now), now)
    [number] = [each.id for each in story.store.flagged()]
    status, page = ask(story, now, "/flagged", "todo=1")
    assert status == 200
    line = page[page.index("<tbody>") :]
    for text in ("scanner", "x3", "class", "a1a1a1a1a1a1", reference_of(story)[:12], "lasts", "to do"):
        assert text in line
    assert "x4" not in line
    result = LabelledResult("accuracy", 0.625, 0.95, 16, "labels.csv", now)
    flagged.give_result(story.store.database, number, result, note="<b>new lamps</b>")
    assert "scanner" not in ask(story, now, "/flagged", "todo=1")[1]
    page = ask(story, now, "/flagged")[1]
    assert "accuracy 0.625, expected 0.95 (n = 16)" in page
    assert "&lt;b&gt;new lamps&lt;/b&gt;" in page


def test_a_model_shows_every_feature_and_its_course(story: Collector, now: int) -> None:
    query = f"model=scanner&reference={reference_of(story)}&days=90"
    began = time.perf_counter()
    status, page = ask(story, now, "/model", query)
    took = time.perf_counter() - began
    assert status == 200
    assert page.count("<svg") == 100
    rows = re.findall(r'<th scope="row">.*?>([a-z0-9]+)</a>', page)
    assert set(rows[:2]) == {"x3", "class"}, "what drifted comes first"
    assert "the model's outputs moved too".lower() in page.lower()
    assert "pilot" in page
    assert took < 30, "seconds on a busy machine; benchmarks/page.py has the figure"
    _, field = ask(story, now, "/model", query + "&cohort=field")
    assert 'class="verdict quiet"' in field, "the other cohort is as it was"


def test_a_feature_shows_both_distributions_and_since_when(story: Collector, now: int) -> None:
    query = f"model=scanner&reference={reference_of(story)}&days=30&cohort=pilot"
    _, page = ask(story, now, "/feature", query + "&feature=x3")
    dots = page.count('class="over"')
    assert 5 <= dots <= 9, "the days of the last week"
    assert page.count('class="reference"') == page.count('class="window"') == 32
    assert "sudden" in page
    _, page = ask(story, now, "/feature", query + "&feature=class")
    assert "&lt;b&gt;bird&lt;/b&gt;" in page
    assert "<b>bird" not in page, "names from devices are text"


@pytest.mark.parametrize(
    ("path", "query", "status", "told"),
    [
        ("/model", "model=scanner", 400, "lacks &#39;reference&#39;"),
        ("/model", "model=<script>&reference=x", 404, "&lt;script&gt;"),
        ("/model", "model=scanner&reference=x&days=many", 400, "a number that is none"),
        ("/nowhere", "", 404, "no such page"),
        ("/feature", "model=scanner&reference={}&feature=x999", 404, "no feature &#39;x999&#39;"),
    ],
)
def test_a_wrong_address_is_told(story: Collector, now: int, path: str, query: str, status: int, told: str) -> None:
    found, page = ask(story, now, path, query.format(reference_of(story)))
    assert found == status
    assert told in page
    assert "<script" not in page


def test_devices_and_alerts(story: Collector, now: int) -> None:
    _, page = ask(story, now, "/devices")
    assert "11 devices" in page
    _, page = ask(story, now, "/devices", "silent=1")
    assert "board-silent" in page
    assert "board-0" not in page
    assert "None" in ask(story, now, "/alerts", "open=1")[1]


def test_charts_of_nothing_and_of_gaps() -> None:
    assert "polyline" not in trend([], [], title="nothing")
    gap = trend([0.1, None, 0.3, 0.4], [0.2, None, 0.2, 0.2], title='a "quoted" title')
    assert gap.count('class="value"') == 1, "a point alone is no line"
    assert gap.count('class="over"') == 2
    assert "&quot;quoted&quot;" in gap
    assert "polyline" in timeline([0.0, 0.0], [0.1, 0.1], ["a", "b"], title="flat")
    assert pair([0.0], [0.0], ["<"], title="empty").count("&lt;") >= 1


@pytest.fixture(scope="module")
def served(story: Collector) -> Iterator[str]:
    """The real server over the same database."""
    key_file = Path(story.url).with_name("master.key")
    process = CollectorProcess(story.url, key_file, "--check-every", "1h", "--keep-raw", "400")
    yield f"http://127.0.0.1:{process.admin_port}"
    process.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser(served: str, tmp_path: Path, width: int, scheme: str) -> None:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        tab, trouble = watched(context, home=served)
        tab.goto(served)
        assert tab.title() == "EdgeKit telemetry"
        tab.screenshot(path=tmp_path / "overview.png", full_page=True)
        tab.get_by_role("link", name="scanner").click()
        assert tab.get_by_role("img").count() == 100
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, "tables scroll within, the page does not"
        tab.screenshot(path=tmp_path / "model.png")
        tab.get_by_role("combobox", name="over").select_option("90")
        tab.get_by_role("button", name="Show").click()
        assert "days=90" in tab.url
        tab.get_by_role("link", name="x3", exact=True).click()
        assert tab.get_by_role("heading", name="Distributions").is_visible()
        tab.screenshot(path=tmp_path / "feature.png", full_page=True)
        tab.get_by_text("As a table").first.click()
        assert tab.get_by_role("region", name="Distances").is_visible()
        tab.get_by_role("link", name="To label").click()
        assert tab.get_by_role("region", name="Flagged windows").is_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.screenshot(path=tmp_path / "flagged.png", full_page=True)
        tab.goto(served)
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "To the content"
        tab.keyboard.press("Enter")
        for _ in range(3):
            tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.tagName") in ("A", "DIV")
        assert trouble == []
        context.close()

"""The report: complete, escaped, the same for the same data, and whole in a real browser without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest

from edgekit.artifact import Accuracy
from edgekit.bench.compare import compare
from edgekit.bench.delegation import Delegation
from edgekit.bench.energy import Energy
from edgekit.bench.evaluation import Evaluated, write_evaluated
from edgekit.bench.evaluation.judge import Interval
from edgekit.bench.evaluation.result import Agreement, Data, OnDevice
from edgekit.bench.profile import Operator, Profile
from edgekit.bench.report import page, plots
from edgekit.bench.report.figures import WINDOWS, _around, _front, _windows
from edgekit.bench.report.page import headline
from edgekit.bench.report.theme import INK, SERIES, to_file
from edgekit.bench.run import Facts, GivenUp, Run, write_run
from edgekit.bench.sustained import read_chunks
from tests.bench.runs import make_block, noisy_run

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = '</script><script>document.title = "pwned"</script>"\' &<b>'


def accurate(run: Run, value: float) -> Run:
    return msgspec.structs.replace(run, accuracy=Accuracy("accuracy", "%", True, 0.98, value, 500))


def two_runs() -> list[Run]:
    return [accurate(noisy_run(1), 0.97), accurate(noisy_run(2, precision="float32", ns=1.4e6), 0.98)]


def written(runs: list[Run], against: list[Run] | None = None, title: str = "digits") -> str:
    comparisons = compare(against, runs).comparisons if against else ()
    return page(title, runs, comparisons, plots(runs))


def test_the_same_runs_give_the_same_page() -> None:
    runs = two_runs()
    assert written(runs) == written(runs)


def with_extras(run: Run) -> Run:
    """The run with a sustained run, a profile, a block that was given up, a delegate that took nothing, and energy."""
    operators = tuple(Operator(f"conv {k} {HOSTILE}", "Conv", 1, 1000.0 + k, 0.05) for k in range(20))
    blocks = tuple(
        msgspec.structs.replace(
            block,
            attempts=2,
            delegation=Delegation("NnapiExecutionProvider", (), 31, {"Conv": 31}),
            energy=Energy("powercap", 5.0, 1.0, 1.0, 1000),
        )
        for block in run.blocks
    )
    chunks = [
        {"at_ns": (k + 1) * 10**9, "n": 50, "max_ns": 2000, "total_ns": 50_000, "kept_ns": [1000 + 100 * k] * 20,
         "temperature_c": 40.0 + k, "frequency_hz": 1.8e9, "missing": {}}
        for k in range(12)
    ]  # fmt: skip
    return msgspec.structs.replace(
        run, blocks=blocks, given_up=(GivenUp(3, 2, f"the governor changed {HOSTILE}"),), shipped_bytes=40_000,
        sustained=read_chunks(chunks, 600, f"the link went down {HOSTILE}"),
        profile=Profile(operators, "a profiler", 100, 1000.0, 1500.0, 30_000.0),
    )  # fmt: skip


def test_extra_runs_and_conditions_are_in_it() -> None:
    run = with_extras(noisy_run(1))
    made = {plot.name: plot for plot in plots([run, noisy_run(2, precision="float32")])}
    assert "cut short: the link went down" in made["digits_cnn-sustained"].says
    assert "the hottest zone and the fastest core" in made["digits_cnn-sustained"].says
    (bars,) = (plot for name, plot in made.items() if name.endswith("-operators"))
    assert [label.get_text() for label in bars.figure.axes[0].get_yticklabels()][-1] == "5 more"
    assert "profiling makes one +50% slower" in bars.says
    text = written([run])
    for said in ("block 4 was given up", "10 blocks measured again", "NnapiExecutionProvider took none of 31", "4 mJ",
                 "40 kB as shipped", "sustained run was cut short"):  # fmt: skip
        assert said in text, said
    assert "<script>document" not in text
    assert headline([run], ())[0] == "inconclusive"
    plain = written([noisy_run(2)])
    assert "Conditions" not in plain


def test_a_page_asks_no_network_for_anything() -> None:
    text = written(two_runs(), against=two_runs())
    asked = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?((?!#|data:)[^\"')\s>]+)", text)
    assert [found for found in asked if "://" in found or found.startswith("/")] == []
    assert "default-src 'none'" in text


def test_what_a_run_says_stays_text() -> None:
    run = msgspec.structs.replace(
        noisy_run(1), model=HOSTILE, blocks=tuple(make_block(5, 6, 7, cpu_model=HOSTILE) for _ in range(3))
    )
    text = written([run], title=HOSTILE)
    assert "<script>document.title" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert msgspec.json.decode(data[1], type=list[Run]) == [run]


def test_the_verdict_comes_first() -> None:
    slower = [accurate(noisy_run(5, ns=1.3e6), 0.97)]
    text = written(slower, against=[noisy_run(1)])
    assert text.index("1 of 1 regressed") < text.index("<table>")
    assert text.index(">regressed</span>") < text.index("digits_cnn tflite:int8 ×1</th>")


@pytest.mark.parametrize(
    ("runs", "outcome"),
    [([noisy_run(1)], "equivalent"), ([noisy_run(1), noisy_run(2, steady=False)], "inconclusive")],
)
def test_the_headline_without_a_baseline(runs: list[Run], outcome: str) -> None:
    assert headline(runs, ())[0] == outcome


def test_plots_of_a_page_have_its_colours_and_those_of_a_file_their_own(tmp_path: Path) -> None:
    drawn = plots(two_runs())
    assert [plot.name for plot in drawn] == ["digits_cnn-latency", "digits_cnn-pareto", "digits_cnn-time"]
    text = written(two_runs())
    assert "var(--series-1)" in text
    assert INK not in text.split("</style>", 1)[1]
    for plot in drawn:
        to_file(plot.figure, tmp_path / f"{plot.name}.svg")
        to_file(plot.figure, tmp_path / f"{plot.name}.png")
        assert SERIES[0] in ET.tostring(ET.parse(tmp_path / f"{plot.name}.svg").getroot(), encoding="unicode")
        assert (tmp_path / f"{plot.name}.png").read_bytes().startswith(b"\x89PNG")


def test_temperatures_are_drawn_where_a_device_tells_them() -> None:
    cool = noisy_run(1, n=3)
    hot = noisy_run(1, n=3, facts={"temperature_c": {"0:cpu": 61.5}})
    says = {run.id: plots([run])[-1].says for run in (cool, hot)}
    assert "no temperature" in says[cool.id]
    assert "thermal zone" in says[hot.id]


def test_the_pareto_front() -> None:
    points = [(1.0, 90.0), (2.0, 95.0), (3.0, 94.0), (4.0, 99.0), (1.0, 80.0)]
    assert _front(points, 1) == [(1.0, 90.0), (2.0, 95.0), (4.0, 99.0)]
    assert _front(points, -1) == [(1.0, 80.0)]
    low, high = _around([97.8, 97.8])
    assert low < 96 < 99 < high


def test_a_run_of_few_samples_has_bounds_and_no_gaps() -> None:
    text = written([msgspec.structs.replace(noisy_run(1, n=3), accuracy=None)])
    assert "≤" in text


def test_the_command_writes_page_and_plots(tmp_path: Path) -> None:
    for run in two_runs():
        write_run(run, tmp_path / "runs")
    command = [sys.executable, "-m", "edgekit", "report", str(tmp_path / "runs"), "--against", str(tmp_path / "runs")]
    done = subprocess.run(
        [*command, "--html", str(tmp_path / "r.html"), "--plots", str(tmp_path / "plots"), "--as", "png", "--json"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["files"]) == 4
    assert (tmp_path / "r.html").stat().st_size > 10_000
    nothing = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert nothing.returncode == 2
    assert "--html" in nothing.stderr


def evaluation_of(run: Run, device: float, outcome: str = "same") -> Evaluated:
    accuracy = OnDevice("accuracy", "%", True, 0.98, 0.97, 0.97, "computed", device, 0.97 - device,
                        Interval(0.0, 0.1, 0.95, "tango", 3, 1, 0.6), 0.01)  # fmt: skip
    return Evaluated(
        "e" * 12, "2026-11-27T17:00:00Z", run.artifact, run.model, run.recipe, run.context, Facts({}, {}),
        Data("ab" * 32, 360, 360, "360 evaluation samples", (HOSTILE,)), accuracy,
        Agreement(360, run.blocks[0].golden, 20.0, True), outcome, "it says why", "1%", 0, 1,
    )  # fmt: skip


def test_accuracy_on_the_device_is_shown_and_wrong_comes_first() -> None:
    runs = two_runs()
    right, wrong = evaluation_of(runs[0], 0.97), evaluation_of(runs[1], 0.4321, "worse")
    joined = {runs[0].id: right, runs[1].id: wrong}
    drawn = plots(runs, joined)
    (pareto,) = [plot for plot in drawn if plot.name.endswith("pareto")]
    assert "evaluated on the device" in pareto.says
    text = page("digits", runs, (), drawn, evaluations=joined)
    assert "43.21 %" in text
    assert "It says why" not in text
    told = "Less accurate on the device than on the host: digits_cnn tflite:float32 on board"
    assert text.index(told) < text.index("<table")
    assert "pwned" in text
    assert HOSTILE not in text
    assert "Accuracy on the device" not in page("digits", runs, (), plots(runs))


def test_a_part_of_the_samples_is_no_match_for_a_manifests_metric() -> None:
    runs = two_runs()
    part = evaluation_of(runs[0], 0.5)
    part = msgspec.structs.replace(part, data=msgspec.structs.replace(part.data, samples=20))
    (pareto,) = [plot for plot in plots(runs, {runs[0].id: part}) if plot.name.endswith("pareto")]
    assert "on the device" not in pareto.says


def test_the_command_joins_evaluations_to_runs(tmp_path: Path) -> None:
    run = two_runs()[0]
    write_run(run, tmp_path / "runs")
    write_evaluated(evaluation_of(run, 0.9654), tmp_path / "runs")
    command = [sys.executable, "-m", "edgekit", "report", str(tmp_path / "runs"), "--html", str(tmp_path / "r.html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "96.54 %" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium, headless; Debian's, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run"]  # fmt: skip
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=quiet)
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "dark")])
def test_in_a_browser(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    path = tmp_path / "r.html"
    runs = two_runs()
    compared = compare([noisy_run(9, ns=0.8e6)], runs).comparisons
    joined = {runs[0].id: evaluation_of(runs[0], 0.97), runs[1].id: evaluation_of(runs[1], 0.4, "worse")}
    path.write_text(page("digits", runs, compared, plots(runs, joined), evaluations=joined), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    trouble: list[str] = []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on(
        "request", lambda request: None if request.url.startswith(("file:", "blob:")) else trouble.append(request.url)
    )
    tab.goto(path.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width  # tables scroll within, the page does not
    drawn = tab.locator("figure svg")
    assert drawn.count() == 3
    assert all(drawn.nth(k).bounding_box()["height"] > 100 for k in range(3))
    background, ink = tab.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (sum(map(int, re.findall(r"\d+", background))) > sum(map(int, re.findall(r"\d+", ink)))) == (
        scheme == "light"
    )
    with tab.expect_download() as download:
        tab.click("#download")
    runs = msgspec.json.decode(Path(download.value.path()).read_bytes(), type=list[Run])
    assert [run.model for run in runs] == ["digits_cnn", "digits_cnn"]
    tab.keyboard.press("Tab")
    assert trouble == []
    context.close()


@pytest.mark.parametrize("n", [1, 5, 17, 1233, 3491])
def test_windows_are_the_quantiles_of_equal_parts(n: int) -> None:
    block = make_block(*np.random.default_rng(n).integers(1, 10**6, n).tolist())
    parts = np.array_split(block.samples.unpack(), min(WINDOWS, max(1, n // 10)))
    seconds, low, middle, high = _windows(block)
    assert np.allclose(seconds, np.cumsum([part.sum() for part in parts]) / 1e9)
    for q, found in ((0.1, low), (0.5, middle), (0.9, high)):
        assert np.allclose(found, [np.quantile(part, q) for part in parts])

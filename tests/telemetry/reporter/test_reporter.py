"""What the user's program sees: three calls, nothing that raises, and counts that are right."""

from __future__ import annotations

import math
import random
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from edgekit.telemetry.reporter import Reporter, wire
from edgekit.telemetry.reporter.errors import InvalidReference, ReporterError
from edgekit.telemetry.reporter.outbox import Outbox
from tests.telemetry.reporter.models import KEY, Collecting, SetClock, classifier, tabular

if TYPE_CHECKING:
    from edgekit.telemetry.reporter.window import Window

KEYED = {"device": "dev-1", "key_id": "k1", "key": KEY}


def windows_in(state: Path) -> list[Window]:
    """What waits in a state directory that nobody uses."""
    outbox = Outbox(str(state / "0"))
    found = [wire.decode(frame) for _, frame in outbox.sealed()]
    outbox.close()
    return found


@pytest.mark.parametrize("way", ["stdlib", "numpy", "native"])
@pytest.mark.parametrize("background", [True, False])
def test_rows_are_counted_and_written(tmp_path: Path, native: Any, way: str, background: bool) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(2500, 3))
    with Reporter.open(tabular(), state=tmp_path, way=way, background=background, window_s=1e9) as reporter:
        for row in rows[:500].tolist():
            reporter.observe(row)
        for row in rows[500:1000]:
            reporter.observe(row)
        reporter.observe(rows[1000:2400])
        for row in rows[2400:].astype(np.float32):
            reporter.observe(row, latency_ns=2.5e6)
        for bad in ("text", [1.0], None, {"nothing": 1}, np.zeros((3, 2)), object()):
            reporter.observe(bad)
        assert reporter.status()["dropped"] == 5
        assert "TypeError" in reporter.status()["last_error"]
    (window,) = windows_in(tmp_path)
    assert (window.inferences, window.dropped, window.errors) == (2501, 5, 0)
    assert [counts.n for counts in window.features] == [2500] * 3
    assert window.latency.n == 100
    reference = tabular()
    for j, counts in enumerate(window.features):
        column = np.concatenate([rows[:2400, j], rows[2400:, j].astype(np.float32)])
        cells = np.searchsorted(reference.features[j].edges, column, side="right")
        assert list(counts.cells) == np.bincount(cells, minlength=136).tolist()
        assert counts.mean == pytest.approx(column.mean())
        assert counts.variance == pytest.approx(column.var(ddof=1))


def test_tensors_are_summarised_and_a_call_counts_whole_or_not_at_all(tmp_path: Path) -> None:
    image = np.full((1, 8, 8), 150, np.uint8)
    scores = [[0.1, 0.2, 0.7]]
    with Reporter.open(classifier(), state=tmp_path) as reporter:
        reporter.observe({"image": image, "age": 30, "country": "fr"}, {"scores": scores}, latency_ns=5e6)
        reporter.observe({"image": image.tolist(), "age": np.float32(200), "country": "xx"}, np.array(scores))
        reporter.observe({"age": None, "country": None}, scores, error="timeout")
        reporter.observe({"image": [1.0], "age": 30, "country": "fr"}, scores)  # no image
        reporter.observe({"image": image, "age": "thirty", "country": "fr"}, scores)
        reporter.observe({"image": image, "age": 30, "country": ["fr"]}, scores)
        reporter.observe({"image": image, "age": 30, "country": "fr"}, {"other": 1})
        reporter.observe(image)  # which tensor?
        status = reporter.status()
    assert (status["inferences"], status["dropped"]) == (3, 5)
    (window,) = windows_in(tmp_path)
    assert (window.inferences, window.errors, window.dropped) == (3, 1, 5)
    mean, high, age, country, label, confidence = window.features
    assert (mean.cells, mean.missing) == ((0, 0, 2, 0), 1)
    assert (high.n, high.missing) == (2, 1)
    assert (age.cells, age.missing, age.out_of_range) == ((0, 1, 1), 1, 1)
    assert (country.cells, country.missing) == ((1, 0, 1), 1)
    assert label.cells == (0, 0, 3, 0)
    assert confidence.n == 3
    assert window.latency.n == 1


def test_columns_of_a_batch(tmp_path: Path) -> None:
    with Reporter.open(classifier(), state=tmp_path) as reporter:
        batch = {"image": np.zeros((4, 8, 8)), "age": np.arange(4), "country": ["fr", "de", "de", None]}
        reporter.observe(batch, np.full((4, 3), 1 / 3))
        reporter.observe({"image": np.zeros((4, 8, 8)), "age": [1, 2], "country": ["fr"]})
    (window,) = windows_in(tmp_path)
    assert (window.inferences, window.dropped) == (4, 1)
    assert window.features[3].cells == (1, 2, 0)


def test_windows_end_on_the_wall_clock_and_jumps_do_not_stretch_them(tmp_path: Path) -> None:
    clock = SetClock()
    reporter = Reporter.open(tabular(), state=tmp_path, background=False, window_s=3600, clock=clock)

    def observe(n: int) -> None:
        for _ in range(n):
            reporter.observe([0.0, 0.0, 0.0])

    observe(20)
    clock.pass_s(3600 - clock.wall / 1e9 % 3600 + 1)
    observe(40)  # the clock is looked at now and then: some of these are still the first window's
    clock.wall -= 86_400 * 10**9  # a day back
    observe(40)
    clock.pass_s(3601)
    observe(40)
    clock.wall += 30 * 86_400 * 10**9  # a month ahead
    clock.is_synced = False
    observe(40)
    reporter.close()
    found = windows_in(tmp_path)
    assert sum(window.inferences for window in found) == 180
    assert [window.seq for window in found] == list(range(len(found)))
    assert 4 <= len(found) <= 6
    assert all(0 <= window.span_ns <= 2 * 3600 * 10**9 for window in found)
    assert max(abs(window.end_ns - window.start_ns - window.span_ns) for window in found) > 10**13  # skew is visible
    assert {window.synced for window in found} == {True, False}


def test_windows_by_count(tmp_path: Path) -> None:
    for background in (False, True):
        state = tmp_path / str(background)
        with Reporter.open(tabular(), state=state, background=background, window_count=100, window_s=1e9) as reporter:
            for i in range(1050):
                reporter.observe([float(i), 0.0, 0.0])
        assert [window.inferences for window in windows_in(state)] == [100] * 10 + [50]


def test_drift_on_the_device(tmp_path: Path) -> None:
    draw = random.Random(3)
    reporter = Reporter.open(tabular(), state=tmp_path, window_s=1e9)
    assert reporter.drift().features == ()
    for _ in range(150):
        reporter.observe([draw.gauss(0, 1) for _ in range(3)])
    assert {each.verdict for each in reporter.drift().features} == {"too few"}
    for _ in range(2000):
        reporter.observe([draw.gauss(0, 1) for _ in range(3)])
    assert not reporter.drift().drifted
    reporter.flush(seal=True)
    for _ in range(1000):
        reporter.observe([draw.gauss(0, 1), draw.gauss(0.5, 1), draw.gauss(0, 1)])
    drift = reporter.drift()
    assert drift.drifted
    assert drift.inferences == 1000
    assert [each.feature for each in drift.features if each.verdict == "drift"] == ["f1"]
    reporter.close()


def test_without_a_reference_cells_are_cut_from_the_first_window(tmp_path: Path) -> None:
    draw = random.Random(7)

    def call(shift: float) -> tuple[dict[str, Any], list[float]]:
        share = draw.random()
        inputs = {"a": draw.gauss(shift, 1), "b": draw.choice("xyz"), "rest": [1.0, draw.random()]}
        return inputs, [share, 1 - share]

    def run(n: int, shift: float = 0.0) -> None:
        with Reporter.open(model="bare", state=tmp_path, window_s=1e9) as reporter:
            for _ in range(n):
                reporter.observe(*call(shift), latency_ns=1000.0)
            if shift:
                assert [each.feature for each in reporter.drift().features if each.verdict == "drift"] == ["a"]

    run(5000)
    run(1000, 1.0)
    first, second = windows_in(tmp_path)
    assert first.bootstrapped
    assert second.bootstrapped
    assert first.reference == second.reference
    assert (first.inferences, first.dropped) == (5000, 904)  # 4,096 were kept; the others are accounted for
    assert first.features[0].n == 4096
    assert second.features[0].n == 1000
    assert first.latency.n == 5000


def test_status_tells_who_and_what(tmp_path: Path) -> None:
    labels = {"cohort": "beta", "app": "1.2"}
    with Reporter.open(tabular(), state=tmp_path, labels=labels, artifact="ab" * 32) as reporter:
        reporter.observe([0.0, 0.0, 0.0])
        status = reporter.status()
    assert status["device"].startswith("dev-")
    assert status["trouble"] == ""
    with Reporter.open(tabular(), state=tmp_path) as again:
        assert again.status()["device"] == status["device"]
    (window,) = windows_in(tmp_path)
    assert window.labels == (("app", "1.2"), ("cohort", "beta"))
    assert window.artifact == "ab" * 32
    assert stat.S_IMODE((tmp_path / "device.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": None}, "needs a name"),
        ({"window_s": 0}, "above 0"),
        ({"collector": "file:///etc"}, "https://"),
        ({"key": b"k"}, "belong together"),
        ({"labels": {"a": "x" * 65}}, "at most 64 bytes"),
        ({"labels": {str(i): "" for i in range(17)}}, "at most 16"),
        ({"source": "/nowhere/reference.json"}, "No reference can be read"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ReporterError, match=message):
        Reporter.open(arguments.pop("source", tabular()), state=tmp_path, **arguments)


def test_an_artifacts_folder(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    tabular().save(folder / "reference.json")
    (folder / "manifest.json").write_bytes(b"{}")
    with Reporter.open(folder, state=tmp_path / "state") as reporter:
        assert reporter.status()["reference"] == tabular().id
        assert reporter.status()["artifact"].startswith("44136fa355b3678a")
    (folder / "reference.json").write_bytes(b"{}")
    with pytest.raises(InvalidReference, match="schema"):
        Reporter.open(folder, state=tmp_path / "state")


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.data())
def test_observe_never_raises(data: st.DataObject) -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __len__(self) -> int:
            raise RuntimeError

        def __iter__(self) -> Any:
            raise ZeroDivisionError

        def __hash__(self) -> int:
            raise KeyError

    leaf = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.builds(Hostile),
    )
    anything = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.sampled_from(["image", "age", "country", "scores", "x"]), inner, max_size=4),
            st.tuples(inner, inner),
        ),
        max_leaves=12,
    )
    for reference in (classifier(), tabular(), None):
        reporter = Reporter.open(reference, model="m", state="/dev/null/nowhere", background=False)
        for _ in range(3):
            reporter.observe(data.draw(anything), data.draw(anything), data.draw(leaf), data.draw(st.none() | leaf))
        reporter.close(0)


def test_a_directory_that_cannot_be_written_costs_persistence_and_nothing_else(tmp_path: Path) -> None:
    with Reporter.open(tabular(), state="/proc/edgekit", background=False, **KEYED) as reporter:
        assert "cannot keep its state in /proc/edgekit" in reporter.status()["trouble"]
        reporter.observe([0.0, 0.0, 0.0])
        reporter.flush(seal=True)
        assert reporter.status()["waiting"] == 1
    del tmp_path


def test_threads_lose_nothing(tmp_path: Path, native: Any) -> None:
    each = 4000
    for way in ("stdlib", "numpy", "native"):
        state = tmp_path / way
        with Reporter.open(tabular(), state=state, way=way, window_s=0.05, checkpoint_count=50) as reporter:

            def work(reporter: Reporter = reporter) -> None:
                row = np.array([0.5, 0.5, 0.5])
                for i in range(each):
                    reporter.observe([0.5, 0.5, 0.5] if i % 3 else row if i % 2 else row.astype(np.float32))

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                reporter.drift()
                reporter.flush(0.1)
            for thread in threads:
                thread.join()
        found = windows_in(state)
        assert sum(window.inferences for window in found) == 4 * each
        assert all(sum(w.features[j].n for w in found) == 4 * each for j in range(3))


def test_the_child_of_a_fork_counts_for_itself(tmp_path: Path) -> None:
    program = """
import os, sys, time
from edgekit.telemetry.reporter import Reporter
from tests.telemetry.reporter.models import tabular
reporter = Reporter.open(tabular(), state=sys.argv[1])
for _ in range(300): reporter.observe([0.0, 0.0, 0.0])
child = os.fork()
for _ in range(20 if child else 70): reporter.observe([1.0, 1.0, 1.0])
reporter.close()
if child:
    os.waitpid(child, 0)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60, cwd=Path.cwd())
    with Reporter.open(tabular(), state=tmp_path, background=False):  # takes over what the child left
        pass
    assert sorted(window.inferences for window in windows_in(tmp_path)) == [70, 320]
    assert len({window.boot for window in windows_in(tmp_path)}) == 2


def test_two_processes_share_a_directory_and_the_next_start_takes_over(tmp_path: Path) -> None:
    first = Reporter.open(tabular(), state=tmp_path)
    second = Reporter.open(tabular(), state=tmp_path)
    for reporter, n in ((first, 5), (second, 7)):
        for _ in range(n):
            reporter.observe([0.0, 0.0, 0.0])
    assert first.status()["state"] == str(tmp_path / "0")
    assert second.status()["state"] == str(tmp_path / "1")
    second.close()
    first.close()
    with Reporter.open(tabular(), state=tmp_path):
        pass
    assert [window.inferences for window in windows_in(tmp_path)] == [5, 7]
    assert not (tmp_path / "1" / "journal").exists()


def test_a_program_that_just_ends_leaves_its_counts(tmp_path: Path) -> None:
    program = """
import sys
from edgekit.telemetry.reporter import Reporter
from tests.telemetry.reporter.models import tabular
reporter = Reporter.open(tabular(), state=sys.argv[1])
for _ in range(123): reporter.observe([0.0, 0.0, 0.0])
"""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60, cwd=Path.cwd())
    assert time.monotonic() - begun < 30
    assert [window.inferences for window in windows_in(tmp_path)] == [123]


def test_checkpoints_come_by_count(tmp_path: Path) -> None:
    reporter = Reporter.open(tabular(), state=tmp_path, window_s=1e9, checkpoint_s=1e6, checkpoint_count=200)
    for _ in range(150):
        reporter.observe([0.0, 0.0, 0.0])
    time.sleep(1.3)  # the first call brought one; the next is a second later at the earliest
    for _ in range(300):
        reporter.observe([0.0, 0.0, 0.0])
    end = time.monotonic() + 10
    journal = tmp_path / "0" / "journal"
    while time.monotonic() < end:
        left = Outbox.left_in(str(journal))
        if left and wire.decode(left[-1][1]).inferences >= 300:
            break
        time.sleep(0.05)
    else:
        pytest.fail("no checkpoint")
    reporter.close()


def test_numpy_is_never_imported_for_telemetrys_sake(tmp_path: Path) -> None:
    program = """
import sys
from edgekit.telemetry.reporter import Reporter
reporter = Reporter.open(model="m", state=sys.argv[1], way="stdlib")
reporter.observe([1.0, 2.0], [0.5, 0.5])
reporter.close()
heavy = {"numpy", "urllib.request", "ssl", "http.client", "dataclasses", "edgekit.errors"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60, cwd=Path.cwd())


def test_a_collector_gets_everything_once(tmp_path: Path) -> None:
    with Collecting() as collector:
        with Reporter.open(tabular(), state=tmp_path, collector=collector.url, window_count=50, **KEYED) as reporter:
            for _ in range(1234):
                reporter.observe([0.0, 0.0, math.nan])
        assert collector.total() == 1234
        assert collector.duplicates == 0
    assert windows_in(tmp_path) == []

"""Checks of a real store: spans, cohorts, history, phases, volume, and what is too little."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgekit.cli import cli
from edgekit.errors import DataError
from edgekit.telemetry.collector.ingest import Ingest
from edgekit.telemetry.collector.reading import SqlStore, open_store
from edgekit.telemetry.collector.uploads import Upload
from edgekit.telemetry.drift.check import Question, check
from edgekit.telemetry.drift.schedule import check_all
from edgekit.telemetry.references.columns import Column, counts_of, features_of
from edgekit.telemetry.reporter import envelope, wire
from edgekit.telemetry.reporter.reference import LATENCY, Reference, Tensor
from edgekit.telemetry.reporter.window import FeatureCounts, Window

HOUR = 3600
NS = 10**9
NAMES = ("speed", "load", "mode", "score")


def _reference(rng: np.random.Generator) -> Reference:
    n = 20_000
    columns = [
        Column("speed", "number", rng.normal(50, 10, n)),
        Column("load", "number", rng.normal(0, 1, n)),
        Column("mode", "category", rng.choice(["eco", "sport"], n).tolist()),
        Column("score", "number", rng.beta(8, 2, n), role="output"),
    ]
    tensors = [Tensor(c.name, c.role, c.kind) for c in columns]
    return Reference.of("pump", features_of(columns), tensors=tensors, data="a test's data")


class Fleet:
    """Devices that report one window an hour into a real SQLite store."""

    def __init__(self, folder: Path) -> None:
        self.rng = np.random.default_rng(7)
        self.reference = _reference(self.rng)
        self.path = str(folder / "t.db")
        self.store: SqlStore = open_store(self.path)
        self.store.register(self.reference)
        self.ingest = Ingest(self.store.database, span_s=HOUR, max_body_bytes=1 << 20)
        self.ingest.refresh()
        self.now = int(time.time()) // HOUR * HOUR
        self._seq = itertools.count()

    def report(
        self, hours_ago: int, n: int = 300, *, device: str = "d1", cohort: str = "", errors: int = 0,
        latency_ns: float = 2e6, reference: str | None = None, **changed: Callable[[np.ndarray], object],
    ) -> None:  # fmt: skip
        """One window of a device; `changed` are functions of a feature's ordinary values."""
        rng = self.rng
        values: dict[str, object] = {
            "speed": rng.normal(50, 10, n), "load": rng.normal(0, 1, n),
            "mode": rng.choice(["eco", "sport"], n).tolist(), "score": rng.beta(8, 2, n),
        }  # fmt: skip
        values |= {name: change(np.asarray(values[name])) for name, change in changed.items()}
        features = [counts_of(f, values[f.name]) for f in self.reference.features]  # type: ignore[arg-type]
        latency = counts_of(LATENCY, rng.lognormal(np.log(latency_ns), 0.2, n))
        start = (self.now - hours_ago * HOUR) * NS
        window = Window(
            device, "0b" * 16, next(self._seq), "pump", "a1" * 32, reference or self.reference.id, start,
            start + HOUR * NS - 1, HOUR * NS, synced=True, inferences=n, errors=errors, latency=latency,
            features=tuple(features),
        )  # fmt: skip
        body = envelope.seal(
            wire.encode_body([window]), device=device, key_id="k", key=b"k" * 32, sent_ns=self.now * NS
        )
        upload = Upload(envelope.parse(body), cohort, self.now * NS, self.ingest.generation)
        (outcome,) = self.ingest.commit([upload])
        assert outcome.accepted == 1, outcome

    def days(self, days: int, *, step: int = 4, **options: object) -> None:
        """Quiet hours from `days` ago up to the judged day."""
        for hour in range(days * 24, 24, -step):
            self.report(hour, **options)  # type: ignore[arg-type]


def _plus(shift: float) -> Callable[[np.ndarray], object]:
    return lambda values: values + shift


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_quiet_day_is_quiet_and_its_latency_is_compared_with_the_days_before(fleet: Fleet) -> None:
    fleet.days(5)
    for hour in range(24, 0, -4):
        fleet.report(hour)
    verdict = check(fleet.store, "pump", fleet.now)
    assert verdict.outcome == "quiet"
    assert verdict.exit_status == 0
    assert {v.feature: v.outcome for v in verdict.features} == dict.fromkeys((*NAMES, "latency_ns"), "quiet")
    assert verdict.n == 1800
    assert verdict.outputs_moved is False
    assert verdict.findings() == ()


def test_a_jump_is_named_dated_and_told_apart_from_outputs(fleet: Fleet) -> None:
    fleet.days(4)
    for hour in range(24, 0, -2):
        fleet.report(hour, speed=_plus(8 if hour <= 12 else 0))
    verdict = check(fleet.store, "pump", fleet.now)
    assert verdict.outcome == "drift"
    assert [v.feature for v in verdict.drifted] == ["speed"]
    assert "higher" in verdict.drifted[0].told
    assert verdict.outputs_moved is False
    assert verdict.shape == "sudden"
    began = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(fleet.now - 12 * HOUR))
    assert verdict.began == began
    assert [(f.feature, f.rule) for f in verdict.findings()] == [("speed", "ks")]


def test_outputs_errors_latency_and_a_stuck_sensor(fleet: Fleet) -> None:
    fleet.days(4)
    for hour in range(24, 0, -2):
        fleet.report(hour, errors=60, latency_ns=6e6, load=lambda v: np.full(len(v), 0.25), score=lambda v: v * 0.6)
    verdict = check(fleet.store, "pump", fleet.now)
    assert {v.feature for v in verdict.drifted} == {"load", "score", "latency_ns"}
    assert verdict.outputs_moved is True
    assert {broken.rule for broken in verdict.broken} == {"errors"}
    assert {f.rule for f in verdict.findings()} >= {"errors", "constant", "ks"}


def test_a_cohort_that_drifted_is_found_and_one_of_few_devices_is_not_told_apart(fleet: Fleet) -> None:
    for hour in range(24, 0, -6):
        for d in range(6):
            fleet.report(hour, 100, device=f"n{d}", cohort="north")
            fleet.report(
                hour, 100, device=f"w{d}", cohort="west", mode=lambda v: np.where(v == "eco", "sport", v).tolist()
            )
        fleet.report(hour, 400, device="alone", cohort="lab", speed=lambda v: v + 100)
    verdict = check(fleet.store, "pump", fleet.now)
    rows = {cohort.cohort: cohort for cohort in verdict.cohorts}
    assert rows["north"].outcome == "quiet"
    assert (rows["west"].outcome, rows["west"].drifted, rows["west"].devices) == ("drift", ("mode",), 6)
    assert (rows["lab"].outcome, rows["lab"].n, rows["lab"].devices) == ("too few", None, None)
    west = check(fleet.store, "pump", fleet.now, Question(cohort="west"))
    assert [v.feature for v in west.drifted] == ["mode"]
    assert west.cohort == "west"
    with pytest.raises(DataError, match="fewer than 5"):
        check(fleet.store, "pump", fleet.now, Question(cohort="lab"))


def test_a_daily_cycle_that_the_reference_lacks_drifts_against_it_and_not_by_phase(fleet: Fleet) -> None:
    def at(hour: int) -> float:
        return 15 * float(np.sin(2 * np.pi * (fleet.now // HOUR - hour) / 24))

    for hour in range(24 * 7, 0, -1):
        fleet.report(hour, 200, speed=_plus(at(hour)))
    span = Question(span_s=6 * HOUR)
    plain = check(fleet.store, "pump", fleet.now, span)
    assert [v.feature for v in plain.drifted] == ["speed"]
    assert plain.shape == "periodic"
    by_phase = check(fleet.store, "pump", fleet.now, Question(span_s=6 * HOUR, phase="hour-of-day"))
    assert by_phase.outcome == "quiet", by_phase.because
    assert "the same hours of 14 days before" in by_phase.against


def test_by_phase_a_shift_is_found_all_the_same(fleet: Fleet) -> None:
    for hour in range(24 * 7, 0, -1):
        at = 15 * float(np.sin(2 * np.pi * (fleet.now // HOUR - hour) / 24))
        fleet.report(hour, 200, speed=_plus(at + (8 if hour <= 6 else 0)))
    verdict = check(fleet.store, "pump", fleet.now, Question(span_s=6 * HOUR, phase="hour-of-day"))
    assert [v.feature for v in verdict.drifted] == ["speed"]


def test_little_is_inconclusive_and_a_volume_that_fell_is_told(fleet: Fleet) -> None:
    fleet.days(5, n=400)
    fleet.report(3, 50)
    verdict = check(fleet.store, "pump", fleet.now)
    assert {v.outcome for v in verdict.features} == {"too few"}
    assert [broken.rule for broken in verdict.broken] == ["volume"]
    assert verdict.exit_status == 3
    fresh = check(fleet.store, "pump", fleet.now, Question(history_s=24 * HOUR))
    assert (fresh.outcome, fresh.exit_status) == ("inconclusive", 4)
    assert "too few" in fresh.because


def test_windows_of_a_reference_that_nobody_registered(fleet: Fleet) -> None:
    fleet.report(2, 1000, reference="77" * 32)
    verdict = check(fleet.store, "pump", fleet.now)
    assert verdict.outcome == "inconclusive"
    assert "not registered" in verdict.because
    fleet.report(2, 1000)
    both = check(fleet.store, "pump", fleet.now)
    assert both.reference == fleet.reference.id
    assert [broken.rule for broken in both.broken] == ["reference"]


def test_an_unknown_model_names_those_that_are_known(fleet: Fleet) -> None:
    with pytest.raises(DataError, match="No device has reported yet"):
        check(fleet.store, "pump", fleet.now)
    fleet.report(1)
    with pytest.raises(DataError, match="Known models: pump"):
        check(fleet.store, "pmup", fleet.now)


def test_the_schedule_yields_one_answer_a_model_and_cohort(fleet: Fleet) -> None:
    for hour in range(24, 0, -6):
        for d in range(6):
            fleet.report(hour, 300, device=f"n{d}", cohort="north")
            fleet.report(hour, 12, device=f"w{d}", cohort="west", speed=lambda v: v + 30)
    checked = {answer.cohort: answer for answer in check_all(fleet.store, fleet.now)}
    assert set(checked) == {"", "north", "west"}
    assert checked[""].findings == ()
    assert [(f.feature, f.rule) for f in checked["west"].findings] == [("speed", "cohort")]
    assert checked["north"].conclusive


def test_the_command_reads_the_database(fleet: Fleet) -> None:
    fleet.days(3)
    for hour in range(24, 0, -4):
        fleet.report(hour, load=_plus(0.6))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(fleet.now))
    arguments = ["telemetry", "check", "--db", fleet.path, "--model", "pump", "--now", now]
    result = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert [f["feature"] for f in told["features"] if f["outcome"] == "drift"] == ["load"]
    assert told["devices"] == 1
    shown = CliRunner().invoke(cli, arguments, catch_exceptions=False).output
    assert "pump: drift in 1 of 5 features" in shown
    unknown = CliRunner().invoke(cli, [*arguments, "--reference", "77"])
    assert "and reference 77" in str(unknown.exception)


def test_a_span_is_the_exact_sum_of_its_parts(fleet: Fleet) -> None:
    for hour in range(24, 0, -1):
        fleet.report(hour, 40 + hour)
    totals = fleet.store.totals("pump", fleet.reference.id, fleet.now - 24 * HOUR, fleet.now)
    steps = fleet.store.series("pump", fleet.reference.id, fleet.now - 24 * HOUR, fleet.now)
    windows = [step.features["speed"] for step in steps]
    merged: FeatureCounts = windows[0]
    for part in windows[1:]:
        merged = merged.merge(part)
    assert merged.cells == totals.features["speed"].cells
    verdict = check(fleet.store, "pump", fleet.now)
    assert next(v.n for v in verdict.features if v.feature == "speed") == merged.n

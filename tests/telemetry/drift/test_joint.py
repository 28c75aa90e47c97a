"""Joints: whole numbers that add up, quiet where all is as it was, and drift where only the dependence is another."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.telemetry.collector.export.rows import count_rows
from edgekit.telemetry.collector.ingest import Ingest
from edgekit.telemetry.collector.reading import open_store
from edgekit.telemetry.collector.uploads import Upload
from edgekit.telemetry.drift.check import check
from edgekit.telemetry.drift.check_data import check_data
from edgekit.telemetry.page.views import model_view
from edgekit.telemetry.references.columns import Column, counts_of, features_of
from edgekit.telemetry.references.joint import joint_counts_of, joint_of
from edgekit.telemetry.references.tables import Table
from edgekit.telemetry.reporter import Reporter, envelope, wire
from edgekit.telemetry.reporter.distance import judge
from edgekit.telemetry.reporter.errors import InvalidReference
from edgekit.telemetry.reporter.joint import COSINES, SINES, Sums
from edgekit.telemetry.reporter.joint_counting import CHOSEN, EVERY, PERIOD
from edgekit.telemetry.reporter.reference import Feature, Reference, Tensor
from edgekit.telemetry.reporter.window import FeatureCounts, Window
from tests.telemetry.drift.windows import stream

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 10


def named(values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"f{i}": values[:, i] for i in range(values.shape[1])}


def reference_of(values: np.ndarray) -> tuple[Reference, Feature]:
    columns = named(values)
    features = features_of([Column(name, "number", column) for name, column in columns.items()])
    joint = joint_of(features, columns)
    assert joint is not None
    tensors = [Tensor(name, "input", "number") for name in columns]
    return Reference.of("joint", [*features, joint], tensors=tensors), joint


@pytest.fixture(scope="module")
def made() -> tuple[Reference, Feature]:
    """Ten independent normal features."""
    return reference_of(np.random.default_rng(1).normal(size=(20_000, WIDTH)))


def counts(made: tuple[Reference, Feature], values: np.ndarray) -> FeatureCounts:
    return joint_counts_of(made[1], made[0].features, named(values))


def correlated(rng: np.random.Generator, n: int, *pairs: tuple[int, int]) -> np.ndarray:
    """Normal values, each alone as before; those of the pairs have a correlation of .6."""
    values = rng.normal(size=(n, WIDTH))
    for a, b in pairs:
        values[:, b] = 0.6 * values[:, a] + 0.8 * values[:, b]
    return values


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(width=32), min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_sum_of_the_parts_is_the_whole_in_any_order(
    made: tuple[Reference, Feature], rows: list[list[float]], random: object
) -> None:
    values = np.array(rows)
    whole = counts(made, values)
    cut = len(rows) // 2
    assert counts(made, values[cut:]).merge(counts(made, values[:cut])) == whole
    assert counts(made, np.random.default_rng(0).permutation(values)) == whole
    joint, edges = made[1].joint, [feature.edges for feature in made[0].features[:WIDTH]]
    assert joint is not None
    assert Sums(joint, edges)(rows) == list(whole.cells)  # the standard library's, number for number
    assert whole.cells[0] == len(rows)
    assert all(0 <= each <= 254 * len(rows) for each in whole.cells)


def test_the_tables_are_a_cosine_and_a_sine() -> None:
    for step in range(256):
        turn = 2 * math.pi * step / 256
        assert abs(COSINES[step] - 127 - 127 * math.cos(turn)) <= 0.5 + 1e-9
        assert abs(SINES[step] - 127 - 127 * math.sin(turn)) <= 0.5 + 1e-9


def test_the_test_vector_is_what_the_format_says() -> None:
    """By the words of docs/formats/reference.md, in plain arithmetic."""
    document = json.loads((Path(__file__).parents[1] / "reporter" / "vectors" / "joint" / "sums.json").read_text())
    joint, total = document["joint"], [0] * 9
    for row, each in zip(document["rows"], document["each"], strict=True):
        scores = [
            0 if value is None else own[sum(edge <= value for edge in edges)]
            for value, edges, own in zip(row, document["edges"], joint["scores"], strict=True)
        ]
        turns = [
            sum(f * s for f, s in zip(of, scores, strict=True)) % 65536 // 256 / 128 * math.pi
            for of in joint["frequencies"]
        ]
        expected = [
            1,
            *(round(127 + 127 * math.cos(t)) for t in turns),
            *(round(127 + 127 * math.sin(t)) for t in turns),
        ]
        assert each == expected
        total = [a + b for a, b in zip(total, expected, strict=True)]
    assert document["sums"] == total


@pytest.mark.parametrize("n", [200, 1000, 10_000])
@pytest.mark.parametrize("wander", [0.0, 0.02])
def test_quiet_windows_do_not_alarm(made: tuple[Reference, Feature], n: int, wander: float) -> None:
    rng = np.random.default_rng(n)
    windows = 200 if n <= 1000 else 20
    alarms = 0
    for _ in range(windows):
        values = rng.normal(size=(n, WIDTH)) + rng.normal(0, 1, WIDTH) * wander
        alarms += judge(made[1], counts(made, values).cells).verdict != "quiet"
    assert alarms <= windows // 100


def test_quiet_windows_of_a_stream_do_not_alarm() -> None:
    rng = np.random.default_rng(2)

    def draw(n: int) -> np.ndarray:
        return np.array([stream(rng, n, 0.9) for _ in range(WIDTH)]).T

    made = reference_of(draw(30_000))
    assert sum(judge(made[1], counts(made, draw(1000)).cells).verdict != "quiet" for _ in range(100)) <= 1


def test_short_windows_of_a_slow_stream_do_not_alarm_though_their_distance_is_above_one() -> None:
    rng = np.random.default_rng(2)

    def draw(n: int) -> np.ndarray:
        return np.array([stream(rng, n, 0.99) for _ in range(WIDTH)]).T

    made = reference_of(draw(20_000))
    found = [judge(made[1], counts(made, draw(n)).cells) for n in (200, 300, 400) for _ in range(30)]
    assert max(each.distance for each in found) > 1
    assert sum(each.verdict != "quiet" for each in found) <= 1


@pytest.mark.parametrize(
    ("n", "pairs", "power"), [(500, ((0, 1), (2, 3), (4, 5)), 0.99), (1000, ((0, 1),), 0.9), (2000, ((3, 7),), 0.99)]
)
def test_a_correlation_of_six_tenths_is_found_where_none_was(
    made: tuple[Reference, Feature], n: int, pairs: tuple[tuple[int, int], ...], power: float
) -> None:
    rng = np.random.default_rng(3)
    found = [judge(made[1], counts(made, correlated(rng, n, *pairs)).cells).verdict for _ in range(100)]
    assert found.count("drift") >= 100 * power


def _table(values: np.ndarray) -> Table:
    columns = tuple(Column(name, "number", column) for name, column in named(values).items())
    return Table("window", len(values), columns)


def test_the_verdict_names_the_dependence_alone_where_no_feature_moved(made: tuple[Reference, Feature]) -> None:
    rng = np.random.default_rng(4)
    quiet = check_data(made[0], _table(rng.normal(size=(3000, WIDTH))))
    assert quiet.outcome == "quiet"
    verdict = check_data(made[0], _table(correlated(rng, 3000, (0, 1))))
    assert [v.feature for v in verdict.drifted] == ["joint"]
    assert "though none of them moved alone" in verdict.drifted[0].told
    assert [finding.rule for finding in verdict.findings()] == ["joint"]
    moved = check_data(made[0], _table(rng.normal(size=(3000, WIDTH)) + np.eye(WIDTH)[3]))
    assert {v.feature for v in moved.drifted} == {"f3", "joint"}
    assert "of themselves f3 did" in next(v.told for v in moved.drifted if v.feature == "joint")


def test_turned_data_drift_though_every_feature_is_as_it_was() -> None:
    """A square turned by 45 degrees, squeezed back so that its sides are distributed alike: only corners tell."""
    rng = np.random.default_rng(5)
    made = reference_of(rng.choice([-1.0, 1.0], (20_000, 2)) * rng.uniform(0.5, 1, (20_000, 2)))
    signs = rng.choice([-1.0, 1.0], 3000)
    window = np.stack([signs, signs], 1) * rng.uniform(0.5, 1, (3000, 2))
    verdict = check_data(made[0], _table(window))
    assert [v.feature for v in verdict.drifted] == ["joint"]


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("way", ["stdlib", "numpy", "native"])
def test_a_device_sums_the_same_vector_sends_it_and_says_the_same(
    made: tuple[Reference, Feature], way: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(6)
    values = correlated(rng, 8000, (0, 1), (2, 3), (4, 5))
    # The batch is tried as a row first, and so begins one further on.
    chosen = np.resize(np.frombuffer(CHOSEN, bool), 2 * PERIOD)
    taken = values[np.concatenate([chosen[:4000], chosen[4001:8001]])]
    with Reporter.open(made[0], state=tmp_path, way=way, background=False) as reporter:
        for row in values[:100].tolist():
            reporter.observe(row)
        for row in values[100:4000]:
            reporter.observe(row.tolist())
        reporter.observe(values[4000:].tolist())
        said = reporter.drift()
        assert said.drifted
        of_joint = said.features[-1]
        assert (of_joint.feature, of_joint.verdict, of_joint.n) == ("joint", "drift", len(taken))
        assert all(each.verdict == "quiet" for each in said.features[:-1])
        with reporter._lock:
            observed = reporter._window.recent(1)[1]
    assert observed is not None
    assert observed.features[-1] == counts(made, taken)
    window = observed.put(Window("dev", "00" * 16, 1, "joint", "", made[0].id, 0, 0, 0))
    assert wire.decode(wire.encode(window)) == window


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("way", ["stdlib", "numpy", "native"])
@pytest.mark.parametrize("shape", ["a row", "a batch of one", "a list of one", "one value is missing", "batches"])
def test_one_row_in_four_is_taken_however_rows_come(
    made: tuple[Reference, Feature], way: str, shape: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(9).normal(size=(4000, WIDTH))
    handed: dict[str, list[object]] = {
        "a row": [*values.tolist()],
        "a batch of one": [row[None] for row in values],
        "a list of one": [[row] for row in values.tolist()],
        "one value is missing": [[None, *row[1:]] for row in values.tolist()],
        "batches": [*values.reshape(500, 8, WIDTH)],
    }
    with Reporter.open(made[0], state=tmp_path, way=way, background=False) as reporter:
        for row in handed[shape]:
            reporter.observe(row)
        said = reporter.drift()
    assert said.inferences == 4000
    assert abs(said.features[-1].n - 4000 / EVERY) < 60, "about one in four, and never none"


@pytest.mark.parametrize("sources", [2, 3, 4, 8])
def test_sources_that_take_turns_are_all_watched(sources: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(10)

    def draw(n: int) -> np.ndarray:
        return np.asarray(rng.normal(size=(n, 3)) + (2.0 * np.arange(n) % (2 * sources))[:, None])

    made = reference_of(draw(20_000))
    with Reporter.open(made[0], state=tmp_path, background=False) as reporter:
        for row in draw(8000).tolist():
            reporter.observe(row)
        said = reporter.drift()
    assert (said.inferences, said.drifted) == (8000, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda joint: joint._replace(members=("f0", "other")),
        lambda joint: joint._replace(members=("f0",) * WIDTH),
        lambda joint: joint._replace(scores=joint.scores[:-1]),
        lambda joint: joint._replace(frequencies=()),
        lambda joint: joint._replace(frequencies=((1,),) * 128),
        lambda joint: joint._replace(frequencies=((1 << 15, *joint.frequencies[0][1:]), *joint.frequencies[1:])),
        lambda joint: joint._replace(scale=0.0),
        lambda joint: None,
    ],
)
def test_a_joint_that_contradicts_itself_is_refused(
    made: tuple[Reference, Feature], change: Callable[[object], object]
) -> None:
    reference, joint = made
    features = [*reference.features[:-1], joint._replace(joint=change(joint.joint))]  # type: ignore[arg-type] # on purpose
    with pytest.raises(InvalidReference, match="joint|members|frequencies|factor|scale"):
        Reference.of("joint", features, tensors=reference.tensors)


def test_a_joint_has_no_members_of_other_rows(made: tuple[Reference, Feature]) -> None:
    reference = made[0]
    features = [reference.features[0]._replace(tensor="image", summary="mean"), *reference.features[1:]]
    with pytest.raises(InvalidReference, match="numbers of its own row"):
        Reference.of("joint", features, tensors=[*reference.tensors, Tensor("image", "input", "image")])


def test_references_with_a_joint_have_a_schema_of_their_own_and_others_keep_theirs(
    made: tuple[Reference, Feature],
) -> None:
    reference = made[0]
    assert Reference.from_json(reference.to_json()) == reference
    assert b'"schema":2' in reference.to_json()
    without = Reference.of("joint", reference.features[:-1], tensors=reference.tensors)
    assert b'"schema":1' in without.to_json()
    assert b'joint":{' not in without.to_json()


def test_a_store_adds_the_vectors_up_and_its_check_and_page_know_the_joint(
    made: tuple[Reference, Feature], tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    reference = made[0]
    store = open_store(str(tmp_path / "t.db"))
    store.register(reference)
    ingest = Ingest(store.database, span_s=3600, max_body_bytes=1 << 20)
    ingest.refresh()
    now = int(time.time()) // 3600 * 3600
    values = correlated(rng, 6000, (0, 1))
    for seq in range(6):
        part = values[seq * 1000 : (seq + 1) * 1000]
        features = [counts_of(f, named(part)[f.name]) for f in reference.features[:-1]] + [counts(made, part)]
        at = (now - 3600 * (seq + 1)) * 10**9
        window = Window(
            "dev", "00" * 16, seq, "joint", "", reference.id, at, at + 1, 1, inferences=1000, features=tuple(features)
        )
        body = envelope.seal(wire.encode(window), device="dev", key_id="k", key=b"k" * 32, sent_ns=now * 10**9)
        (outcome,) = ingest.commit([Upload(envelope.parse(body), "", now * 10**9, ingest.generation)])
        assert outcome.accepted == 1
    assert store.totals("joint", reference.id, now - 86_400, now).features["joint"] == counts(made, values)
    exported = [row.n for row in count_rows(store, now - 86_400, now) if row.feature == "joint"]
    assert exported == [1000] * 6, "rows, and not the sum of its sums"
    verdict = check(store, "joint", now)
    assert [v.feature for v in verdict.drifted] == ["joint"]
    assert verdict.drifted[0].n == 6000
    view = model_view(store, "joint", reference.id, now, days=3, cohort=None)
    assert {line.verdict.feature for line in view.lines} >= {"joint", "f0"}

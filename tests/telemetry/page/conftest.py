"""A collector's database with a story in it: ten weeks of quiet, then two features drift, in one cohort of two."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.telemetry.collector.keys import MasterKeys
from edgekit.telemetry.reporter.reference import CATEGORY, INPUT, LATENCY, NUMBER, OUTPUT, Feature, Reference, Tensor
from edgekit.telemetry.reporter.window import FeatureCounts
from tests.telemetry.collector.conftest import Collector
from tests.telemetry.collector.fleet import HOUR_NS, Fleet, counts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CELLS = 128
DAYS = 90
NOISE = np.random.default_rng(5)


def a_model(name: str, numbers: int) -> Reference:
    """A reference of normal numbers and a category, with 10,000 values each."""
    edges = np.quantile(NOISE.normal(size=20_000), np.linspace(0, 1, CELLS)[1:]).tolist()[: CELLS - 1]
    edges = sorted(set(edges))
    shares = np.full(len(edges) + 1, 10_000 // (len(edges) + 1))
    features = [
        Feature(
            f"x{i}", NUMBER, INPUT, "row", f"column:{i}", tuple(edges), cells=tuple(shares.tolist()), mean=0.0,
            m2=float(shares.sum() - 1), min=-4.0, max=4.0, floors=((200, 0.06), (1000, 0.03), (10_000, 0.012)),
        )
        for i in range(numbers)
    ]  # fmt: skip
    features.append(
        Feature("class", CATEGORY, OUTPUT, "out", "value", categories=("cat", "dog", "<b>bird</b>"),
                cells=(5000, 3000, 2000, 0), floors=((200, 0.06), (1000, 0.03)))
    )  # fmt: skip
    tensors = [Tensor("row", INPUT, "row"), Tensor("out", OUTPUT, "row")]
    return Reference.of(name, features, tensors=tensors, data="made for a test")


def day(reference: Reference, drifts: tuple[str, ...], n: int = 1000) -> tuple[FeatureCounts, ...]:
    """Counts of one day: even over the cells, or leaning to the upper half where a feature drifts."""
    found = []
    for feature in reference.features:
        weights = np.asarray(feature.cells, dtype=float)
        if feature.name in drifts:
            weights = weights * np.linspace(0.4, 1.6, len(weights))
        cells = NOISE.multinomial(n, weights / weights.sum())
        moments = (-2.0, 2.0, 0.0, float(n)) if feature.kind == NUMBER else ()
        found.append(FeatureCounts(tuple(cells.tolist()), 0, 0, 0, 0, *moments))
    return tuple(found)


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """100 features over 90 days from ten devices; x3 and class drift since a week ago, in the cohort `pilot`."""
    folder = tmp_path_factory.mktemp("story")
    made = Collector(str(folder / "telemetry.db"), MasterKeys.load(folder / "master.key"))
    reference = a_model("scanner", 99)
    made.store.register(reference)
    fleet = Fleet(reference, seed=1)
    keys = [made.device(f"board-{i}", cohort="pilot" if i < 5 else "field") for i in range(10)]
    made.device("board-silent")

    latency = counts_of(fleet.random, LATENCY.size, 1000)._replace(missing=0, out_of_range=0)

    async def fill() -> None:
        for days_ago, key in itertools.product(range(DAYS - 1, -1, -1), keys):
            number = int(key.device[-1])
            if number and days_ago > 14:
                continue  # one device reported all the time
            drifts = ("x3", "class") if number < 5 and days_ago < 7 else ()
            window = fleet.window(
                key.device, hours_ago=24 * days_ago + 1, n=1000, cohort="pilot" if number < 5 else "field",
                features=day(reference, drifts), latency=latency,
            )  # fmt: skip
            status, answer = await made.client.ask("POST", "/v1/windows", fleet.upload(key, [window]))
            assert status == 200, answer

    asyncio.run(fill())
    with made.store.database.write() as cursor:
        cursor.run("UPDATE devices SET enrolled_s = enrolled_s - 90000 WHERE device = ?", ("board-silent",))
    yield made
    made.store.close()


@pytest.fixture(scope="session")
def now() -> int:
    return int(time.time() // (HOUR_NS // 10**9) * (HOUR_NS // 10**9)) + 60

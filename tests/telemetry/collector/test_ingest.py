"""What comes in is stored once and added up exactly, whatever the way there does to it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import UnknownReferenceError
from edgekit.telemetry.collector import retention
from edgekit.telemetry.reporter.window import FeatureCounts
from edgekit.telemetry.store import Phase
from tests.telemetry.collector.fleet import HOUR_NS, NS, Fleet, a_reference, same, summed

if TYPE_CHECKING:
    from tests.telemetry.collector.conftest import Collector

EVER = (0, 1 << 33)


def totals_are(collector: Collector, fleet: Fleet, windows: list, **question: object) -> None:
    """Asserts that the collector's totals are the sum of the windows."""
    reference = fleet.reference
    found = collector.store.totals(reference.model, reference.id, *EVER, **question)
    expected = summed(reference, windows)
    assert list(found.features) == list(expected)
    for name, counts in expected.items():
        assert same(found.features[name], counts), name
    assert found.windows == len(windows)
    assert found.inferences == sum(window.inferences for window in windows)
    assert found.errors == sum(window.errors for window in windows)


def test_delivered_three_times_shuffled_and_corrupted_the_totals_are_exact(collector: Collector, fleet: Fleet) -> None:
    collector.store.register(fleet.reference)
    keys = [collector.device(f"d{i}") for i in range(5)]
    windows = [fleet.window(key.device, hours_ago=i % 7, cohort="ab"[i % 2]) for key in keys for i in range(12)]
    by_device = {key.device: [window for window in windows if window.device == key.device] for key in keys}
    uploads = [fleet.upload(key, by_device[key.device][i : i + 3]) for key in keys for i in range(0, 12, 3)]
    shuffle = random.Random(3)
    deliveries = uploads * 3
    for upload in uploads:  # a tenth is damaged on the way, as a fourth copy
        damaged = bytearray(upload)
        damaged[shuffle.randrange(len(damaged))] ^= 1 << shuffle.randrange(8)
        deliveries.append(bytes(damaged))
    shuffle.shuffle(deliveries)

    async def deliver() -> list[int]:
        answers = await asyncio.gather(*(collector.client.ask("POST", "/v1/windows", each) for each in deliveries))
        await collector.app.close()
        return [status for status, _ in answers]

    statuses = asyncio.run(deliver())
    assert statuses.count(200) == 3 * len(uploads)
    assert set(statuses) <= {200, 400, 401}
    totals_are(collector, fleet, windows)
    totals_are(collector, fleet, windows[1::2], cohort="b")


async def send(collector: Collector, upload: bytes) -> tuple[int, dict]:
    return await collector.client.ask("POST", "/v1/windows", upload)


def test_windows_wait_for_their_reference_and_are_merged_when_it_comes(collector: Collector, fleet: Fleet) -> None:
    key = collector.device()
    windows = [fleet.window("d1", hours_ago=i) for i in range(6)]
    odd = Fleet(a_reference(cells=9), seed=1).window("d1", seq=999)._replace(reference=fleet.reference.id)

    async def go() -> None:
        assert await send(collector, fleet.upload(key, [*windows[:4], odd])) == (200, {"accepted": 5, "duplicates": 0})
        with pytest.raises(UnknownReferenceError):
            collector.store.totals("tiny", fleet.reference.id, *EVER)
        [model] = collector.store.models()
        assert (model.known, model.windows, model.pending) == (False, 5, 5)
        assert collector.store.register(fleet.reference) == 4, "the odd one fits no cell"
        assert collector.store.register(fleet.reference) == 0
        assert (await send(collector, fleet.upload(key, windows)))[1] == {"accepted": 2, "duplicates": 4}
        await collector.app.close()

    asyncio.run(go())
    totals_are(collector, fleet, windows)
    [model] = collector.store.models()
    assert (model.known, model.windows, model.pending) == (True, 7, 0)


def test_a_window_that_counts_other_cells_than_its_reference_is_malformed(collector: Collector, fleet: Fleet) -> None:
    collector.store.register(fleet.reference)
    key = collector.device()
    odd = Fleet(a_reference(cells=9), seed=1).window("d1", seq=999)._replace(reference=fleet.reference.id)
    huge = fleet.window("d1", n=3)
    huge = huge._replace(latency=huge.latency._replace(missing=1 << 50))

    async def go() -> None:
        for bad in (odd, huge, fleet.window("another")):
            status, answer = await send(collector, fleet.upload(key, [fleet.window("d1"), bad]))
            assert status == 400
            assert answer["error"]
        await collector.app.close()

    asyncio.run(go())
    totals_are(collector, fleet, [])


def test_a_replay_after_retention_counts_nothing(collector: Collector, fleet: Fleet) -> None:
    collector.store.register(fleet.reference)
    key = collector.device()
    windows = [fleet.window("d1", seq=seq) for seq in (1, 2, 3, 7, 8)]
    database = collector.store.database

    async def go() -> None:
        await send(collector, fleet.upload(key, windows))
        swept = retention.sweep(database, int(time.time()) + 2 * retention.DAY_S, raw_days=1)
        assert swept.windows == 5
        with database.read() as cursor:
            ranges = cursor.rows("SELECT first, last FROM delivered ORDER BY first")
            assert cursor.rows("SELECT COUNT(*) FROM windows") == [(0,)]
        assert ranges == [(1, 3), (7, 8)]
        assert (await send(collector, fleet.upload(key, windows)))[1] == {"accepted": 0, "duplicates": 5}
        late = fleet.window("d1", seq=4)
        assert (await send(collector, fleet.upload(key, [late])))[1] == {"accepted": 1, "duplicates": 0}
        windows.append(late)
        await collector.app.close()

    asyncio.run(go())
    totals_are(collector, fleet, windows)
    assert retention.sweep(database, int(time.time()) + 500 * retention.DAY_S).spans > 0
    totals_are(collector, fleet, [])


def test_clocks_that_are_off_are_put_right_and_marked(collector: Collector, fleet: Fleet) -> None:
    collector.store.register(fleet.reference)
    key = collector.device()
    ahead = 400 * 24 * HOUR_NS
    skewed = fleet.window("d1", hours_ago=3)._replace(boot="0c" * 16)
    skewed = skewed._replace(start_ns=skewed.start_ns + ahead, end_ns=skewed.end_ns + ahead)
    unset = fleet.window("d1")._replace(start_ns=5 * NS, end_ns=60 * NS)
    late = fleet.window("d1", hours_ago=100)

    async def go() -> None:
        await send(collector, fleet.upload(key, [skewed], sent_ns=fleet.now_ns + ahead))
        [device] = collector.store.devices()
        assert device.skewed
        assert abs(device.clock_off_s + ahead // NS) < 60
        await send(collector, fleet.upload(key, [unset, late]))
        await collector.app.close()

    asyncio.run(go())
    with collector.store.database.read() as cursor:
        rows = cursor.rows("SELECT span, marks FROM windows ORDER BY boot, seq")
    hour = fleet.now_ns // HOUR_NS * 3600
    now = int(time.time())
    assert rows[0][0] in (hour, hour + 3600)
    assert rows[0][1] == 2, "of 1970: it goes where it arrived"
    assert rows[1] == (hour - 100 * 3600, 4)
    assert rows[2][0] == hour - 3 * 3600
    assert rows[2][1] == 1
    assert max(span for span, _ in rows) <= now


def test_series_cohorts_and_phases_are_sums_of_the_same_spans(collector: Collector, fleet: Fleet) -> None:
    collector.store.register(fleet.reference)
    key = collector.device("d1", cohort="enrolled")
    other = collector.device("d2")
    windows = [fleet.window("d1", hours_ago=i, cohort="told") for i in range(1, 50)]
    more = [fleet.window("d2", hours_ago=i) for i in range(1, 20)]

    async def go() -> None:
        await send(collector, fleet.upload(key, windows))
        await send(collector, fleet.upload(other, more))
        await collector.app.close()

    asyncio.run(go())
    store, name = collector.store, (fleet.reference.model, fleet.reference.id)
    totals_are(collector, fleet, windows, cohort="enrolled")
    totals_are(collector, fleet, more, cohort="")
    assert store.models()[0].cohorts == ("", "enrolled")
    hourly = store.series(*name, *EVER)
    assert [each.windows for each in hourly] == [1] * 30 + [2] * 19
    daily = store.series(*name, *EVER, step_s=24 * 3600, features=["x0"])
    assert list(daily[0].features) == ["x0"]
    assert sum(each.windows for each in daily) == 68
    together = FeatureCounts.empty(12)
    for each in hourly:
        together = together.merge(each.features["x0"])
    assert same(together, store.totals(*name, *EVER).features["x0"])
    assert sum(store.totals(*name, *EVER, phase=Phase("hour-of-day", i)).windows for i in range(24)) == 68
    assert sum(store.totals(*name, *EVER, phase=Phase("day-of-week", i)).windows for i in range(7)) == 68
    assert store.totals(*name, *EVER).devices == 2
    assert store.totals(*name, *EVER, cohort="").devices == 1
    with pytest.raises(ValueError, match="multiple"):
        store.series(*name, *EVER, step_s=5000)


def test_two_collectors_on_one_database_give_the_totals_of_one(
    url: str, make_collector: Callable[[str], Collector], fleet: Fleet
) -> None:
    """In two threads with connections of their own; two processes are in test_processes.py."""
    first, second = make_collector(url), make_collector(url)
    first.store.register(fleet.reference)
    key = first.device()
    windows = [fleet.window("d1", hours_ago=i % 3) for i in range(60)]
    uploads = [fleet.upload(key, windows[i : i + 2]) for i in range(0, 60, 2)]

    async def go() -> None:
        both = [each.client.ask("POST", "/v1/windows", upload) for upload in uploads for each in (first, second)]
        answers = await asyncio.gather(*both)
        assert [status for status, _ in answers] == [200] * 60
        assert sum(answer["accepted"] for _, answer in answers) == 60
        await asyncio.gather(first.app.close(), second.app.close())

    asyncio.run(go())
    totals_are(second, fleet, windows)

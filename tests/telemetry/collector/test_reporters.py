"""Real reporters against a real collector: enrolled by a token, restarted, and every observation is counted once."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from edgekit.telemetry.collector.keys import Keys, MasterKeys
from edgekit.telemetry.collector.reading import open_store
from edgekit.telemetry.reporter import Reporter
from tests.telemetry.collector.process import CollectorProcess
from tests.telemetry.reporter.models import tabular

if TYPE_CHECKING:
    from pathlib import Path


def test_every_observation_of_a_small_fleet_is_counted_once(sqlite_url: str, tmp_path: Path) -> None:
    reference = tabular()
    store = open_store(sqlite_url)
    store.register(reference)
    token = Keys(store.database, MasterKeys.load(tmp_path / "key")).new_token(uses=4, valid_s=600, cohort="pilot")
    collector = CollectorProcess(sqlite_url, tmp_path / "key")
    address = f"http://127.0.0.1:{collector.port}"

    def work(device: int) -> None:
        draw = random.Random(device)
        settings = {"state": tmp_path / f"state-{device}", "collector": address, "token": token, "background": False}
        source = {"source": reference} if device < 3 else {"model": "bare"}
        for _ in range(2):  # the second run takes up what the first one left
            with Reporter.open(**source, **settings, device=f"board-{device}", window_count=50) as reporter:
                for _ in range(230):
                    reporter.observe([draw.gauss(0, 1) for _ in range(3)], latency_ns=draw.uniform(1e5, 1e7))
                reporter.flush(seal=True)

    threads = [threading.Thread(target=work, args=(device,)) for device in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    totals = store.totals("tabular", reference.id, 0, 1 << 33)
    assert (totals.inferences, totals.devices) == (3 * 460, 3)
    assert {name: counts.n for name, counts in totals.features.items()}["f1"] == 3 * 460
    rows = {row.device: row for row in store.devices()}
    assert rows.keys() == {f"board-{i}" for i in range(4)}
    assert {(row.cohort, row.active_keys, row.skewed) for row in rows.values()} == {("pilot", 1, False)}
    [bare] = [row for row in store.models() if row.model == "bare"]
    assert (bare.bootstrapped, bare.known, bare.pending) == (True, True, 0), "it sent the cells that it cut itself"
    assert collector.stop() == 0
    store.close()

"""A sustained run: second by second, against its first minute, and kept as far as it came."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.bench.extras import Extras, add_extras
from edgekit.bench.measure import bench, prepare
from edgekit.bench.run import read_run, write_run
from edgekit.bench.sustained import read_chunks, sustain
from edgekit.devices import connect
from edgekit.errors import ConnectionLostError, WrongAnswerError
from edgekit.runner.sustain import KEPT, Thinned
from tests.bench.doubling import brief, doubling, with_doubling

if TYPE_CHECKING:
    from pathlib import Path

    from cut_proxy import CutProxy
    from fake_sysfs import Sysfs

    from edgekit.artifact import Artifact
    from edgekit.devices import Target

NS = 1_000_000_000


@settings(deadline=None)  # a busy machine's
@given(st.integers(1, 3000))
def test_a_second_keeps_an_evenly_spread_sample(n: int) -> None:
    draw = random.Random(n)
    values = [draw.randrange(10**6) for _ in range(n)]
    thinned = Thinned()
    for value in values:
        thinned.add(value)
    step = next(2**k for k in range(20) if n <= KEPT * 2**k)
    assert thinned.kept == values[::step]
    assert len(thinned.kept) <= KEPT
    assert (thinned.n, thinned.largest, thinned.total) == (n, max(values), sum(values))


def chunk(at_s: float, ns: int, n: int = 100, **more: Any) -> dict[str, Any]:
    return {
        "event": "chunk", "at_ns": int(at_s * NS), "n": n, "max_ns": 2 * ns, "total_ns": n * ns, "kept_ns": [ns] * 50,
        "temperature_c": 40.0, "frequency_hz": None, "missing": {"frequency_hz": "no cpufreq in sysfs"}, **more,
    }  # fmt: skip


def test_the_end_is_held_against_the_first_minute() -> None:
    throttling = [chunk(k + 1, 100 if k < 90 else 150) for k in range(300)]
    found = read_chunks(throttling, 300, None)
    assert (found.window_s, found.first_ns, found.end_ns, found.ratio) == (60, 100, 150, 1.5)
    assert found.settled
    still = read_chunks([chunk(k + 1, 100 + k) for k in range(180)], 180, None)
    assert not still.settled
    assert still.ratio is not None
    assert still.ratio > 1.8


def test_seconds_weigh_by_their_inferences() -> None:
    found = read_chunks([chunk(1, 10, n=1000), chunk(2, 30, n=60), chunk(3, 30, n=60)], 3, None)
    assert found.window_s == 1
    whole = read_chunks([chunk(k + 1, 10 if k % 2 else 30, n=60 if k % 2 else 1000) for k in range(120)], 120, None)
    assert whole.first_ns == 30


def test_what_was_cut_short_has_no_ratio() -> None:
    found = read_chunks([chunk(k + 1, 100) for k in range(9)], 600, "the link went down")
    assert not found.complete
    assert not found.settled
    assert found.ratio is None
    assert found.first_ns == 100


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [chunk(1, 5, kept_ns=[])],
        [chunk(1, 5, n=3)],
        [chunk(2, 5), chunk(1, 5)],
        [chunk(1, 5, temperature_c="warm")],
        [chunk(1, 5, kept_ns=[-1])],
    ],
)  # fmt: skip
def test_nonsense_is_refused(bad: list[dict[str, Any]]) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_chunks(bad, 5, None)


def test_temperature_and_frequency_stand_beside_it(board: Any, sysfs: Sysfs, twice: Artifact, tmp_path: Path) -> None:
    def heat(block: int, event: dict[str, Any]) -> None:
        if event["event"] == "chunk":
            sysfs.temperature_c += 10
            sysfs.cores("scaling_cur_freq", 1_200_000)

    run = bench(board(), twice, threads=1, blocks=1, extras=Extras(sustained_s=3), on_event=heat)
    found = run.sustained
    assert found is not None
    assert found.complete
    assert found.seconds[-1] == pytest.approx(3, abs=0.5)
    assert found.temperature_c[0] == 41.5
    assert found.temperature_c[-1] > 50
    assert found.frequency_hz[0] == 1.8e9
    assert found.frequency_hz[-1] == 1.2e9
    assert sum(found.n) >= sum(found.kept_n) == found.kept.n
    assert max(found.kept_n) <= KEPT
    assert run.summary.n == run.blocks[0].samples.n  # nothing of it is among the samples
    assert read_run(write_run(run, tmp_path)) == run


def test_a_cut_link_leaves_what_was_recorded(
    proxied_target: Target, proxy: CutProxy, twice: Artifact, tmp_path: Path
) -> None:
    seen = 0

    def cut(_block: int, event: dict[str, Any]) -> None:
        nonlocal seen
        seen += event["event"] == "chunk"
        if seen == 2:
            proxy.cut()

    with connect(brief(proxied_target)) as device:
        run = bench(
            with_doubling(device, tmp_path), twice, threads=1, blocks=1, extras=Extras(sustained_s=60), on_event=cut
        )
    found = run.sustained
    assert found is not None
    assert not found.complete
    assert 2 <= len(found.seconds) < 30
    assert found.because is not None
    assert "far" in found.because
    assert found.first_ns is not None
    assert read_run(write_run(run, tmp_path)) == run


def test_a_link_that_is_cut_at_once_leaves_the_blocks(
    proxied_target: Target, proxy: CutProxy, twice: Artifact, tmp_path: Path
) -> None:
    def cut(block: int, event: dict[str, Any]) -> None:
        if block == 1 and event["event"] == "hello":
            proxy.cut()

    with connect(brief(proxied_target)) as device:
        run = bench(
            with_doubling(device, tmp_path), twice, threads=1, blocks=1, extras=Extras(sustained_s=60), on_event=cut
        )
        with pytest.raises(ConnectionLostError):
            prepare(device, twice, threads=1)
    assert len(run.blocks) == 1
    assert run.sustained is not None
    assert run.sustained.seconds == ()
    assert run.sustained.because


def test_a_hot_board_is_not_run_any_longer(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    device = board(max_temperature_c=70, wait_s=0.1)
    run = bench(device, twice, threads=1, blocks=1)
    sysfs.temperature_c = 90
    found = add_extras(device, prepare(device, twice, threads=1), run, Extras(sustained_s=3), lambda _: None).sustained
    assert found is not None
    assert not found.complete
    assert found.because is not None
    assert "90.0 °C" in found.because


def test_wrong_answers_are_not_run_any_longer(board: Any, tmp_path: Path) -> None:
    device = board()
    prepared = prepare(device, doubling(tmp_path / "wrong", factor=3.0), threads=1)
    with pytest.raises(WrongAnswerError):
        sustain(device, prepared, 3)

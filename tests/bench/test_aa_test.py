"""A/A tests: rates with honest intervals, power by shifting, files that are found again."""

from __future__ import annotations

import math
import random
from pathlib import Path

import msgspec
import pytest
from scipy import stats

from edgekit.bench.aa_test import AATest, latest_aa_test, rate, read_aa_test, summarise, write_aa_test
from edgekit.bench.compare import interleaved
from edgekit.bench.effect import paired
from edgekit.bench.gate import Gated, Plan
from edgekit.bench.stored import stored_runs
from edgekit.bench.verdict import inconclusive, judge
from edgekit.errors import ArtifactError
from tests.bench.runs import CONTEXT, make_run


def gated(seed: int, spread: float, *, ratio: float = 1.0) -> Gated:
    draw = random.Random(seed)
    a, b = (make_run(*(round(1e6 * k * math.exp(draw.gauss(0, spread))) for _ in range(10))) for k in (1.0, ratio))
    effect = paired([x.median_ns for x in a.blocks], [x.median_ns for x in b.blocks])
    return Gated(interleaved(a, b, judge([effect])[0]), Plan(seed=seed), 0, a, b)


def made(spread: float = 0.01, n: int = 40) -> AATest:
    return summarise([gated(seed, spread) for seed in range(n)])


def test_a_quiet_target_errs_seldom_and_sees_5_percent() -> None:
    found = made()
    assert found.false_alarms.k == 0
    assert found.power["0.05"].share > 0.9
    assert found.power["0.01"].share < 0.1
    shares = [found.power[key].share for key in ("0.01", "0.02", "0.03", "0.05", "0.1")]
    assert shares == sorted(shares)
    assert found.detectable == pytest.approx(0.048, abs=0.01)


def test_a_noisy_target_says_so() -> None:
    found = made(spread=0.1)
    assert found.inconclusive.share > 0.9
    assert found.power["0.05"].share < 0.25
    assert found.detectable is not None
    assert found.detectable > 0.2


def test_false_alarms_are_counted_both_ways() -> None:
    found = summarise([gated(1, 0.005, ratio=1.2), gated(2, 0.005, ratio=0.8), gated(3, 0.005)])
    assert (found.false_alarms.k, found.false_alarms.n) == (2, 3)


def test_a_gate_that_never_settled_sees_nothing() -> None:
    one = gated(1, 0.001)
    restless = msgspec.structs.replace(one.comparison, verdict=inconclusive("never settled", blocks=10))
    found = summarise([msgspec.structs.replace(one, comparison=restless)])
    assert found.power["0.1"].k == 0
    assert found.detectable is None


def test_rates_are_clopper_and_pearson_s() -> None:
    found = rate([False] * 20)
    assert (found.low, found.high) == (0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert rate([True] + [False] * 9).low == pytest.approx(stats.beta.ppf(0.025, 1, 10))
    with pytest.raises(ValueError, match="nothing"):
        rate([])


def test_the_file_is_found_again_and_is_no_run(tmp_path: Path) -> None:
    old, new = made(n=2), msgspec.structs.replace(made(n=3), started_at="2026-12-24T16:00:00Z")
    path = write_aa_test(new, tmp_path)
    write_aa_test(old, tmp_path)
    assert read_aa_test(path) == new
    assert latest_aa_test(tmp_path, CONTEXT, new.recipe, new.model) == new
    other = msgspec.structs.replace(CONTEXT, threads=4)
    assert latest_aa_test(tmp_path, other, new.recipe, new.model) is None
    with pytest.raises(ArtifactError, match="holds no run"):
        stored_runs(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": 1, "gates": 3}'])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "board" / "x.aa.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="A/A test"):
        latest_aa_test(tmp_path, CONTEXT, made(n=1).recipe, "digits_cnn")

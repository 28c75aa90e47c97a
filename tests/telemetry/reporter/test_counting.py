"""Three ways of counting, one result; and rows that are none leave nothing behind."""

from __future__ import annotations

import gc
import math
import os
import shutil
import subprocess
import sys
import tracemalloc
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.telemetry.reporter import build as building
from edgekit.telemetry.reporter.cells import edges_of
from edgekit.telemetry.reporter.counting import CategoryCounter, counter_of
from edgekit.telemetry.reporter.errors import ReporterError
from edgekit.telemetry.reporter.reference import Feature
from edgekit.telemetry.reporter.window import FeatureCounts

WAYS = ("stdlib", "numpy", "native")
pytestmark = pytest.mark.usefixtures("native")


def feature(edges: tuple[float, ...], low: float | None = None, high: float | None = None) -> Feature:
    return Feature("f", "number", "input", "x", "column:0", edges, valid_min=low, valid_max=high)


IGNORED = shutil.ignore_patterns("_native*.so", "__pycache__")
FEATURES = [feature((0.0, 5e-324, 1.0, 1e6)), feature((-1.0,), -2.0, 2.0), feature(())]
value = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, -0.0, 1.0, -2.0, 2.0, math.nan, math.inf, -math.inf, 1e308, -1e308])
)
rows = st.lists(st.lists(value, min_size=3, max_size=3), max_size=30)


def one_by_one(seen: list[float], made: Feature) -> FeatureCounts:
    cells = [0] * made.size
    numbers = [v for v in seen if v == v]
    for v in numbers:
        cells[bisect_right(made.edges, v)] += 1
    finite = [v for v in numbers if math.isfinite(v)]
    low, high = made.valid_min, made.valid_max
    outside = sum((low is not None and v < low) or (high is not None and v > high) for v in numbers)
    plus, minus = numbers.count(math.inf), numbers.count(-math.inf)
    least, most = min(finite, default=math.inf), max(finite, default=-math.inf)
    return FeatureCounts(tuple(cells), len(seen) - len(numbers), plus, minus, outside, least, most)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows, rows)
def test_every_way_counts_what_one_by_one_does(way: str, first: list[list[float]], second: list[list[float]]) -> None:
    counter = counter_of(FEATURES, way=way)
    for row in first:
        assert counter.add(row) == 1
    if second:
        assert counter.add(np.array(second)) == len(second)
    for j, counts in enumerate(counter.take()):
        seen = [row[j] for row in first + second]
        assert counts[:7] == one_by_one(seen, FEATURES[j])[:7]
        finite = [v for v in seen if math.isfinite(v)]
        assert math.isfinite(counts.mean)
        assert counts.m2 >= 0
        if finite and max(map(abs, finite)) < 1e100:
            scale = max(1.0, *map(abs, finite))
            assert counts.mean == pytest.approx(math.fsum(finite) / len(finite), rel=1e-9, abs=1e-12 * scale)
            m2 = math.fsum((v - counts.mean) ** 2 for v in finite)
            assert counts.m2 == pytest.approx(m2, rel=1e-6, abs=1e-9 * scale**2)
    assert all(counts == FeatureCounts.empty(f.size) for counts, f in zip(counter.take(), FEATURES, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_many_rows_of_every_shape(way: str) -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(5, 3, (3000, 2))
    features = [feature(edges_of(sorted(data[:, j].tolist())), 0.0, 9.0) for j in (0, 1)]
    whole = counter_of(features, way="stdlib")
    whole.add(data.tolist())
    expected = whole.take()
    shapes: list[Any] = [
        data[:1000].tolist(),
        *data[1000:1100].tolist(),
        *map(tuple, data[1100:1200].tolist()),
        *data[1200:1900],
        data[1900:2500],
        np.asfortranarray(data[2500:2600]),
        data[2600:2700].astype(object),
        *[list(row) for row in data[2700:2900]],
        [data[i] for i in range(2900, 3000)],
    ]
    counter = counter_of(features, way=way)
    assert sum(counter.add(part) for part in shapes) == 3000
    for counts, right in zip(counter.take(), expected, strict=True):
        assert counts[:7] == right[:7]
        assert (counts.mean, counts.m2) == pytest.approx((right.mean, right.m2), rel=1e-9)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint8", "int64", "bool"])
def test_arrays_of_any_type_are_widened(way: str, dtype: str) -> None:
    counter = counter_of(FEATURES[:2], way=way)
    data = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    assert counter.add(data) == 3
    assert counter.add(data[0]) == 1
    assert counter.add([0.0, 0.0]) == 1
    first, second = counter.take()
    assert first.cells == (0, 2, 0, 3, 0)
    assert second.cells == (0, 5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "row",
    [
        [],
        [1.0, 2.0],
        [1.0, 2.0, 3.0, 4.0],
        [1.0, "2", 3.0],
        [1.0, b"2", 3.0],
        ["1", "2", "3"],
        np.array(["1", "2", "3"]),
        [1.0, object(), 3.0],
        [[1.0, 2.0, 3.0], [1.0, 2.0]],
        [[1.0, 2.0, 3.0], None],
        np.zeros((2, 4)),
        np.zeros((1, 1, 3)),
        np.float64(3.0),
        None,
        7,
        "abc",
        {"a": 1.0},
        [1.0, 2.0, 1 << 5000],
    ],
)
def test_what_is_no_row_raises_and_counts_nothing(way: str, row: Any) -> None:
    counter = counter_of(FEATURES, way=way)
    counter.add([1.0, 1.0, 1.0])
    with pytest.raises((TypeError, ValueError, OverflowError)):
        counter.add(row)
    assert [counts.n + counts.missing for counts in counter.take()] == [1, 1, 1]


@pytest.mark.parametrize("way", WAYS)
def test_none_is_missing(way: str) -> None:
    counter = counter_of(FEATURES, way=way)
    counter.add([1.0, None, 3])
    counter.add([[None, 1.0, True]])
    assert [(counts.n, counts.missing) for counts in counter.take()] == [(1, 1), (1, 1), (2, 0)]


def test_types_that_alternate_do_not_pile_up() -> None:
    counter = counter_of(FEATURES, way="numpy")
    for i in range(3000):
        counter.add(np.ones(3, ("float32", "float64", "int64")[i % 3]))
        assert len(counter._others) <= 9
    assert counter.rows == 3000
    assert [counts.n for counts in counter.take()] == [3000] * 3


def test_categories() -> None:
    counter = CategoryCounter(Feature("c", "category", "input", "x", "value", categories=("a", 3)))
    for seen in ("a", 3, 3.0, np.int64(3), "3", "new", None, math.nan, ""):
        counter.add(seen)
    assert counter.take() == FeatureCounts((1, 3, 3), 2)
    with pytest.raises(TypeError):
        counter.add([1])


def test_the_native_counter_survives_rows_that_change_under_it() -> None:
    counter = counter_of(FEATURES, way="native")
    rows: list[Any] = []

    class Hostile:
        def __float__(self) -> float:
            rows.clear()
            gc.collect()
            return 1.0

    rows += [[1.0, Hostile(), 2.0], [1.0, 2.0, 3.0]]
    assert counter.add(rows) == 2
    rows += [1.0, Hostile(), 2.0]
    assert counter.add(rows) == 1
    assert rows == []
    assert [counts.n for counts in counter.take()] == [3, 3, 3]


def test_the_native_counter_keeps_no_memory() -> None:
    def use() -> None:
        counter = counter_of(FEATURES, way="native")
        for _ in range(50):
            counter.add([1.0, 2.0, 3.0])
            counter.add([[1.0, 2.0, 3.0]] * 20)
            with pytest.raises(ValueError, match="4 values"):
                counter.add([[1.0, 2.0, 3.0, 4.0]])
            counter.take()

    use()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(20):
        use()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


def test_without_a_compiler_the_reporter_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    with pytest.raises(ReporterError, match="works without it"):
        building.build(str(tmp_path))
    monkeypatch.setenv("CC", "false")
    with pytest.raises(ReporterError, match="not built"):
        building.build(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="the sanitizers are gcc's")
def test_the_native_counter_under_the_sanitizers(tmp_path: Path) -> None:
    package = tmp_path / "counting_alone"
    shutil.copytree(Path(building.__file__).parent, package, ignore=IGNORED)
    building.build(str(package), flags=(*building.FLAGS, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"))
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    program = (
        "import random\n"
        "from counting_alone.counting import counter_of\n"
        "from counting_alone.reference import Feature\n"
        "made = [\n"
        "    Feature('f', 'number', 'input', 'x', 'v', tuple(map(float, range(n)))) for n in (0, 1, 2, 127, 999)\n]\n"
        "counter = counter_of(made, way='native')\n"
        "draw = random.Random(1)\n"
        "import array\n"
        "for i in range(20000):\n"
        "    row = [draw.choice((draw.gauss(0, 500), float('nan'), float('inf'), -1e308, 1e308, None)) for _ in made]\n"
        "    counter.add(row if i % 3 else [row] * 3)\n"
        "    if None not in row:\n"
        "        counter.add(array.array(draw.choice('fd'), row))\n"
        "        counter.add(memoryview(array.array('d', row)))\n"
        "    class Hostile:\n"
        "        def __float__(self): del changing[:]; return 1.0\n"
        "    changing = [Hostile()] * 5; counter.add(changing)\n"
        "    changing = [[1.0, Hostile(), 2.0, 3.0, 4.0]]; counter.add(changing)\n"
        "    for bad in ([], [1.0], ['x'] * 5, [[1.0]], 5, None):\n"
        "        try: counter.add(bad)\n"
        "        except (TypeError, ValueError): pass\n"
        "print(sum(counts.n for counts in counter.take()))\n"
    )
    asan = {"LD_PRELOAD": library.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONPATH": str(tmp_path)}
    environment = dict(os.environ, **asan)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100_000

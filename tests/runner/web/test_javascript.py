"""The page's JavaScript is what the compiler makes of its TypeScript, and computes what the Python runner computes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.runner import web
from edgekit.runner.compare import at_least, compare
from tests.typescript import compiled

SOURCES = Path(web.__file__).parent

COMPARE = """
import { readFileSync } from "node:fs";
import { atLeast, compare } from "./compare.mjs";
const special = (value) => (typeof value === "string" ? Number(value) : value);
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(([reference, candidate, lastAxis]) => {
    const arrays = [reference, candidate].map((some) => some.map((row) => Float32Array.from(row, special)));
    const found = compare(...arrays, lastAxis);
    return [found, atLeast(found, 20)];
})));
"""
MEASURE = """
import { clockResolutionNs, Sampler } from "./measure.mjs";
const events = { heartbeat: async () => {} };
const busy = (ms) => { const end = performance.now() + ms; while (performance.now() < end) {} };
const [ms, resolution] = process.argv.slice(2).map(Number);
const sampler = new Sampler(async () => busy(ms), resolution, events);
const warm = await sampler.warmUp(3e9);
const taken = await sampler.take(20, 1e8, 3e9);
console.log(JSON.stringify({ warm, taken, invokes: sampler.invokes, resolution: clockResolutionNs() }));
"""


@pytest.mark.slow
def test_the_javascript_is_what_the_compiler_makes_of_the_typescript(tmp_path: Path, node_modules: Path) -> None:
    for path in SOURCES.glob("*.ts"):
        if not path.name.endswith(".d.ts"):
            shutil.copy(path, tmp_path)
    assert compiled(tmp_path, node_modules) == ""
    emitted = sorted((tmp_path / "out").glob("*.js"))
    assert [path.name for path in emitted] == sorted(path.name for path in SOURCES.glob("*.js"))
    for path in emitted:
        assert path.read_text() == (SOURCES / path.name).read_text(), path.name


def run_node(folder: Path, program: str, *arguments: str, stdin: str = "") -> Any:
    """Runs a module of Node's beside the page's own arithmetic."""
    for name in ("compare", "measure"):
        shutil.copy(SOURCES / f"{name}.js", folder / f"{name}.mjs")
    (folder / "main.mjs").write_text(program)
    done = subprocess.run(
        ["node", "main.mjs", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_answers_are_compared_as_the_python_runner_compares_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    some = rng.normal(0, 3, (4, 1, 6)).astype(np.float32)
    near = some + rng.normal(0, 0.01, some.shape).astype(np.float32)
    ties = np.zeros_like(some)
    broken = near.copy()
    broken[2, 0, 3] = np.nan
    endless = some.copy()
    endless[0, 0, 0] = np.inf
    pairs = [(some, some), (some, near), (some, -some), (ties, near), (ties, ties), (some, broken), (endless, near)]
    pairs += [(one.reshape(4, 6, 1), other.reshape(4, 6, 1)) for one, other in pairs[:2]]
    pairs += [(one.reshape(4, 2, 3), other.reshape(4, 2, 3)) for one, other in pairs[:2]]
    told = [[_rows(a), _rows(b), a.shape[-1]] for a, b in pairs]
    for (a, b), (found, enough) in zip(pairs, run_node(tmp_path, COMPARE, stdin=json.dumps(told)), strict=True):
        expected = compare(a, b)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == (value if value is None else pytest.approx(value, rel=1e-9)), (name, a, b)
        assert enough == at_least(expected, 20)


def _rows(array: np.ndarray) -> list[list[float | str]]:
    """JSON has no NaN and no infinity: they travel as JavaScript's names of them."""
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return [[names.get(str(x), float(x)) for x in row.ravel()] for row in array]


@pytest.mark.parametrize(
    ("ms", "resolution_ns"), [(0.02, 5_000), (0.5, 100_000), (3, 5_000)], ids=["5 µs", "100 µs", "slow enough"]
)
def test_a_coarse_clock_times_many_invokes(tmp_path: Path, ms: float, resolution_ns: int) -> None:
    """Of an invoke that is known to take `ms`; how many make 200 steps of the clock is known with it."""
    found = run_node(tmp_path, MEASURE, str(ms), str(resolution_ns))
    assert 1 <= found["invokes"] <= max(1, 1.2 * 200 * resolution_ns / (ms * 1e6))
    assert (found["invokes"] == 1) == (ms == 3)
    samples = found["taken"]["samples"]
    assert len(samples) >= 20
    assert min(samples) >= ms * 1e6 * 0.98  # a mean of one invoke, not of the batch
    assert found["taken"]["stop"] in ("precise", "time-limit")
    assert len(found["warm"]["samples"]) >= 10

"""digits_cnn measured in a real Chromium, as on any other device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from edgekit.bench import bench, read_run, write_run
from edgekit.bench.compare import compare_runs
from edgekit.bench.doctor import examine
from edgekit.bench.evaluation import SampleSet, kept
from edgekit.bench.evaluation.asking import Asked, ask, who_answers
from edgekit.bench.evaluation.kept import KeptAnswers
from edgekit.bench.extras import Extras
from edgekit.bench.verify import verify
from edgekit.cli import cli
from edgekit.devices import RunnerDevice, Target, connect_runner
from edgekit.errors import RunnerError
from edgekit.runner.runtimes import litert
from edgekit.runner.session import run_samples
from edgekit.runner.web import LITERT, LITERT_VERSION
from tests.devices.browser.conftest import BRIEF, nothing_is_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.bench import Run

pytestmark = pytest.mark.slow

SOFTWARE_GPU = (
    "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader",
    "--enable-features=Vulkan",
)  # fmt: skip


@pytest.fixture
def device(browser_target: Callable[..., Target]) -> Iterator[RunnerDevice]:
    """A browser that EdgeKit starts."""
    with connect_runner(browser_target()) as connected:
        yield connected


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """What was measured so far, for those who only compare."""
    return []


def test_a_run_is_an_ordinary_run(device: RunnerDevice, float32: Artifact, tmp_path: Path, runs: list[Run]) -> None:
    seen: list[str] = []
    run = bench(
        device, float32, threads=1, blocks=2, extras=Extras(3.0, profile=True),
        on_event=lambda _, event: seen.append(event["event"]),
    )  # fmt: skip
    context = run.context
    assert (context.transport, context.runner, context.execution) == ("browser", "browser", "page in a fresh browser")
    assert (context.runtime, context.package, context.version) == ("litert", LITERT, LITERT_VERSION)
    for block in run.blocks:
        assert block.golden[0].exact or (block.golden[0].snr_db or 0) > 60
        values = block.before.values
        assert values["browser"].startswith("Chromium ")
        assert values["cross_origin_isolated"] is True
        assert values["clock_resolution_ns"] == 5_000
        assert values["cpu_model"]
        assert block.before.missing["uptime_s"] == "a page cannot tell"
        assert (
            block.invokes_per_sample * block.median_ns > 200 * 5_000 / 3
        )  # a good part of a ms, however it got faster
        assert block.page_memory is not None
        assert (block.page_memory.bytes or 0) > (block.page_memory.before_load_bytes or 0) > 1_000_000
        assert (block.page_memory.wasm_bytes or 0) > 10_000_000
        assert block.peak_rss_bytes is None
        assert block.delegation is not None
        assert "does not tell which operators" in (block.delegation.because or "")
    assert run.summary.p50.value_ns is not None
    assert run.summary.p99.value_ns is None
    assert "a sample is the mean of" in (run.summary.p99.because or "")
    assert run.sustained is not None
    assert run.sustained.complete, run.sustained.because
    assert run.profile is not None
    assert "no profiler" in (run.profile.because or "")
    assert seen.count("hello") == 4
    assert read_run(write_run(run, tmp_path)) == run
    assert nothing_is_left()
    runs.append(run)


def test_runs_are_compared_and_reported(runs: list[Run], tmp_path: Path) -> None:
    run = runs[0]
    (same,) = compare_runs([(run, run)])
    assert same.verdict.outcome != "incomparable"
    facts = run.blocks[0].before
    other = msgspec.structs.replace(facts, values={**facts.values, "browser": "Chromium 1.2.3"})
    blocks = tuple(msgspec.structs.replace(block, before=other) for block in run.blocks)
    (newer,) = compare_runs([(run, msgspec.structs.replace(run, blocks=blocks))])
    assert newer.verdict.outcome == "incomparable"
    assert "browser" in newer.verdict.because
    path = write_run(run, tmp_path)
    made = CliRunner().invoke(cli, ["report", str(path), "--html", str(tmp_path / "report.html")])
    assert made.exit_code == 0, made.output
    assert "digits_cnn" in (tmp_path / "report.html").read_text()


def test_int8_gives_the_golden_answers(device: RunnerDevice, int8: Artifact) -> None:
    found = verify(device, int8, push=True)
    assert found.passed
    assert found.package == LITERT


def test_answers_are_those_of_the_host(
    device: RunnerDevice, int8: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """37 images through the page, in batches, as the payload stores them; the host dequantizes."""
    (spec,) = int8.manifest.inputs
    images = np.random.default_rng(5).random((37, *spec.shape), np.float32)
    asked = Asked(int8, SampleSet((images,), int8.manifest.outputs), 1, 10)
    monkeypatch.setattr(kept, "cache_folder", lambda: tmp_path / "cache")  # else an earlier run has answered
    known = KeptAnswers(who_answers(device, asked).key(asked), 37, int8.manifest.outputs)
    counts: list[int] = []
    ask(device, asked, known, counts.append)
    assert counts == [10, 10, 10, 7]
    here = litert.load(str(int8.path / int8.manifest.payload), 1, msgspec.to_builtins(int8.manifest.bindings))
    (expected,) = run_samples(here, [images])
    (found,) = known.outputs()
    assert np.array_equal(found, expected)


def test_the_doctor_tells_what_the_page_is_good_for(device: RunnerDevice) -> None:
    found = {finding.subject: finding for finding in examine(device)}
    assert found["browser"].what.startswith("Chromium ")
    assert found["clock"].what == "steps of 5 µs, the page is cross-origin isolated"
    assert found["runtime litert"].what == f"{LITERT} {LITERT_VERSION}"
    assert found["WebGPU"].level in ("absent", "ok")
    assert found["lock"].level == "ok"
    assert "runtime tvm" in found


def test_the_command_line_takes_a_browser(
    browser_target: Callable[..., Target], int8: Artifact, tmp_path: Path, node_modules: Path
) -> None:
    (tmp_path / "chrome.toml").write_text(
        f'transport = "browser"\nroot = {json.dumps(str(tmp_path / "root"))}\n[browser]\n'
        f"litert_js = {json.dumps(str(node_modules / '@litertjs' / 'core'))}\n"
    )
    options = ["--targets", str(tmp_path)]
    listed = CliRunner().invoke(cli, ["devices", "--json", *options])
    assert json.loads(listed.stdout)["targets"][0]["state"] == "reachable"
    refused = CliRunner().invoke(cli, ["deploy", str(int8.path), "--to", "chrome", *options])
    assert refused.exit_code == 1
    asked = CliRunner().invoke(cli, ["bench", str(int8.path), "--on", "chrome", "--delegate", "xnnpack", *options])
    assert asked.exit_code == 1, asked.output
    assert "a page executes with wasm (XNNPACK on the CPU) or webgpu, and not with xnnpack" in str(asked.exception)


def test_webgpu_is_what_was_asked_for_or_an_error(
    browser_target: Callable[..., Target], float32: Artifact, int8: Artifact
) -> None:
    """On Chromium's software adapter: the answers are real, the speed is none of a GPU's."""
    brief = msgspec.structs.replace(BRIEF, delegate="webgpu")
    with connect_runner(browser_target(brief, arguments=SOFTWARE_GPU)) as device:
        run = bench(device, float32, threads=1, blocks=1)
        assert run.context.delegate == "webgpu"
        assert run.delegation is not None
        assert run.delegation.asked == "webgpu"
        assert "WebGPU executes all operators" in (run.delegation.because or "")
        assert (run.worst_golden_snr_db or 999) > 100
        assert "swiftshader" in run.blocks[0].before.values["webgpu"]
        with pytest.raises(RunnerError, match="WebGPU takes float32, int32, uint8, and image is int8"):
            bench(device, int8, threads=1, blocks=1)
    without = browser_target(brief, arguments=("--disable-gpu", "--disable-features=WebGPU"))
    with connect_runner(without) as device, pytest.raises(RunnerError, match="the browser has no adapter"):
        bench(device, float32, threads=1, blocks=1)


def test_two_threads_give_the_golden_answers(browser_target: Callable[..., Target], float32: Artifact) -> None:
    with connect_runner(browser_target()) as device:
        run = bench(device, float32, threads=2, blocks=1)
    assert run.context.threads == 2
    assert run.blocks[0].page_memory is not None
    assert "threads of wasm" in (run.blocks[0].page_memory.because or "")
    assert run.blocks[0].golden[0].exact or (run.worst_golden_snr_db or 0) > 60

"""The runner as a program: its events in order, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.artifact import Artifact, open_artifact
from edgekit.bench.measure import golden_request
from edgekit.convert import convert, find_model
from edgekit.devices.runner_zip import runner_zip
from edgekit.recipe import parse_recipe

REPOSITORY = Path(__file__).parents[2]
OLD_PYTHON = Path("~/.pyenv/versions/3.8.18/bin/python").expanduser()

BOUNDS = {"threads": 1, "max_warmup_ns": 10**9, "min_samples": 50, "min_ns": 10**8, "max_ns": 10**9}


def run(request: object, *, python: str = sys.executable, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    archive, _ = runner_zip()
    text = request if isinstance(request, str) else json.dumps(request)
    done = subprocess.run(
        [python, str(archive), text], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("artifacts")
    ref = find_model(str(REPOSITORY / "models" / "digits_cnn"))
    (outcome,) = convert(ref, [parse_recipe("tflite:int8")], out=out)
    assert outcome.artifact is not None, outcome.error
    return outcome.artifact


def request(artifact: Artifact, do: str, **fields: object) -> dict[str, Any]:
    return {**golden_request(artifact, str(artifact.path)), **BOUNDS, "do": do, **fields}


@pytest.mark.slow
def test_a_benchmark_tells_its_events_in_order(digits: Artifact) -> None:
    code, events = run(request(digits, "bench"))
    names = [event["event"] for event in events if event["event"] != "progress"]
    assert code == 0
    assert names == ["hello", "facts", "runtime", "first", "golden", "warmup", "samples", "memory", "facts", "done"]
    by_name = {event["event"]: event for event in events}
    assert by_name["golden"]["passed"]
    assert len(by_name["samples"]["samples_ns"]) >= 50
    assert all(isinstance(sample, int) and sample > 0 for sample in by_name["samples"]["samples_ns"])
    assert by_name["memory"]["peak_rss_bytes"] > by_name["memory"]["before_load_bytes"] > 0


@pytest.mark.slow
def test_an_int8_model_answers_in_real_numbers(digits: Artifact) -> None:
    """Quantized inputs and outputs are converted by scale and zero point."""
    from edgekit.runner.runtimes import litert
    from edgekit.runner.session import run_samples

    manifest = open_artifact(digits.path).manifest
    bindings = {"inputs": list(manifest.bindings.inputs), "outputs": list(manifest.bindings.outputs)}
    session = litert.load(str(digits.path / manifest.payload), 1, bindings)
    images = np.load(digits.path / manifest.golden.inputs[0])
    (logits,) = run_samples(session, [images])
    source = np.load(digits.path / manifest.golden.source_outputs[0])
    assert images.dtype == logits.dtype == np.float32
    assert (logits.argmax(-1) == source.argmax(-1)).all()
    assert np.abs(logits - source).max() < 0.2 * np.abs(source).max()


@pytest.mark.slow
@pytest.mark.parametrize("do", ["bench", "check"])
def test_wrong_answers_are_not_timed(digits: Artifact, tmp_path: Path, do: str) -> None:
    wrong = tmp_path / "wrong.npy"
    np.save(wrong, -np.load(digits.path / digits.manifest.golden.outputs[0]))
    asked = request(digits, do)
    asked["golden"]["outputs"] = [str(wrong)]
    code, events = run(asked)
    names = [event["event"] for event in events]
    assert code == 3
    assert not next(event for event in events if event["event"] == "golden")["passed"]
    assert "samples" not in names
    assert names[-1] == "done"


@pytest.mark.slow
def test_a_payload_that_is_none_is_one_error_line(digits: Artifact, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"TFL3" * 1000)
    code, events = run(request(digits, "bench", payload=str(tmp_path / "model.tflite")))
    assert code == 1
    assert [event["event"] for event in events if event["event"] != "progress"][-1] == "error"


def test_a_request_that_is_none() -> None:
    for text in ("{", "{}", '{"schema": 99, "do": "info"}'):
        code, events = run(text)
        assert code == 1
        assert events[-1]["event"] == "error"


def test_a_missing_runtime_is_told_apart(tmp_path: Path) -> None:
    """A Python without site packages has none; both the tour and the work say so in their own way."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    wrapper.chmod(0o755)
    code, events = run({"schema": 1, "do": "info", "runtimes": ["litert"]}, python=str(wrapper))
    assert code == 0
    assert next(e for e in events if e["event"] == "no-runtime")["reason"].startswith("none of ai_edge_litert")
    code, events = run({"schema": 1, "do": "check", "runtime": "litert"}, python=str(wrapper))
    assert (code, events[-1]["kind"]) == (1, "runtime-missing")


def test_what_libraries_print_does_not_break_the_protocol() -> None:
    """Written to descriptor 1, below Python, as C++ libraries do."""
    code = (
        "import os, sys\nfrom edgekit.runner.protocol import Events\nevents = Events.on_stdout()\n"
        "os.write(1, b'INFO: Created XNNPACK delegate')\nprint('hello')\nevents.emit('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == '{"event":"done"}\n'
    assert "XNNPACK" in done.stderr


def test_it_runs_on_python_3_8() -> None:
    if not OLD_PYTHON.exists():
        pytest.skip("no Python 3.8 on this machine")
    code, events = run({"schema": 1, "do": "info", "runtimes": ["litert"]}, python=str(OLD_PYTHON))
    facts = next(event for event in events if event["event"] == "facts")
    assert code == 0
    assert facts["values"]["python"].startswith("3.8.")
    assert all(facts["missing"].get(name) for name, value in facts["values"].items() if value is None)

"""The runner as a program: one request in, event lines out, an exit status that means something."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner.conftest import Pushed

IN_ORDER = ["hello", "facts", "runtime", "first", "delegation", "golden", "warmup", "samples", "energy", "memory",
            "facts", "done"]  # fmt: skip


def test_bench_tells_everything_in_order(pushed: Pushed, request_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime(invoke="time.sleep(0.001)")
    answer = pushed(request_for("bench"))
    assert answer.status == 0, answer.stderr
    assert answer.order == IN_ORDER
    samples = answer.named("samples")
    assert len(samples["samples_ns"]) >= 30
    assert min(samples["samples_ns"]) >= 1_000_000
    assert all(isinstance(s, int) for s in samples["samples_ns"])
    assert samples["stop"] in ("precise", "time-limit")
    assert answer.named("golden")["outputs"][0]["exact"] is True
    first = answer.named("first")
    assert first["first_ns"] >= 1_000_000 > first["input_ns"]
    memory = answer.named("memory")
    assert memory["peak_rss_bytes"] >= memory["before_load_bytes"] > 1_000_000
    before, after = (e for e in answer.events if e["event"] == "facts")
    assert (before["when"], after["when"]) == ("before", "after")
    assert before["values"]["cores"] >= 1
    for facts in (before, after):
        assert {name for name, value in facts["values"].items() if value is None} == set(facts["missing"])


@pytest.mark.parametrize(("factor", "status"), [(2.0, 0), (2.1, 3)])
def test_golden_inputs_of_other_sizes_are_checked_in_the_same_session(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]], tmp_path: Path, factor: float, status: int
) -> None:
    """A right answer at the nominal size does not make up for a wrong one at another."""
    pushed.runtime()
    request = request_for("bench")
    inputs = np.random.default_rng(0).standard_normal((2, 1, 7)).astype("float32")
    np.save(tmp_path / "artifact" / "in-7.npy", inputs)
    np.save(tmp_path / "artifact" / "out-7.npy", inputs * np.float32(factor))
    request["golden"]["sizes"] = [{"sizes": {"length": 7}, "inputs": ["in-7.npy"], "outputs": ["out-7.npy"]}]
    answer = pushed(request)
    assert answer.status == status, answer.stderr
    golden = answer.named("golden")
    assert golden["passed"] is (status == 0)
    assert golden["outputs"][0]["exact"] is True
    (size,) = golden["sizes"]
    assert size["sizes"] == {"length": 7}
    assert size["outputs"][0]["samples"] == 2
    assert size["outputs"][0]["exact"] is (status == 0)


def test_without_other_sizes_the_golden_event_is_as_ever(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]]
) -> None:
    pushed.runtime()
    assert set(pushed(request_for("check")).named("golden")) == {"event", "outputs", "min_snr_db", "passed"}


def test_a_wrong_answer_is_never_measured(pushed: Pushed, request_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime()
    answer = pushed(request_for("bench", factor=2.1))
    assert answer.status == 3
    assert answer.order == ["hello", "facts", "runtime", "first", "delegation", "golden", "done"]
    assert answer.named("golden")["passed"] is False
    assert answer.named("golden")["outputs"][0]["snr_db"] == pytest.approx(26.4, abs=0.1)
    assert answer.named("done")["status"] == 3


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_an_answer_that_is_no_number_fails(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]], value: str
) -> None:
    pushed.runtime(invoke=f"self.x = self.x * float({value!r})")
    answer = pushed(request_for("check"))
    assert answer.status == 3
    assert answer.named("golden")["outputs"][0]["finite"] is False


@pytest.mark.parametrize(("factor", "status"), [(2.0, 0), (2.001, 0), (2.01, 3)])
def test_check_alone(pushed: Pushed, request_for: Callable[..., dict[str, Any]], factor: float, status: int) -> None:
    pushed.runtime()
    answer = pushed(request_for("check", factor=factor))
    assert answer.status == status
    assert answer.order == ["hello", "runtime", "golden", "done"]


def test_a_library_that_prints_does_not_break_the_protocol(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]]
) -> None:
    """Native libraries write to descriptor 1 itself, below Python's sys.stdout."""
    pushed.runtime(probe="os.write(1, b'INFO: hello')", invoke="print('noise'); os.write(1, b'{}')")
    answer = pushed(request_for("check"))
    assert answer.status == 0
    assert answer.order == ["hello", "runtime", "golden", "done"]
    assert "noise" in answer.stderr
    assert "INFO: hello" in answer.stderr


def test_a_slow_invoke_gives_signs_of_life(pushed: Pushed, request_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime(invoke="time.sleep(0.3)")
    answer = pushed(request_for("check"))
    assert 1 <= sum(e["event"] == "progress" for e in answer.events) <= 3


@pytest.mark.parametrize(
    ("probe", "more", "kind", "says"),
    [
        ("raise ImportError('no litert here')", {}, "runtime-missing", "no litert here (Python "),
        ("pass", {"runtime": "nope"}, "unknown-runtime", "nope"),
        ("pass", {"payload": b"garbage"}, "failed", "ValueError: this is no payload"),
        ("pass", {"schema": 4}, "protocol", "schema 3"),
        ("pass", {"do": "dance"}, "failed", "dance"),
        ("pass", {"golden": {"inputs": ["no.npy"], "outputs": [], "min_snr_db": 1}}, "failed", "no.npy"),
    ],
)
def test_what_goes_wrong_is_one_error_event(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]], probe: str, more: dict[str, Any], kind: str, says: str
) -> None:
    pushed.runtime(probe=probe)
    do = more.pop("do", "check")
    answer = pushed(request_for(do, **more))
    assert answer.status == 1
    assert answer.order[-1] == "error"
    assert answer.named("error")["kind"] == kind
    assert says in answer.named("error")["message"]
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_a_request_that_is_none(pushed: Pushed, text: str) -> None:
    answer = pushed(text)
    assert answer.status == 1
    assert answer.order == ["error"]


def test_golden_files_are_never_unpickled(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    import numpy as np

    pushed.runtime()
    request = request_for("check")
    np.save(tmp_path / "artifact" / "in.npy", np.array([object()], dtype=object), allow_pickle=True)
    answer = pushed(request)
    assert answer.status == 1
    assert "allow_pickle=False" in answer.named("error")["message"]


def test_a_host_that_is_gone_ends_the_run(pushed: Pushed, request_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime(invoke="time.sleep(0.2)")
    request = request_for("bench", max_ns=600_000_000_000, max_warmup_ns=600_000_000_000)
    process = subprocess.Popen(
        pushed.command(request), cwd=pushed.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "hello"
    process.stdout.close()
    assert process.wait(timeout=10) == 1
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_info_on_the_oldest_python_without_any_package(pushed: Pushed) -> None:
    found = sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python"))
    if not found:
        pytest.skip("no Python 3.8 under ~/.pyenv/versions")
    answer = pushed({"schema": 1, "do": "info", "runtimes": ["litert", "nope"]}, python=str(found[0]))
    assert answer.status == 0, answer.stderr
    assert answer.order == ["hello", "facts", "no-runtime", "no-runtime", "done"]
    assert answer.named("facts")["values"]["python"].startswith("3.8.")
    assert [e["name"] for e in answer.events if e["event"] == "no-runtime"] == ["litert", "nope"]

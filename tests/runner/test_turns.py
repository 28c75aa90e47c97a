"""Two processes that take turns: whose turn it is, what they say, and what becomes of one when the other is gone."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runner.test_requests import IN_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runner.conftest import Answer, Pushed

BUSY = "end = time.perf_counter() + 0.001\n        while time.perf_counter() < end: pass"
"""A millisecond of work."""


@pytest.fixture
def turns_for(request_for: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A `turns` request of two equal sides; `second` changes the second one."""

    def write(second: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "schema": 3, "turn_ns": 5_000_000, "cores": 1, "min_ns": 50_000_000, "max_warmup_ns": 10**9, **more,
        }  # fmt: skip
        one = request_for("bench", **fields)
        return {"schema": 3, "do": "turns", "requests": [json.dumps(one), json.dumps({**one, **(second or {})})]}

    return write


def _of(answer: Answer, side: int | None, event: str | None = None) -> list[dict[str, Any]]:
    return [e for e in answer.events if e.get("side") == side and event in (None, e["event"])]


def test_both_take_as_many_turns_and_say_what_a_block_says(
    pushed: Pushed, turns_for: Callable[..., dict[str, Any]]
) -> None:
    pushed.runtime(invoke=BUSY)
    answer = pushed(turns_for())
    assert answer.status == 0, answer.stderr
    assert [e["event"] for e in _of(answer, None)] == ["hello", "done"]
    assert answer.events[-1] == {"event": "done", "status": 0}
    counts = []
    for side in (0, 1):
        assert [e["event"] for e in _of(answer, side) if e["event"] != "progress"] == IN_ORDER
        (samples,) = _of(answer, side, "samples")
        assert sum(samples["turns"]) == len(samples["samples_ns"])
        assert samples["stop"] == "turns"
        assert min(samples["turns"]) >= 1
        counts.append(len(samples["turns"]))
        (energy,) = _of(answer, side, "energy")
        assert energy["joules"] is None
        assert "took turns" in energy["because"]
        (before,) = [e for e in _of(answer, side, "facts") if e["when"] == "before"]
        assert len(before["values"]["affinity"]) == 1
    assert counts[0] == counts[1] >= 50 // 5
    pids = {e["pid"] for e in answer.events if e["event"] == "hello"}
    assert len(pids) == 3


def test_only_one_works_at_a_time(pushed: Pushed, turns_for: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    log = tmp_path / "log"
    note = f"log = open({str(log)!r}, 'a'); log.write('%d %d\\n' % (time.monotonic_ns(), os.getpid())); log.close()"
    pushed.runtime(invoke=f"{note}\n        {BUSY}\n        {note}")
    answer = pushed(turns_for())
    assert answer.status == 0
    times = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    pairs = list(zip(times[::2], times[1::2], strict=True))
    assert all(begun[1] == ended[1] for begun, ended in pairs)  # nobody else's line between the two of an invoke
    order = [pid for (_, pid), _ in pairs]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    (samples,) = _of(answer, 0, "samples")
    assert changes == 2 * len(samples["turns"]) + 1


def test_the_first_invoke_of_a_turn_is_not_counted(pushed: Pushed, turns_for: Callable[..., dict[str, Any]]) -> None:
    slow_after_a_pause = (
        "now = time.perf_counter()\n"
        "        pause = now - getattr(self, 'last', now) > 0.003\n"
        "        end = now + (0.02 if pause else 0.0005)\n"
        "        while time.perf_counter() < end: pass\n"
        "        self.last = time.perf_counter()"
    )
    pushed.runtime(invoke=slow_after_a_pause)
    answer = pushed(turns_for(max_warmup_ns=50_000_000))
    for side in (0, 1):
        (samples,) = _of(answer, side, "samples")
        late = sum(ns > 15_000_000 for ns in samples["samples_ns"])
        assert late <= len(samples["turns"]) // 3  # a machine under load may make a pause of its own


def test_the_slower_one_of_two_is_slower_turn_by_turn(pushed: Pushed, turns_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime(invoke=BUSY)
    pushed.runtime("slower", invoke=BUSY.replace("0.001", "0.002"))
    answer = pushed(turns_for({"runtime": "slower"}))
    (a,), (b,) = (_of(answer, side, "samples") for side in (0, 1))
    assert len(a["turns"]) == len(b["turns"])
    assert sorted(a["samples_ns"])[len(a["samples_ns"]) // 2] < 1_500_000
    assert min(b["samples_ns"]) >= 2_000_000


def test_a_wrong_answer_of_one_ends_both(pushed: Pushed, turns_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime()
    pushed.runtime("wrong", invoke="self.x = self.x + 1")
    answer = pushed(turns_for({"runtime": "wrong"}))
    assert answer.status == 3
    assert _of(answer, 1, "golden")[0]["passed"] is False
    assert not _of(answer, 0, "samples")
    assert answer.events[-1] == {"event": "done", "status": 3}


def test_an_error_of_one_is_told_once_and_ends_both(pushed: Pushed, turns_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime()
    answer = pushed(turns_for({"payload": "absent"}))
    assert answer.status == 1
    errors = [e for e in answer.events if e["event"] == "error"]
    assert [e["side"] for e in errors] == [1]
    assert "absent" in errors[0]["message"]
    assert answer.events[-1] == errors[0]


def test_one_that_is_killed_ends_both_with_its_signal(pushed: Pushed, turns_for: Callable[..., dict[str, Any]]) -> None:
    pushed.runtime()
    pushed.runtime("killed", invoke="os.kill(os.getpid(), 9)")
    answer = pushed(turns_for({"runtime": "killed"}))
    assert answer.status == 128 + signal.SIGKILL
    assert not [e for e in answer.events if e["event"] == "error"]
    assert not _of(answer, None, "done")


@pytest.mark.parametrize("stopped", [0, 1])
def test_one_that_hangs_leaves_silence_and_nobody_outlives_the_parent(
    pushed: Pushed, turns_for: Callable[..., dict[str, Any]], stopped: int
) -> None:
    pushed.runtime(invoke=BUSY)
    request = turns_for(min_ns=10**11, max_ns=10**11)
    process = subprocess.Popen(
        pushed.command(request), cwd=pushed.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pids: list[int] = []
    try:
        assert process.stdout is not None
        lines = (json.loads(line) for line in process.stdout)
        pids = _until_both_warm(lines)
        os.kill(pids[stopped], signal.SIGSTOP)
        time.sleep(0.2)
        os.set_blocking(process.stdout.fileno(), False)
        process.stdout.read()
        time.sleep(1.2)
        assert not process.stdout.read()
        process.kill()
        process.wait()
        os.kill(pids[stopped], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    finally:
        process.kill()
        process.communicate()
        for pid in pids:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)


def _until_both_warm(lines: Iterator[dict[str, Any]]) -> list[int]:
    pids: dict[int, int] = {}
    warm = 0
    for event in lines:
        if event["event"] == "hello" and "side" in event:
            pids[event["side"]] = event["pid"]
        warm += event["event"] == "warmup"
        if warm == 2:
            return [pids[0], pids[1]]
    raise AssertionError("they ended before both were warm")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"requests": ["{}"]}, "two texts"), ({"requests": [{}, {}]}, "two texts"), ({"requests": ["{}", "{}"]}, "")],
)
def test_what_is_no_pair_is_refused(
    pushed: Pushed, turns_for: Callable[..., dict[str, Any]], change: dict[str, Any], said: str
) -> None:
    answer = pushed({**turns_for(), **change})
    assert answer.status == 1
    assert answer.events[-1]["event"] == "error"
    assert said in answer.events[-1]["message"]


def test_a_turn_without_anybody_to_take_turns_with_is_refused(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]]
) -> None:
    pushed.runtime()
    answer = pushed(request_for("bench", turn_ns=1))
    assert answer.named("error")["kind"] == "protocol"

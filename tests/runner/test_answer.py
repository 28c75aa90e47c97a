"""Samples through the runner: each answered once, in order, as the payload stores it, in batches that are bounded."""

from __future__ import annotations

import base64
import resource
import subprocess
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner.conftest import Answer, Pushed

COUNT = 10


@pytest.fixture
def ask(pushed: Pushed, request_for: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Answer]:
    """Asks a doubling runtime for samples: `ask(first=2, count=5, batch=3)`."""

    def run(samples: np.ndarray | None = None, *, invoke: str = "pass", **more: Any) -> Answer:
        pushed.runtime(invoke=invoke)
        folder = tmp_path / "samples"
        folder.mkdir(exist_ok=True)
        np.save(folder / "input-0.npy", inputs() if samples is None else samples)
        asked = {"folder": str(folder), "inputs": ["input-0.npy"], "first": 0, "count": COUNT, "batch": 4, **more}
        request = request_for("answer", schema=2, samples=asked)
        del request["golden"]
        return pushed(request)

    return run


def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, 1, 3)).astype("float32")


def answers(answer: Answer) -> np.ndarray:
    """All answers in order, which must be without gaps."""
    parts = []
    for event in answer.events:
        if event["event"] != "answers":
            continue
        (output,) = event["outputs"]
        raw = base64.b64decode(output["data"])
        raw = zlib.decompress(raw) if output["packed"] else raw
        parts.append((event["first"], np.frombuffer(raw, output["dtype"]).reshape(event["count"], *output["shape"])))
    ends = [first + len(part) for first, part in parts]
    assert [first for first, _ in parts[1:]] == ends[:-1]
    return np.concatenate([part for _, part in parts])


@pytest.mark.parametrize(("first", "count", "batch", "events"), [(0, 10, 4, 3), (3, 7, 100, 1), (9, 1, 1, 1)])
def test_a_range_in_batches(ask: Callable[..., Answer], first: int, count: int, batch: int, events: int) -> None:
    answer = ask(first=first, count=count, batch=batch)
    assert answer.status == 0, answer.stderr
    assert answer.order == ["hello", "runtime", *["answers"] * events, "done"]
    assert next(e["first"] for e in answer.events if e["event"] == "answers") == first
    np.testing.assert_array_equal(answers(answer), 2 * inputs()[first : first + count])


def test_what_shrinks_is_sent_packed_and_what_does_not_is_not_tried_again(ask: Callable[..., Answer]) -> None:
    flat = np.zeros((COUNT, 1, 3000), "float32")
    packed = [e["outputs"][0] for e in ask(flat).events if e["event"] == "answers"]
    assert all(output["packed"] for output in packed)
    assert len(packed[0]["data"]) < 1000
    noise = np.random.default_rng(0).standard_normal((COUNT, 1, 3000)).astype("float32")
    answer = ask(noise)
    assert not any(e["outputs"][0]["packed"] for e in answer.events if e["event"] == "answers")
    np.testing.assert_array_equal(answers(answer), 2 * noise)


def test_a_slow_device_sends_smaller_batches(ask: Callable[..., Answer]) -> None:
    """So that a cut costs seconds of its work; and while it works it gives signs of life."""
    answer = ask(count=4, batch=100, invoke="time.sleep(0.9)")
    counts = [e["count"] for e in answer.events if e["event"] == "answers"]
    assert sum(counts) == 4
    assert max(counts) < 4
    assert sum(e["event"] == "progress" for e in answer.events) >= 2


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"first": 5, "count": 6}, "no samples 5 to 11"),
        ({"first": -1, "count": 2}, "no samples -1 to 1"),
        ({"count": 0}, "no samples"),
        ({"inputs": ["none.npy"]}, "none.npy"),
    ],
)
def test_samples_that_are_not_there(ask: Callable[..., Answer], more: dict[str, Any], says: str) -> None:
    answer = ask(**more)
    assert answer.status == 1
    assert answer.named("error")["kind"] == "failed"
    assert says in answer.named("error")["message"]


def test_memory_is_bounded_by_the_batch_and_not_by_the_samples(
    pushed: Pushed, request_for: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """800 MB of samples in a process that may have 400 MB of its own, libraries and all; mapped files do not count."""
    pushed.runtime(invoke="self.x = self.x[:, :1]")
    count, size = 800, 250_000
    np.lib.format.open_memmap(tmp_path / "input-0.npy", "w+", np.float32, (count, 1, size)).flush()
    samples = {"folder": str(tmp_path), "inputs": ["input-0.npy"], "first": 0, "count": count, "batch": 50}
    request = request_for("answer", schema=2, samples=samples)
    bound = 400 << 20
    done = subprocess.run(
        pushed.command(request), cwd=pushed.folder, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (bound, bound)),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert done.stdout.count('"answers"') == count // 50

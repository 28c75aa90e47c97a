"""Seeded mutations of everything that the native runner reads, under AddressSanitizer and UndefinedBehaviorSanitizer.

The readers of JSON and .npy get their mutations in one process, tens of thousands of them; the whole program gets
damaged models, requests and arrays, a process each. Whatever they are, it ends in `done` or in exactly one `error`
line, with a documented status, and never with the sanitizers' own status, 77.

`harness.c` is a target of libFuzzer as well, where there is a clang (docs/native-runner.md).
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from tests.runner.native.conftest import Answer, Program

pytestmark = pytest.mark.slow

READER_MUTATIONS = 60_000
PROGRAM_MUTATIONS = 120
"""Of each kind."""


@pytest.fixture
def seeds(
    tmp_path: Path, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> list[Path]:
    """Files that the readers accept."""
    request = request_for(converted("digits_cnn", "tflite:float32"), "bench")
    (tmp_path / "request.json").write_text(json.dumps(request))
    pair = {"schema": 3, "do": "turns", "requests": [json.dumps(request | {"turn_ns": 1, "cores": 1})] * 2}
    (tmp_path / "pair.json").write_text(json.dumps(pair))
    (tmp_path / "odd.json").write_text(r'{"a":[null,true,-1.5e-7,"\ud83d\ude00\n\u00e4"],"ä":{"b":[[[]]]}}', "utf-8")
    np.save(tmp_path / "floats.npy", np.arange(24, dtype="float32").reshape(2, 3, 4))
    np.save(tmp_path / "halves.npy", np.arange(5, dtype="float16"))
    np.save(tmp_path / "flags.npy", np.array([True, False]))
    return sorted(tmp_path.glob("*.*"))


def test_the_readers(harness: Path, seeds: list[Path]) -> None:
    command = [harness, "fuzz", "7", str(READER_MUTATIONS), *seeds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    count, json_accepted, npy_accepted = map(int, done.stdout.split())
    assert count == READER_MUTATIONS
    assert json_accepted > 100  # mutations that break everything test nothing but the first byte
    assert npy_accepted > 100


def is_sound(answer: Answer) -> bool:
    """One end, of a documented kind; a `done` of one of two is none."""
    names = [event["event"] for event in answer.events if event["event"] == "error" or "side" not in event]
    ends = [name for name in names if name in ("done", "error")]
    status = {"error": 1}.get(ends[0] if ends else "", answer.status)
    return len(ends) == 1 and answer.events[-1]["event"] == ends[0] and answer.status == status in (0, 1, 3)


def damage(content: bytes, seed: int, near: int) -> bytes:
    """One to twelve bytes replaced, most of them among the first `near`, or an end cut off."""
    random_ = random.Random(seed)
    if seed % 5 == 0:
        return content[: random_.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range(random_.randint(1, 12)):
        end = near if random_.random() < 0.7 else len(content)
        damaged[random_.randrange(min(end, len(content)))] = random_.choice(
            [0, 1, 0x7F, 0x80, 0xFF, random_.randrange(256)]
        )
    return bytes(damaged)


@pytest.fixture
def fuzz(
    sanitized: Program,
    converted: Callable[[str, str], Artifact],
    request_for: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> Callable[[str], list[Answer]]:
    """Runs the program with damages to an artifact's payload, an input or an output, or to the request."""
    artifact = converted("digits_cnn", "tflite:int8")
    request = request_for(artifact, "check")
    limits = {"turn_ns": 1_000_000, "cores": 1, "max_warmup_ns": 0, "min_samples": 1, "min_ns": 1, "max_ns": 10_000_000}
    side = json.dumps(limits | request_for(artifact, "bench", **limits))

    def run(what: str) -> list[Answer]:
        def one(seed: int) -> Answer:
            if what == "request":
                return sanitized(damage(json.dumps(request).encode(), seed, 2000).replace(b"\0", b""))
            if what == "one of two requests":
                sides = [side, damage(side.encode(), seed, 300).replace(b"\0", b"").decode("latin-1")]
                return sanitized({"schema": 3, "do": "turns", "requests": sides[:: 1 if seed % 2 else -1]})
            folder = tmp_path / f"{what}-{seed}"
            shutil.copytree(artifact.path, folder, copy_function=shutil.copyfile)
            name = request["payload"] if what == "payload" else request["golden"][what][0]
            near = {"payload": 6000}.get(what, 128)
            (folder / name).write_bytes(damage((folder / name).read_bytes(), seed, near))
            answer = sanitized(request | {"artifact": str(folder)})
            shutil.rmtree(folder)
            return answer

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(one, range(PROGRAM_MUTATIONS)))

    return run


@pytest.mark.parametrize("what", ["payload", "request", "one of two requests", "inputs", "outputs"])
def test_the_whole_program(what: str, fuzz: Callable[[str], list[Answer]]) -> None:
    answers = fuzz(what)
    unsound = [answer for answer in answers if not is_sound(answer)]
    assert not unsound, unsound[0]
    messages = [answer.events[-1].get("message", "") for answer in answers if answer.events[-1]["event"] == "error"]
    assert len(messages) > len(answers) / 10
    if what == "payload":  # LiteRT's own loader crashes on some of them
        assert any("it crashed (signal" in message and "while loading the model" in message for message in messages)

"""The native runner on processors without a test device of their own: emulated, it starts and tells facts.

What it does on aarch64, with LiteRT and golden answers, is a test of the emulated board (tests/devices/test_board.py).
"""

from __future__ import annotations

import json
import os

import pytest

from edgekit.devices.native_runner import TRIPLES, native_runner
from tests.devices.debian_root import debian_root
from tests.runner.native.conftest import Program

pytestmark = pytest.mark.slow

BENCH = {
    "schema": 3, "do": "bench", "artifact": "/nowhere", "payload": "model", "runtime": "litert", "threads": 1,
    "bindings": {"inputs": [], "outputs": []}, "golden": {"inputs": [], "outputs": [], "min_snr_db": 40.0},
    "turn_ns": 1, "max_warmup_ns": 0, "min_samples": 1, "min_ns": 0, "max_ns": 0,
}  # fmt: skip
EMULATED = {"armv7l": ("armhf", "qemu-arm-static"), "riscv64": ("riscv64", "qemu-riscv64-static")}


@pytest.mark.parametrize("machine", EMULATED)
def test_it_runs_there_and_tells_what_it_lacks(machine: str) -> None:
    architecture, emulator = EMULATED[machine]
    root = debian_root(["libc6"], architecture=architecture)
    program, _ = native_runner(TRIPLES[machine, "glibc"])
    program.chmod(0o755)
    run = Program((emulator, str(program)), {**os.environ, "QEMU_LD_PREFIX": str(root)})
    answer = run({"schema": 1, "do": "info", "runtimes": ["litert"]})
    assert answer.status == 0, answer
    assert answer.order == ["hello", "facts", "no-runtime", "done"]
    facts = answer.named("facts")["values"]
    assert facts["machine"] == machine
    assert facts["libc"].startswith("glibc-2.")
    assert facts["memory_total_bytes"] > 0
    answer = run({"schema": 3, "do": "turns", "requests": [json.dumps(BENCH), json.dumps(BENCH)]})  # it starts itself
    assert answer.status == 1, answer
    assert [event["event"] for event in answer.events if event.get("side") == 0] == ["hello", "facts", "error"]
    assert answer.events[-1]["kind"] == "runtime-missing"

"""The native runner on processors without a test device of their own: emulated, it starts and tells facts.

What it does on aarch64, with LiteRT and golden answers, is a test of the emulated board (tests/devices/test_board.py).
"""

from __future__ import annotations

import pytest

from edgekit.devices.native_runner import TRIPLES, native_runner
from tests.devices.debian_root import debian_root
from tests.runner.native.conftest import Program

pytestmark = pytest.mark.slow

EMULATED = {"armv7l": ("armhf", "qemu-arm-static"), "riscv64": ("riscv64", "qemu-riscv64-static")}


@pytest.mark.parametrize("machine", EMULATED)
def test_it_runs_there_and_tells_what_it_lacks(machine: str) -> None:
    architecture, emulator = EMULATED[machine]
    root = debian_root(["libc6"], architecture=architecture)
    program, _ = native_runner(TRIPLES[machine, "glibc"])
    program.chmod(0o755)
    run = Program((emulator, "-L", str(root), str(program)))
    answer = run({"schema": 1, "do": "info", "runtimes": ["litert"]})
    assert answer.status == 0, answer
    assert answer.order == ["hello", "facts", "no-runtime", "done"]
    facts = answer.named("facts")["values"]
    assert facts["machine"] == machine
    assert facts["libc"].startswith("glibc-2.")
    assert facts["memory_total_bytes"] > 0

"""The native runner on other processors, under user-mode emulation: it starts, tells facts, and answers on aarch64.

The emulated processor is a Cortex-A53: with qemu 7.2's `max`, LiteRT's int8 kernels for newer processors answer wrongly
(the golden check says so). LiteRT reads /proc/cpuinfo, which emulation leaves the host's: a file of such a board is
bound over it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.devices.native_runner import TRIPLES, native_runner
from edgekit.files import cache_folder
from tests.devices.debian_root import debian_root
from tests.runner.native.conftest import Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.slow

CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4
"""
EMULATE = 'mount --bind "$1" /proc/cpuinfo && shift && exec "$@"'
EMULATED = {
    "aarch64": ("arm64", ["qemu-aarch64-static", "-cpu", "cortex-a53"]),
    "armv7l": ("armhf", ["qemu-arm-static"]),
    "riscv64": ("riscv64", ["qemu-riscv64-static"]),
}


def emulated(machine: str, tmp_path: Path) -> Program:
    """The program for a processor, with the libraries of a Debian for it."""
    architecture, emulator = EMULATED[machine]
    root = debian_root(["libc6", "libstdc++6"], architecture=architecture)
    program, _ = native_runner(TRIPLES[machine, "glibc"])
    program.chmod(0o755)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO)
    return Program(
        ("unshare", "-m", "sh", "-c", EMULATE, "sh", str(cpuinfo), *emulator, "-L", str(root), str(program))
    )  # fmt: skip


def litert_for_aarch64() -> Path:
    """libLiteRt.so out of the wheel of the tested version, kept in the cache."""
    folder = cache_folder() / "test-devices" / "litert-aarch64"
    library = folder / "ai_edge_litert" / "libLiteRt.so"
    if not library.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version",
             "3.11", "--platform", "manylinux_2_27_aarch64", "--target", folder, "ai-edge-litert==2.3.0"],
            check=True, timeout=300,
        )  # fmt: skip
    return library


@pytest.mark.parametrize("machine", EMULATED)
def test_it_runs_there_and_tells_what_it_lacks(machine: str, tmp_path: Path) -> None:
    answer = emulated(machine, tmp_path)({"schema": 1, "do": "info", "runtimes": ["litert"]})
    assert answer.status == 0, answer
    assert answer.order == ["hello", "facts", "no-runtime", "done"]
    facts = answer.named("facts")["values"]
    assert facts["machine"] == machine
    assert facts["libc"].startswith("glibc-2.")
    assert facts["memory_total_bytes"] > 0


@pytest.mark.parametrize("recipe", ["tflite:float32", "tflite:int8"])
def test_litert_answers_on_aarch64_as_on_the_host(
    recipe: str, tmp_path: Path, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> None:
    libraries = {"litert": [str(litert_for_aarch64())]}
    request = request_for(converted("digits_cnn", recipe), "check", libraries=libraries)
    answer = emulated("aarch64", tmp_path)(request)
    assert answer.status == 0, answer
    assert answer.named("runtime")["version"] == "2.3.0"
    (output,) = answer.named("golden")["outputs"]
    assert output["exact"] or output["snr_db"] > 100  # integers to the bit; sums of floats in another order
    assert output["exact"] or recipe != "tflite:int8"

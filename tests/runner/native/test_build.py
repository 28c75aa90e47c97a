"""The native runner's program: for which devices it is built, from what, and how it is kept."""

from __future__ import annotations

import re
import struct
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.devices import connect, native_runner, runners
from edgekit.devices.environment.platforms import Platform
from edgekit.devices.native_runner import TRIPLES, native_triple, sources
from edgekit.errors import MissingPackageError, RunnerError
from edgekit.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.devices import Target

MACHINES = {"x86_64": (62, 64), "aarch64": (183, 64), "armv7l": (40, 32), "riscv64": (243, 64)}
"""ELF's e_machine, and the width."""


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "libc"), TRIPLES)
def test_it_is_built_for_every_processor_against_an_old_c_library(machine: str, libc: str) -> None:
    path, sha256 = native_runner.native_runner(TRIPLES[machine, libc])
    content = path.read_bytes()
    assert sha256 == sha256_of(path)
    number, bits = MACHINES[machine]
    assert content[:4] == b"\x7fELF"
    assert content[4] == {32: 1, 64: 2}[bits]
    assert struct.unpack_from("<H", content, 18)[0] == number
    assert struct.unpack_from("<H", content, 16)[0] == 3  # position-independent
    assert len(content) < 150_000
    needed = {tuple(map(int, version.split(b"."))) for version in re.findall(rb"GLIBC_(\d+\.\d+)", content)}
    assert max(needed) <= ((2, 27) if machine == "riscv64" else (2, 17))


@pytest.mark.slow
def test_it_is_kept_under_a_hash_of_what_it_is_made_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    triple = TRIPLES["x86_64", "glibc"]
    path, sha256 = native_runner.native_runner(triple)
    began = time.monotonic()
    assert native_runner.native_runner(triple) == (path, sha256)
    assert time.monotonic() - began < 0.5
    monkeypatch.setattr(native_runner, "FLAGS", (*native_runner.FLAGS, "-DOTHER"))
    assert native_runner._recipe(triple) != path.parent.name


@pytest.mark.slow
def test_a_warning_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { int unused; return 0; }\n")
    monkeypatch.setattr(native_runner, "sources", lambda: [tmp_path / "main.c"])
    with pytest.raises(RunnerError, match="does not compile for x86_64.*unused variable"):
        native_runner.native_runner(TRIPLES["x86_64", "glibc"])


def test_without_the_compiler_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    native_runner._compiler_version.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'edgekit\[native\]'"):
        native_runner.native_runner(TRIPLES["x86_64", "glibc"])


@pytest.mark.parametrize(
    ("platform", "triple"),
    [
        (Platform("Linux", "aarch64", "glibc", "2.36"), "aarch64-linux-gnu.2.17"),
        (Platform("Linux", "armv7l", "glibc", "2.28"), "arm-linux-gnueabihf.2.17"),
        (Platform("Linux", "s390x", "glibc", "2.36"), None),
        (Platform("Linux", "aarch64", "musl", "1.2"), "aarch64-linux-gnu.2.17"),
        (Platform("Linux", "x86_64", "bionic", "34"), "x86_64-linux-gnu.2.17"),
        (Platform("Linux", "armv7l", "musl", "1.2"), None),
        (Platform("Darwin", "aarch64"), None),
    ],
)
def test_a_device_s_triple(platform: Platform, triple: str | None) -> None:
    if triple is not None:
        assert native_triple(platform) == triple
        return
    with pytest.raises(RunnerError, match=rf"no native runner for .*{platform.machine}"):
        native_triple(platform)


def test_a_device_with_python_gets_the_python_runner_without_the_native_one_s_sources(local_target: Target) -> None:
    with connect(local_target) as device:
        assert runners.runner_for(device).kind == "python"
        assert b"native/runtime_litert.c" not in runners.runner_for(device).path.read_bytes()
    assert len(sources()) > 20


@pytest.mark.slow
def test_a_device_without_python_gets_it(target: Target, tmp_path: Path) -> None:
    """Over every transport; its libraries are those of the environment on the device."""
    with connect(msgspec.structs.replace(target, python="/no/such/python")) as device:
        site = device.path("env", "current", "site")
        for name in ("ai_edge_litert/libLiteRt.so", "onnxruntime/capi/libonnxruntime.so.1.2.3", "tvm/lib/other.so"):
            make = ["sh", "-c", 'mkdir -p -- "${1%/*}" && : > "$1"', "sh", f"{site}/{name}"]
            assert device.run(make, step="making a library").code == 0
        runner = runners.runner_for(device)
        assert runner.kind == "native"
        assert runner.fields["libraries"] == {
            "litert": [f"{site}/ai_edge_litert/libLiteRt.so"],
            "onnxruntime": [f"{site}/onnxruntime/capi/libonnxruntime.so.1.2.3"],
        }
        assert runners.runner_for(device) is runner


def test_the_target_decides(target: Target) -> None:
    with connect(msgspec.structs.replace(target, runner="python", python="/no/such/python")) as device:
        assert runners.runner_for(device).kind == "python"

"""What can go wrong around the native runner: each ends in one `error` line, or with nobody left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from edgekit.devices import connect
from edgekit.devices.runner_client import run_request
from edgekit.devices.runners import Runner
from edgekit.errors import RunnerError
from edgekit.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from edgekit.devices import Target
    from tests.runner.native.conftest import Answer, Program

pytestmark = pytest.mark.slow


@pytest.fixture
def request_(
    converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
    """A request over digits_cnn in float32, in a copy that may be damaged."""

    def make(do: str = "check", **more: Any) -> dict[str, Any]:
        return request_for(converted("digits_cnn", "tflite:float32"), do, copy=True, **more)

    return make


def assert_one_error(answer: Answer, kind: str, *phrases: str) -> None:
    assert answer.status == 1, answer
    assert [event["event"] for event in answer.events].count("error") == 1
    assert answer.order[-1] == "error"
    assert answer.events[-1]["kind"] == kind
    for phrase in phrases:
        assert phrase in answer.events[-1]["message"]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("", "ends early"),
        ("[]", "no table"),
        ("{}", "lacks the field 'schema'"),
        ('{"schema":4,"do":"info"}', "speaks schema 3"),
        ('{"schema":1,"do":"dance"}', "cannot do 'dance'"),
        ('{"schema":1,"do":"info","runtimes":[],"shapes":{}}', "does not know the field 'shapes'"),
        ('{"schema":1,"do":"info","runtimes":[1]}', "no string"),
        ('{"schema":1,"do":"info","runtimes":[],"libraries":[]}', "'libraries' is not a table"),
        ('{"schema":1,"schema":1,"do":"info"}', "twice"),
        ('{"schema":1,"do":"info","runtimes":[]} x', "something follows"),
        ('{"schema":1,"do":"info","runtimes":["\\u0000"]}', "escape"),
        ('{"schema":1,"do":"info","runtimes":["\\ud800"]}', "escape"),
        ('{"schema":1e999}', "out of range"),
        ('{"schema":01}', "comma"),
        ('{"schema":NaN}', "no value"),
        ("[" * 100, "nested too deeply"),
        ("[" + "0," * 5000 + "0]", "too many values"),
        (b'{"schema":"\xff"}', "UTF-8"),
        (b'{"schema":"\xed\xa0\x80"}', "UTF-8"),
    ],
)
def test_a_request_that_is_none(text: str | bytes, phrase: str, sanitized: Program) -> None:
    assert_one_error(sanitized(text), "protocol", phrase)


def test_usage(native: Program) -> None:
    done = subprocess.run(native.command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage" in done.stderr


def test_values_out_of_range_are_refused(native: Program, request_: Callable[..., dict[str, Any]]) -> None:
    request = request_("bench")
    for field, value in (("threads", 0), ("threads", 10**6), ("min_samples", 0), ("max_ns", -1), ("min_ns", 10**30)):
        assert_one_error(native(request | {field: value}), "protocol")
    assert_one_error(native(request | {"threads": "2"}), "protocol", "'threads' is not an integer")


def test_no_library_a_wrong_one_and_one_of_another_processor(
    native: Program, request_: Callable[..., dict[str, Any]], libraries: dict[str, list[str]], tmp_path: Path
) -> None:
    request = request_()
    nowhere = native(request | {"libraries": {"litert": ["/no/such/libLiteRt.so"]}})
    assert_one_error(nowhere, "runtime-missing", "libLiteRt.so was found neither in 1 given places nor by the loader")
    wrong = tmp_path / "libLiteRt.so"
    wrong.write_bytes(Path(next(p for p in libraries["tvm"] if p.endswith("libtvm_ffi.so"))).read_bytes())
    assert_one_error(native(request | {"libraries": {"litert": [str(wrong)]}}), "runtime-missing", "is not LiteRT")
    other = bytearray(Path(libraries["litert"][0]).read_bytes())
    other[18:20] = (183 if os.uname().machine != "aarch64" else 62).to_bytes(2, "little")
    wrong.write_bytes(other)
    assert_one_error(native(request | {"libraries": {"litert": [str(wrong)]}}), "runtime-missing", "cannot be loaded")
    assert_one_error(native(request | {"runtime": "coreml"}), "unknown-runtime", "no runtime 'coreml'")


def test_another_version_of_litert_is_refused_by_name(
    native: Program, request_: Callable[..., dict[str, Any]], libraries: dict[str, list[str]], tmp_path: Path
) -> None:
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert-9.1.0.dist-info").mkdir()
    library = tmp_path / "ai_edge_litert" / "libLiteRt.so"
    library.symlink_to(libraries["litert"][0])
    answer = native(request_() | {"libraries": {"litert": [str(library)]}})
    assert_one_error(answer, "runtime-missing", "LiteRT 9.1.0", "drives 2.2 and 2.3")


def test_damaged_models(native: Program, request_: Callable[..., dict[str, Any]]) -> None:
    request = request_("bench")
    payload = Path(request["artifact"]) / request["payload"]
    whole = payload.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:100], b"\0" * 5000, b"TFL3" * 100, whole[8:]):
        payload.write_bytes(content)
        assert_one_error(native(request), "failed")
    payload.unlink()
    assert_one_error(native(request), "failed", "cannot be read: No such file")


def test_golden_files_that_do_not_fit(native: Program, request_: Callable[..., dict[str, Any]]) -> None:
    request = request_()
    path = Path(request["artifact"]) / request["golden"]["inputs"][0]
    whole = np.load(path)
    for array, phrase in (
        (whole[..., :4], "another shape"),
        (whole[:0], "0 samples"),
        (whole[:3], "not as many golden outputs as inputs"),
        (whole.astype(object), "element type"),
    ):
        np.save(path, array)
        assert_one_error(native(request), "failed", phrase)
    claims = path.read_bytes()[:6] + b"\x01\x00\x76\x00"
    claims += b"{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 4096), }".ljust(117) + b"\n"
    path.write_bytes(claims)
    assert_one_error(native(request), "failed", "larger than 1 GiB")
    path.unlink()
    os.mkfifo(path)
    assert_one_error(native(request), "failed", "it is no file")


def test_a_host_that_is_gone_ends_both_processes(native: Program, request_: Callable[..., dict[str, Any]]) -> None:
    request = request_("bench", min_ns=60 * 10**9, max_ns=60 * 10**9)
    with subprocess.Popen(
        [*native.command, json.dumps(request)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        pid = json.loads(run.stdout.readline())["pid"]
        run.stdout.close()
        assert run.wait(timeout=5) == 1
    assert ended(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_both_processes(
    number: signal.Signals, native: Program, request_: Callable[..., dict[str, Any]]
) -> None:
    request = request_("bench", min_ns=60 * 10**9, max_ns=60 * 10**9)
    for to_child in (False, True):
        with subprocess.Popen(
            [*native.command, json.dumps(request)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as run:
            assert run.stdout is not None
            pid = json.loads(run.stdout.readline())["pid"]
            assert pid != run.pid
            os.kill(pid if to_child else run.pid, number)
            assert run.wait(timeout=5) == -number
        assert ended(pid)


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for its parent to take notice."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_program_of_another_processor(native: Program, local_target: Target, tmp_path: Path) -> None:
    program = bytearray(Path(native.command[0]).read_bytes())
    program[18:20] = b"\x34\x12"  # ELF's e_machine: a processor that nobody has, nor an emulator of it
    other = tmp_path / "runner.elf"
    other.write_bytes(program)
    with connect(msgspec.structs.replace(local_target, runner="native")) as device:
        device.runners[""] = Runner("native", other, sha256_of(other))
        with pytest.raises(RunnerError, match=r"ended before its first event with exit status 12[67].*[Ee]xec format"):
            run_request(device, {"do": "info", "runtimes": []}, idle_timeout_s=20)

"""The native runner against its twin: the same events, the same answers to the bit, the same rules of measuring."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import statistics
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.runner import measure
from tests.runner.conftest import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from tests.runner.native.conftest import Program

pytestmark = pytest.mark.slow

ARTIFACTS = [
    ("digits_cnn", "tflite:float32"),
    ("digits_cnn", "tflite:int8"),
    ("digits_cnn", "tflite:dynamic-int8"),
    ("digits_cnn", "tvm:float32"),
]
IN_TURNS = {"turn_ns": 20_000_000, "max_warmup_ns": 5 * 10**7, "min_ns": 2 * 10**8, "max_ns": 10**9}
OF_SYSTEM = ("cpu_model", "cores", "affinity", "machine", "kernel", "os", "libc", "boot_id", "memory_total_bytes",
             "governor", "frequency_max_hz")  # fmt: skip


@pytest.mark.parametrize(("model", "recipe"), ARTIFACTS)
def test_the_same_golden_results(
    model: str,
    recipe: str,
    native: Program,
    python: Program,
    converted: Callable[[str, str], Artifact],
    request_for: Callable[..., dict[str, Any]],
) -> None:
    request = request_for(converted(model, recipe), "check")
    assert_same_check(native(request), python(request), exact=True)


def assert_same_check(ours: Answer, theirs: Answer, *, exact: bool) -> None:
    """The same events; of the comparisons, only the last digits of sums may differ."""
    assert ours.status == theirs.status == 0
    assert ours.order == theirs.order == ["hello", "runtime", "golden", "done"]
    assert ours.named("runtime") == theirs.named("runtime")
    for one, other in zip(ours.named("golden")["outputs"], theirs.named("golden")["outputs"], strict=True):
        assert one["exact"] is exact
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value == (pytest.approx(other[name], rel=1e-9) if isinstance(value, float) else other[name]), name


def test_token_ids_through_onnx_runtime(
    native: Program, python: Program, libraries: dict[str, list[str]], tmp_path: Path
) -> None:
    """Two inputs in another order than the file's, int64 ids given as int32, and an answer that is not quite the golden
    one: a sum of two embeddings and of a vector."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random_ = np.random.default_rng(0)
    table = random_.standard_normal((50, 6)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["rows"]),
         helper.make_node("ReduceSum", ["rows", "axis"], ["sum"], keepdims=0),
         helper.make_node("Add", ["sum", "bias"], ["y"])],
        "ids",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 2]),
         helper.make_tensor_value_info("bias", TensorProto.FLOAT, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    ids = random_.integers(0, 50, (7, 1, 2)).astype("int32")
    bias = random_.standard_normal((7, 1, 6)).astype("float32")
    np.save(tmp_path / "ids.npy", ids)
    np.save(tmp_path / "bias.npy", bias)
    np.save(tmp_path / "y.npy", table[ids].sum(axis=2) + bias + np.float32(1e-3))
    request = {
        "schema": 1, "do": "check", "artifact": str(tmp_path), "payload": "m.onnx", "runtime": "onnxruntime",
        "bindings": {"inputs": ["bias", "ids"], "outputs": ["y"]}, "libraries": libraries,
        "golden": {"inputs": ["bias.npy", "ids.npy"], "outputs": ["y.npy"], "min_snr_db": 40.0},
    }  # fmt: skip
    ours = native(request)
    assert_same_check(ours, python(request), exact=False)
    assert 55 < ours.named("golden")["outputs"][0]["snr_db"] < 80


def test_the_same_events_with_the_same_fields(
    native: Program,
    python: Program,
    converted: Callable[[str, str], Artifact],
    request_for: Callable[..., dict[str, Any]],
) -> None:
    request = request_for(converted("digits_cnn", "tflite:int8"), "bench")
    ours, theirs = native(request), python(request)
    assert ours.status == theirs.status == 0
    assert ours.order == theirs.order
    for one, other in zip(ours.events, (e for e in theirs.events if e["event"] != "progress"), strict=False):
        assert one.keys() == other.keys()
        if one["event"] == "facts":
            assert one["values"].keys() == other["values"].keys()
            assert {k: one["values"][k] for k in OF_SYSTEM} == {k: other["values"][k] for k in OF_SYSTEM}
            assert one["missing"].keys() - {"python"} == other["missing"].keys()
    samples = ours.named("samples")
    assert len(samples["samples_ns"]) >= 20
    assert samples["median_half_width"] == pytest.approx(measure.median_half_width(samples["samples_ns"]))
    memory = ours.named("memory")
    assert 0 < memory["before_load_bytes"] < memory["peak_rss_bytes"] < theirs.named("memory")["peak_rss_bytes"]


def test_a_wrong_answer_is_told_and_not_timed(
    native: Program, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> None:
    artifact = converted("digits_cnn", "tflite:float32")
    request = request_for(artifact, "bench", copy=True)
    path = f"{request['artifact']}/{request['golden']['outputs'][0]}"
    expected = np.load(path)
    noise = np.random.default_rng(0).standard_normal(expected.shape).astype("float32")
    np.save(path, expected + noise)
    answer = native(request)
    assert answer.status == 3
    assert answer.order == ["hello", "facts", "runtime", "first", "delegation", "golden", "done"]
    (output,) = answer.named("golden")["outputs"]
    assert not answer.named("golden")["passed"]
    found = 10 * math.log10(np.sum((expected + noise).astype("float64") ** 2) / np.sum(noise.astype("float64") ** 2))
    assert output["snr_db"] == pytest.approx(found, abs=1e-3)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_is_the_process_s(
    threads: int, native: Program, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> None:
    request = request_for(converted("digits_cnn", "tflite:float32"), "bench", threads=threads, min_ns=5 * 10**9,
                          max_ns=5 * 10**9)  # fmt: skip
    with subprocess.Popen(
        [*native.command, json.dumps(request)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        pid = json.loads(run.stdout.readline())["pid"]
        while json.loads(run.stdout.readline())["event"] != "golden":
            pass
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == threads
        run.kill()


@pytest.mark.parametrize("n", [2, 5, 6, 7, 20, 99, 100, 101, 1000])
def test_the_rules_of_measuring_are_the_same(n: int, harness: Path) -> None:
    random_ = random.Random(n)
    for spread in (0, 0.01, 0.019, 0.021, 0.05, 0.5):
        samples = [round(1e6 * (1 + spread * random_.random())) for _ in range(n)]
        done = subprocess.run([harness, "measure"], input=" ".join(map(str, samples)), capture_output=True, text=True)
        width, steady = done.stdout.split()
        assert float(width) == measure.median_half_width(samples)
        half = n // 2
        if n >= 4:
            assert bool(int(steady)) == measure.is_steady(samples[:half], samples[half : 2 * half])


def test_every_half_is_the_number_that_numpy_has(harness: Path) -> None:
    told = subprocess.run([harness, "doubles"], capture_output=True, check=True).stdout
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(np.frombuffer(told), halves.astype(np.float64))
    values = np.concatenate([halves.astype(np.float64), np.random.default_rng(0).standard_normal(20000) * 1e-4])
    values = values[~np.isnan(values)]
    back = subprocess.run([harness, "halves"], input=values.tobytes(), capture_output=True, check=True).stdout
    np.testing.assert_array_equal(np.frombuffer(back, np.float16), values.astype(np.float16))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
                                   "float16", "float32", "float64"])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 1)])
def test_npy_files_are_read_as_numpy_reads_them(
    dtype: str, shape: tuple[int, ...], harness: Path, tmp_path: Path
) -> None:
    array = (np.random.default_rng(0).standard_normal(shape) * 3).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    told = subprocess.run([harness, "npy", tmp_path / "a.npy"], capture_output=True, text=True, check=True).stdout
    header, _, elements = told.partition(":")
    assert header.split() == [dtype, *map(str, shape)]
    assert [float(e) for e in elements.split()] == [float(e) for e in array.ravel()]


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((2, 2), ">f4"), "element type"),
        (np.zeros((2, 2), "complex64"), "element type"),
        (np.zeros(2, "U3"), "element type"),
        (np.zeros(2, "datetime64[s]"), "element type"),
        (np.zeros(2, [("a", "f4")]), "records"),
        (np.asfortranarray(np.zeros((2, 3), "f4")), "Fortran"),
        (np.array([None]), "element type"),
    ],
)
def test_other_npy_files_are_refused_by_name(array: Any, why: str, harness: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    told = subprocess.run([harness, "npy", tmp_path / "a.npy"], capture_output=True, text=True, check=True).stdout
    assert why in told


def test_npy_files_of_a_wrong_length_are_refused(harness: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 5), "float32"))
    whole = path.read_bytes()
    huge = whole.replace(b"(4, 5)", b"(1048576, 4096)")
    header = struct.pack("<H", struct.unpack("<H", whole[8:10])[0] + len(huge) - len(whole))
    for content, why in (
        (whole[:-1], "length"),
        (whole + b"\0", "length"),
        (whole[:30], "header"),
        (b"", "no .npy"),
        (whole[:6] + b"\x09" + whole[7:], "version"),
        (huge[:8] + header + huge[10:], "larger than 1 GiB"),
    ):
        path.write_bytes(content)
        told = subprocess.run([harness, "npy", path], capture_output=True, text=True, check=True).stdout
        assert why in told, content[:80]


def test_a_pair_says_the_same(
    native: Program,
    python: Program,
    converted: Callable[[str, str], Artifact],
    request_for: Callable[..., dict[str, Any]],
) -> None:
    side = json.dumps(request_for(converted("digits_cnn", "tflite:int8"), "bench", **IN_TURNS))
    ours, theirs = (program({"schema": 3, "do": "turns", "requests": [side, side]}) for program in (native, python))
    assert ours.status == theirs.status == 0
    for i in (None, 0, 1):
        one, other = (
            [event for event in answer.events if event.get("side") == i and event["event"] != "progress"]
            for answer in (ours, theirs)
        )
        assert [(event["event"], event.keys()) for event in one] == [(event["event"], event.keys()) for event in other]


def test_the_two_measure_the_same_latency_in_turns_with_each_other(
    native: Program,
    python: Program,
    converted: Callable[[str, str], Artifact],
    request_for: Callable[..., dict[str, Any]],
) -> None:
    """Within 2 %, on a model of a millisecond. One of each is a pair: what else the machine does is slow for both."""
    request = json.dumps(request_for(converted("crepe_tiny", "tflite:float32"), "bench", **IN_TURNS, cores=1))
    found = []
    for order in ((native, python), (python, native)) * 2:
        answers = dict(zip(order, in_turns(*order, request), strict=True))
        assert answers[native].order == answers[python].order
        medians = {program: turns_of(answers[program]) for program in order}
        assert len(medians[native]) == len(medians[python]) >= 5
        found += [one / other for one, other in zip(medians[native], medians[python], strict=True)]
    assert statistics.median(found) == pytest.approx(1, abs=0.02)


def in_turns(first: Program, second: Program, request: str) -> list[Answer]:
    """Runs two programs that hand the turn to each other, as the program that starts a pair would start them."""
    pipes = [os.pipe(), os.pipe()]
    os.write(pipes[0][1], b"m")
    started = []
    for i, (program, name) in enumerate([(first, "first"), (second, "second")]):
        take, give = pipes[i][0], pipes[1 - i][1]
        argv = [*program.command, request, f"{name},{take},{give}"]
        started.append(subprocess.Popen(argv, pass_fds=(take, give), stdout=subprocess.PIPE, text=True))
    for end in (*pipes[0], *pipes[1]):
        os.close(end)
    said = [process.communicate(timeout=60)[0].splitlines() for process in started]
    return [
        Answer(process.returncode, list(map(json.loads, lines)), "")
        for process, lines in zip(started, said, strict=True)
    ]


def turns_of(answer: Answer) -> list[float]:
    """The median latency of each turn."""
    samples = answer.named("samples")
    ends = list(itertools.accumulate(samples["turns"]))
    parts = zip(samples["turns"], ends, strict=True)
    return [statistics.median(samples["samples_ns"][end - count : end]) for count, end in parts]

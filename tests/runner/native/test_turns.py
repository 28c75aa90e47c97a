"""Two processes of the native runner that measure in turn: the real program, real models, and every end of a pair."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.runner.conftest import Answer
from tests.runner.native.test_failures import assert_one_error, ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.artifact import Artifact
    from tests.runner.native.conftest import Program

pytestmark = pytest.mark.slow

SECOND = 1_000_000_000
BENCH = ["hello", "facts", "runtime", "first", "delegation", "golden", "warmup", "samples", "energy", "memory", "facts",
         "done"]  # fmt: skip


@pytest.fixture
def side(
    converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
    """One of the two requests, over digits_cnn in int8: turns of 2 ms, a fifth of a second of them in all."""

    def make(**more: Any) -> dict[str, Any]:
        limits = {"turn_ns": SECOND // 500, "min_ns": SECOND // 5, "max_ns": SECOND, "max_warmup_ns": SECOND // 10}
        return request_for(converted("digits_cnn", "tflite:int8"), "bench", **limits) | more

    return make


def pair(*requests: dict[str, Any] | str) -> dict[str, Any]:
    texts = [request if isinstance(request, str) else json.dumps(request) for request in requests]
    return {"schema": 3, "do": "turns", "requests": texts}


def of_side(events: Sequence[dict[str, Any]], i: int) -> dict[str, dict[str, Any]]:
    """The events of one side by name; the later one of `facts`."""
    return {event["event"]: event for event in events if event.get("side") == i}


def order_of(answer: Answer, i: int) -> list[str]:
    return [e["event"] for e in answer.events if e.get("side") == i and e["event"] != "progress"]


@contextmanager
def running(program: Program, request: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A pair that both sides of have said hello, and begun to sample if they were to; with the pids of all three."""
    with subprocess.Popen([*program.command, json.dumps(request)], stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout is not None
            pids, warm = [], 0
            while warm < 2:
                event = json.loads(run.stdout.readline())
                if event["event"] == "hello":
                    pids.append(event["pid"])
                warm += event["event"] == "warmup"
            assert len(set(pids)) == 3
            yield run, pids
        finally:
            run.kill()


@pytest.mark.parametrize("kind", ["native", "sanitized"])
def test_a_model_and_itself(kind: str, request: pytest.FixtureRequest, side: Callable[..., dict[str, Any]]) -> None:
    program: Program = request.getfixturevalue(kind)
    answer = program(pair(side(), side(min_samples=30)))
    assert answer.status == 0, answer
    assert (answer.order[0], answer.order[-1]) == ("hello", "done")
    assert ["side" in event for event in answer.events] == [False] + [True] * (len(answer.events) - 2) + [False]
    assert answer.events[-1]["status"] == 0
    assert order_of(answer, 0) == order_of(answer, 1) == BENCH
    sides = [of_side(answer.events, i) for i in range(2)]
    assert len({answer.events[0]["pid"], *(s["hello"]["pid"] for s in sides)}) == 3
    assert len(sides[0]["samples"]["turns"]) == len(sides[1]["samples"]["turns"]) >= 2
    for events in sides:
        samples = events["samples"]
        assert sum(samples["turns"]) == len(samples["samples_ns"]) >= 20
        assert min(samples["turns"]) >= 1
        assert samples["stop"] == "turns"
        assert samples["median_half_width"] > 0
        assert SECOND // 10 < sum(samples["samples_ns"]) < SECOND
        assert events["energy"]["source"] is None
        assert "two processes took turns" in events["energy"]["because"]


def test_nothing_of_the_second_happens_while_the_first_loads_and_warms_up(
    native: Program, side: Callable[..., dict[str, Any]]
) -> None:
    answer = native(pair(side(), side()))
    told = [(event["side"], event["event"]) for event in answer.events[1:-1] if event["event"] != "progress"]
    first_warm = told.index((0, "warmup"))
    assert [name for i, name in told[:first_warm] if i == 1] in ([], ["hello"])
    assert told.index((1, "warmup")) < told.index((0, "samples"))


@pytest.mark.parametrize("longer", [0, 1])
def test_both_take_turns_until_both_have_enough(
    longer: int, native: Program, side: Callable[..., dict[str, Any]]
) -> None:
    enough = {"min_samples": 1, "min_ns": 0, "turn_ns": 1}
    requests = [side(**enough), side(**enough)]
    requests[longer] |= {"min_samples": 50}
    answer = native(pair(*requests))
    turns = [of_side(answer.events, i)["samples"]["turns"] for i in range(2)]
    assert turns == [[1] * 50, [1] * 50]


def test_at_most_so_long(native: Program, side: Callable[..., dict[str, Any]]) -> None:
    requests = [side(min_samples=10**6, max_ns=SECOND // 50), side(min_samples=10**6, max_ns=SECOND // 25)]
    answer = native(pair(*requests))
    assert answer.status == 0
    spent = [sum(of_side(answer.events, i)["samples"]["samples_ns"]) for i in range(2)]
    assert all(SECOND // 100 < ns < SECOND // 5 for ns in spent)


def test_as_many_processors_as_asked_for(native: Program, side: Callable[..., dict[str, Any]]) -> None:
    """Of those that it may use the highest, where all are alike; and a request for more than there are gets all."""
    usable = sorted(os.sched_getaffinity(0))
    answer = native(pair(side(cores=1), side(cores=1000)))
    affinity = [of_side(answer.events, i)["facts"]["values"]["affinity"] for i in range(2)]
    fastest = max(usable, key=lambda cpu: (fastest_khz(cpu), cpu))
    assert affinity == [[fastest], usable]
    alone = {name: value for name, value in side(cores=1).items() if name != "turn_ns"}
    assert native(alone).events[1]["values"]["affinity"] == [fastest]


def fastest_khz(cpu: int) -> int:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq")
    return int(path.read_text()) if path.exists() else 0


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_wrong_answer_of_one_side_ends_both(
    wrong: int,
    native: Program,
    side: Callable[..., dict[str, Any]],
    converted: Callable[[str, str], Artifact],
    request_for: Callable[..., dict[str, Any]],
) -> None:
    copy = request_for(converted("digits_cnn", "tflite:int8"), "bench", copy=True)["artifact"]
    requests = [side(), side()]
    requests[wrong]["artifact"] = copy
    path = f"{copy}/{requests[wrong]['golden']['outputs'][0]}"
    expected = np.load(path)
    np.save(path, expected + np.random.default_rng(0).standard_normal(expected.shape).astype("float32"))
    answer = native(pair(*requests))
    assert answer.status == 3
    assert "error" not in answer.order
    assert answer.events[-1] == {"event": "done", "status": 3}
    assert of_side(answer.events, wrong)["done"]["status"] == 3
    assert "samples" not in answer.order
    assert_ended_if_it_came_so_far(answer, 1 - wrong)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_broken_payload_of_one_side_is_one_error(
    broken: int, native: Program, side: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    requests = [side(), side()]
    (tmp_path / "broken.tflite").write_bytes(b"TFL3" * 100)
    requests[broken]["payload"] = str(os.path.relpath(tmp_path / "broken.tflite", requests[broken]["artifact"]))
    answer = native(pair(*requests))
    assert_one_error(answer, "failed")
    assert answer.events[-1]["side"] == broken
    assert_ended_if_it_came_so_far(answer, 1 - broken)


def assert_ended_if_it_came_so_far(answer: Answer, i: int) -> None:
    """The second one may be killed before its first word."""
    hello = of_side(answer.events, i).get("hello")
    assert ended(hello["pid"]) if hello else i == 1


@pytest.mark.parametrize("killed", [0, 1])
def test_a_side_that_is_killed_ends_the_pair_by_its_status(
    killed: int, native: Program, side: Callable[..., dict[str, Any]]
) -> None:
    request = pair(side(min_ns=60 * SECOND, max_ns=60 * SECOND), side(min_ns=60 * SECOND, max_ns=60 * SECOND))
    with running(native, request) as (run, pids):
        os.kill(pids[1 + killed], signal.SIGKILL)
        assert run.stdout is not None
        rest = [json.loads(line) for line in run.stdout]
        assert run.wait(timeout=5) == 128 + signal.SIGKILL
    assert not {"done", "error"} & {event["event"] for event in rest}
    assert all(ended(pid) for pid in pids)


@pytest.mark.parametrize("how", ["the host is gone", "the pair is killed", "the pair's supervisor is killed"])
@pytest.mark.parametrize("stopped", [None, 0, 1])
def test_nothing_outlives_the_pair(
    how: str, stopped: int | None, native: Program, side: Callable[..., dict[str, Any]]
) -> None:
    """A side that is stopped holds up both in silence, which is how the host knows."""
    request = pair(side(min_ns=60 * SECOND, max_ns=60 * SECOND), side(min_ns=60 * SECOND, max_ns=60 * SECOND))
    with running(native, request) as (run, pids):
        assert run.stdout is not None
        if stopped is not None:
            os.kill(pids[1 + stopped], signal.SIGSTOP)
            assert is_silent(run, 0.8)
        if how == "the host is gone":
            run.stdout.close()
            assert run.wait(timeout=5) == 1
        else:
            os.kill(pids[0] if how == "the pair is killed" else run.pid, signal.SIGKILL)
            assert run.wait(timeout=5) == -signal.SIGKILL
        assert all(ended(pid) for pid in pids)


def is_silent(run: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether, after what is under way already, no line comes for so long."""
    time.sleep(0.1)
    assert run.stdout is not None
    descriptor = run.stdout.fileno()
    os.set_blocking(descriptor, False)
    while run.stdout.read(1 << 16):
        pass
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return not selector.select(seconds)


def test_lines_of_megabytes_arrive_whole(native: Program, side: Callable[..., dict[str, Any]]) -> None:
    limits = {"min_samples": 200_000, "max_ns": 100 * SECOND, "turn_ns": SECOND // 4}
    answer = native(pair(side(**limits), side(**limits)))
    assert answer.status == 0
    for i in range(2):
        samples = of_side(answer.events, i)["samples"]
        assert len(json.dumps(samples)) > 10**6
        assert sum(samples["turns"]) == len(samples["samples_ns"]) >= 200_000
    assert "progress" in {event["event"] for event in answer.events}


@pytest.mark.parametrize(
    ("requests", "phrase"),
    [
        ([], "'requests' has not 2 members"),
        (["{}"], "'requests' has not 2 members"),
        (["{}", "{}", "{}"], "'requests' has more than 2 members"),
        (["{}", {}], "'requests' has a member that is no string"),
        ("{}", "'requests' is not a list"),
        (None, "lacks the field 'requests'"),
    ],
)
def test_requests_that_are_not_two_texts(requests: object, phrase: str, sanitized: Program) -> None:
    request = {"schema": 3, "do": "turns"} | ({} if requests is None else {"requests": requests})
    answer = sanitized(request)
    if requests is not None:
        assert answer.order == ["error"]
    assert_one_error(answer, "protocol", phrase)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("", "ends early"),
        ("{}", "lacks the field 'schema'"),
        ('{"schema":3,"do":"info","runtimes":[]}', "the request is no bench with 'turn_ns'"),
        ('{"schema":3,"do":"turns","requests":["{}","{}"]}', "the request is no bench with 'turn_ns'"),
    ],
)
@pytest.mark.parametrize("i", [0, 1])
def test_a_side_s_request_that_is_none(
    i: int, text: str, phrase: str, sanitized: Program, side: Callable[..., dict[str, Any]]
) -> None:
    requests: list[Any] = [side(), side()]
    requests[i] = text
    answer = sanitized(pair(*requests))
    assert_one_error(answer, "protocol", phrase)
    assert answer.events[-1]["side"] == i


@pytest.mark.parametrize(
    ("role", "phrase"),
    [
        ("", "'' is not ROLE,TAKE,GIVE"),
        ("first", "'first' is not"),
        ("third,0,1", "'third,0,1' is not"),
        ("first,0", "'first,0' is not"),
        ("first,0,", "'first,0,' is not"),
        ("first,-1,2", "'first,-1,2' is not"),
        ("second,0,1,2", "'second,0,1,2' is not"),
        ("second,0,99999999999999999999", "is not ROLE,TAKE,GIVE"),
        ("second,0x1,2", "is not ROLE,TAKE,GIVE"),
        ("first,{closed},2", "TAKE, descriptor {closed}, is not open for reading"),
        ("first,{take},{closed}", "GIVE, descriptor {closed}, is not open for writing"),
        ("first,{give},{take}", "TAKE, descriptor {give}, is not open for reading"),
    ],
)
def test_a_role_that_is_none(role: str, phrase: str, sanitized: Program, side: Callable[..., dict[str, Any]]) -> None:
    take, give = os.pipe()
    try:
        names = {"take": take, "give": give, "closed": 777}
        answer = with_role(sanitized, side(), role.format(**names), (take, give))
    finally:
        os.close(take)
        os.close(give)
    assert_one_error(answer, "protocol", phrase.format(**names))
    assert answer.order == ["error"]


def with_role(program: Program, request: dict[str, Any], role: str, descriptors: Sequence[int]) -> Answer:
    """Called with a second argument, and pipes that it inherits."""
    done = subprocess.run(
        [*program.command, json.dumps(request), role],
        capture_output=True,
        timeout=60,
        env=program.environment,
        pass_fds=descriptors,
    )
    return Answer(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode())


def test_a_role_and_turn_ns_go_together(sanitized: Program, side: Callable[..., dict[str, Any]]) -> None:
    assert_one_error(sanitized(side()), "protocol", "'turn_ns', but there is no second argument")
    alone = {name: value for name, value in side().items() if name != "turn_ns"}
    take, give = os.pipe()
    answer = with_role(sanitized, alone, f"first,{take},{give}", (take, give))
    assert_one_error(answer, "protocol", "but the request is no bench with 'turn_ns'")
    for field in ("turn_ns", "cores"):
        for value in (0, -1, 10**30, "1", None, 1.5):
            assert_one_error(sanitized(side() | {field: value}), "protocol")
    os.close(take)
    os.close(give)


@pytest.mark.parametrize(
    ("role", "given", "phrase"),
    [
        ("first", b"", "nobody gives the turn any more"),
        ("first", b"m", "nobody gives the turn any more"),
        ("second", b"", "nobody gives the turn any more"),
        ("second", b"e", "with the byte 101, which is none of 'm'"),
        ("first", b"mx", "with the byte 120, which is none of 'm'"),
        ("first", b"mme", "with the byte 101, which is none of 'mx'"),
        ("second", b"mx", "with the byte 120, which is none of 'me'"),
        ("second", b"m\0", "with the byte 0, which is none of 'me'"),
    ],
)
def test_a_turn_that_is_none(
    role: str, given: bytes, phrase: str, sanitized: Program, side: Callable[..., dict[str, Any]]
) -> None:
    """Whoever starts the two: what is not as the protocol says is an error, and never a hang."""
    (take, to_it), (from_it, give) = os.pipe(), os.pipe()
    os.write(to_it, given)
    os.close(to_it)
    answer = with_role(sanitized, side(), f"{role},{take},{give}", (take, give))
    for descriptor in (take, give, from_it):
        os.close(descriptor)
    assert_one_error(answer, "failed", phrase)

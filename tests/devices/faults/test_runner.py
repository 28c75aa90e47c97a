"""Runners that misbehave on a real device: what bench says of them, that it ends, and that the next bench works."""

from __future__ import annotations

import copy
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench import bench, write_run
from edgekit.devices import Target, connect, process, runner_client
from edgekit.devices import events as events_module
from edgekit.errors import DeviceError, EdgeKitError, RemoteCommandError, RemoteTimeoutError, RunnerError
from tests.devices.faults.cuts import EVENTS, stub_runner

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.bench import Run

pytestmark = pytest.mark.device


def with_program(target: Target, folder: Path, body: str) -> Target:
    """The target with a `python` that does this."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    bounds = msgspec.structs.replace(target.bench, idle_timeout_s=2.0)
    return msgspec.structs.replace(target, python=str(path), runner="python", bench=bounds)


def measure(target: Target, artifact: Artifact, **options: Any) -> Run:
    with connect(target) as device, device.lock("bench"):
        return bench(device, artifact, threads=1, blocks=1, **options)


def said(events: list[dict[str, Any]]) -> str:
    return "\n".join(f"echo '{json.dumps(event)}'" for event in events)


def assert_the_next_one_works(target: Target, artifact: Artifact, folder: Path) -> None:
    good = msgspec.structs.replace(target, python=str(stub_runner(folder)), runner="python")
    assert measure(good, artifact).summary.n == 5


def test_one_that_hangs_stopped_is_ended(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path) -> None:
    from test_ssh import assert_ends

    pid_file = tmp_path / "pid"
    target = with_program(ssh_target, tmp_path, f"echo $$ > '{pid_file}'\n{said(EVENTS[:3])}\nexec sleep 600")

    def stop(_block: int, event: dict[str, Any]) -> None:
        if event["event"] == "runtime":
            os.kill(int(pid_file.read_text()), signal.SIGSTOP)

    began = time.monotonic()
    with pytest.raises(RemoteTimeoutError, match=r"'board'.*said nothing for 2 s while running the runner") as caught:
        measure(target, tiny_artifact, on_event=stop)
    assert time.monotonic() - began < 20
    assert "overloaded" in caught.value.remedy
    assert_ends(int(pid_file.read_text()))
    assert_the_next_one_works(ssh_target, tiny_artifact, tmp_path)


def test_one_that_is_killed_for_memory(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path) -> None:
    target = with_program(ssh_target, tmp_path, f"{said(EVENTS[:4])}\nkill -9 $$")
    with pytest.raises(RunnerError, match=r"'board'.*ended after its 'first' event.*137.*want of memory"):
        measure(target, tiny_artifact)
    assert_the_next_one_works(ssh_target, tiny_artifact, tmp_path)


@pytest.mark.parametrize(
    "body",
    ["head -c 3000 /dev/urandom", "echo Segmentation fault", 'printf \'{"event": "hello"\'', "echo '{}'", "echo '[]'"],
)
def test_garbage(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path, body: str) -> None:
    with pytest.raises(RunnerError, match=r"'board'.*no event of the runner.*Check") as caught:
        measure(with_program(ssh_target, tmp_path, body), tiny_artifact)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).isprintable()


def test_100_mb_of_garbage_end_at_the_first_line(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(RunnerError, match="no event of the runner: 'garbage garbage"):
        measure(with_program(ssh_target, tmp_path, "yes garbage garbage | head -c 100000000"), tiny_artifact)
    assert time.monotonic() - began < 20
    assert_the_next_one_works(ssh_target, tiny_artifact, tmp_path)


def test_100_mb_of_events_are_bounded(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(runner_client, "MAX_EVENTS", 20_000)
    line = json.dumps({"event": "progress"})
    with pytest.raises(RemoteTimeoutError, match=r"'board'.*did not come to an end while running the runner") as caught:
        measure(with_program(ssh_target, tmp_path, f"yes '{line}' | head -c 100000000"), tiny_artifact)
    assert "20001 events" in caught.value.what
    assert_the_next_one_works(ssh_target, tiny_artifact, tmp_path)


def test_signs_of_life_forever_are_bounded(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setitem(runner_client.run_request.__kwdefaults__, "total_timeout_s", 1.0)
    body = 'while :; do echo \'{"event": "progress"}\'; sleep .1; done'
    with pytest.raises(RemoteTimeoutError, match="did not come to an end"):
        measure(with_program(ssh_target, tmp_path, body), tiny_artifact)


def test_a_line_of_64_mb_is_bounded(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path) -> None:
    body = f"head -c {process.MAX_LINE_BYTES + (4 << 20)} /dev/zero | tr '\\0' x"
    began = time.monotonic()
    with pytest.raises(RemoteCommandError, match=r"'board'.*line of more than 64 MiB.*while running the runner"):
        measure(with_program(ssh_target, tmp_path, body), tiny_artifact)
    assert time.monotonic() - began < 60
    assert_the_next_one_works(ssh_target, tiny_artifact, tmp_path)


# Events that are JSON, and lies


def changed(event: str, **fields: Any) -> list[dict[str, Any]]:
    events = copy.deepcopy(EVENTS)
    for one in events:
        if one["event"] == event:
            one.update(fields)
    return events


LIES = {
    "text for a number": changed("first", init_ns="soon"),
    "a negative latency": changed("samples", samples_ns=[-5, 3, 4]),
    "no latencies": changed("samples", samples_ns=[]),
    "a fraction of a nanosecond": changed("samples", samples_ns=[1.5, 2]),
    "latencies that are an object": changed("samples", samples_ns={"a": 1}),
    "a number of 400 digits": changed("first", init_ns=10**400),
    "a memory of 2**80": changed("memory", peak_rss_bytes=2**80),
    "too many outputs": changed("golden", outputs=[EVENTS[4]["outputs"][0]] * 5000),
    "an output with more fields": changed("golden", outputs=[{**EVENTS[4]["outputs"][0], "x": 1}]),
    "outputs that are text": changed("golden", outputs="all of them"),
    "thousands of fields": changed("facts", values={f"field-{i}": i for i in range(5000)}),
    "facts that are a list": changed("facts", values=[1, 2]),
    "facts of another time": changed("facts", when="sometimes"),
    "a runtime without a name": changed("runtime", name=None),
    "a package that is a list": changed("runtime", package=["../../etc"]),
    "nothing between hello and done": [EVENTS[0], EVENTS[-1]],
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_errors_and_no_file(local_target: Target, tiny_artifact: Artifact, tmp_path: Path, lie: str) -> None:
    target = msgspec.structs.replace(local_target, python=str(stub_runner(tmp_path, LIES[lie])), runner="python")
    with pytest.raises(EdgeKitError, match="(?i)here.*runner|runner.*here") as caught:
        write_run(measure(target, tiny_artifact), tmp_path / "runs")
    assert caught.value.remedy
    assert len(str(caught.value)) < 2500
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "facts", "when": "before", "values": {"load": NaN}, "missing": {}}',
        '{"event": "first", "init_ns": Infinity}',
        '{"event": "first", "init_ns": 1e999}',
        '{"event": "x", "y": ' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"event": "x", "y": ' + '{"a": ' * 50_000 + "1" + "}" * 50_001,
        '{"event": "x", "y": ' + "9" * 100_000 + "}",
        '{"event": 3}',
        "null",
    ],
)
def test_what_is_no_event(line: str) -> None:
    assert events_module.parse_event(line) is None


def test_control_sequences_are_shown_and_not_obeyed(
    local_target: Target, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202egpj.exe\x9b31m\r"
    event = events_module.parse_event(json.dumps({"event": "x", evil: {"deep": [evil, {"er": evil}]}}))
    assert event is not None
    assert str(event).isprintable()
    events = changed("runtime", package=evil)
    values = {"machine": evil, "cores": 1, "cpu_model": evil, "os": f"[red]{evil}[/nonsense]", "kernel": evil}
    for one in events:
        if one["event"] == "facts":
            one["values"] = values
    target = msgspec.structs.replace(local_target, python=str(stub_runner(tmp_path, events)), runner="python")
    run = measure(target, tiny_artifact)
    path = write_run(run, tmp_path / "runs")
    assert path.is_relative_to(tmp_path / "runs")
    assert b"\x1b" not in path.read_bytes()
    failing = [EVENTS[0], {"event": "error", "kind": evil, "message": evil}]
    target = msgspec.structs.replace(local_target, python=str(stub_runner(tmp_path, failing)), runner="python")
    with pytest.raises(DeviceError) as caught:
        measure(target, tiny_artifact)
    assert str(caught.value).isprintable()


def test_a_benchs_table_survives_what_the_device_calls_itself(
    local_target: Target, tiny_artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgekit.cli.bench import print_runs

    events = changed("runtime", package="[/dim][blink]p")
    for one in events:
        if one["event"] == "facts":
            one["values"] = {"cpu_model": "[/red]\x1b[2J", "cores": "[/]", "os": "[link=file:///etc/passwd]x"}
    target = msgspec.structs.replace(local_target, python=str(stub_runner(tmp_path, events)), runner="python")
    run = measure(target, tiny_artifact)
    print_runs("here", [(tiny_artifact, run, tmp_path / "x.json")])
    shown = capsys.readouterr().out
    assert "[/red]\\x1b[2J" in shown
    assert "\x1b" not in shown

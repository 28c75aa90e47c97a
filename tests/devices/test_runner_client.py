"""The runner on a device: packed once, sent once, and whatever it says that is no event is an error that quotes it."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.devices import Target, connect
from edgekit.devices.runner_client import device_info, run_request
from edgekit.devices.runner_zip import runner_zip
from edgekit.errors import ConnectionLostError, RemoteTimeoutError, RunnerError, RuntimeMissingError

if TYPE_CHECKING:
    from cut_proxy import CutProxy

    from edgekit.devices import Device

pytestmark = pytest.mark.device

OLD_PYTHON = Path("~/.pyenv/versions/3.8.18/bin/python3.8").expanduser()
INFO = {"do": "info", "runtimes": ["litert"]}


def stub(folder: Path, body: str) -> str:
    """A program that a target may name as its `python`."""
    path = folder / "python stub"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def with_python(target: Target, python: str) -> Target:
    return msgspec.structs.replace(target, python=python, runner="python")


def test_the_zip_is_the_same_every_time_and_named_by_its_hash() -> None:
    path, sha256 = runner_zip()
    content = path.read_bytes()
    path.unlink()
    assert runner_zip() == (path, sha256)
    assert path.read_bytes() == content
    assert path.name == f"{sha256}.pyz"


def test_a_damaged_cache_is_repaired() -> None:
    path, sha256 = runner_zip()
    path.write_bytes(b"damaged")
    assert runner_zip() == (path, sha256)
    assert zipfile.is_zipfile(path)


def test_runtimes_of_other_packages_travel_along(tmp_path: Path) -> None:
    module = tmp_path / "theirs.py"
    module.write_text("NAME = 'other'\nPACKAGES = ()\ndef probe():\n    return {'package': 'p', 'version': '7'}\n")
    path, sha256 = runner_zip({"other": module})
    assert sha256 != runner_zip()[1]
    request = '{"schema": 1, "do": "info", "runtimes": ["other"]}'
    done = subprocess.run([sys.executable, path, request], capture_output=True, text=True, check=True)
    assert '"name":"other"' in done.stdout
    assert '"version":"7"' in done.stdout


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no Python 3.8 on this machine")
def test_it_runs_on_python_3_8_without_numpy(local_target: Target) -> None:
    with connect(with_python(local_target, str(OLD_PYTHON))) as device:
        info = device_info(device)
    assert info["facts"]["values"]["python"].startswith("3.8")
    assert "none of ai_edge_litert" in info["runtimes"]["litert"]["reason"]


def test_facts_and_runtimes(device: Device) -> None:
    seen: list[str] = []
    events = run_request(device, INFO, idle_timeout_s=30, on_event=lambda event: seen.append(event["event"]))
    assert seen[0] == "hello"
    assert seen[-1] == "done"
    assert [event["event"] for event in events] == seen


def test_device_info(local_target: Target) -> None:
    """On one device: it imports every runtime there is here, which takes a while."""
    with connect(local_target) as device:
        info = device_info(device)
    assert info["python"]
    assert info["facts"]["values"]["cores"] >= 1
    assert set(info["runtimes"]["litert"]) in ({"package", "version"}, {"reason"})


def test_a_missing_runtime_names_the_command_to_install_it(target: Target, tmp_path: Path) -> None:
    python = stub(tmp_path, f'exec {sys.executable} -S -E "$@"')
    with (
        connect(with_python(target, python)) as device,
        pytest.raises(RuntimeMissingError, match=r"no runtime 'litert'.*-m pip install ai-edge-litert") as caught,
    ):
        run_request(device, {"do": "check", "runtime": "litert"}, idle_timeout_s=30)
    assert target.name in str(caught.value)


def test_a_request_that_fails_over_there(device: Device) -> None:
    with pytest.raises(RunnerError, match="failed on the device .*unknown-runtime"):
        run_request(device, {"do": "check", "runtime": "nonsense"}, idle_timeout_s=30)


def test_a_missing_python(target: Target) -> None:
    with (
        connect(with_python(target, "/no/such/python")) as device,
        pytest.raises(RunnerError, match=r"ended before its first event with exit status 127.*set `python`"),
    ):
        run_request(device, INFO, idle_timeout_s=30)


def test_garbage_is_quoted_and_bounded(target: Target, tmp_path: Path) -> None:
    for body in ("echo 'Welcome to board!'", "echo 42", """echo '{"event": 1}'""", "head -c 9000 /dev/zero"):
        with (
            connect(with_python(target, stub(tmp_path, body))) as device,
            pytest.raises(RunnerError, match="no event of the runner") as caught,
        ):
            run_request(device, INFO, idle_timeout_s=30)
        assert len(str(caught.value)) < 2500


def test_a_runner_that_ends_in_the_middle_is_quoted(target: Target, tmp_path: Path) -> None:
    body = """echo '{"event": "hello"}'; echo 'Illegal instruction' >&2; kill -9 $$"""
    with (
        connect(with_python(target, stub(tmp_path, body))) as device,
        pytest.raises(RunnerError, match=r"(?s)ended after its 'hello' event.*137.*Illegal instruction.*memory"),
    ):
        run_request(device, INFO, idle_timeout_s=30)


def test_a_hanging_runner_is_ended(target: Target, tmp_path: Path) -> None:
    from test_ssh import assert_ends

    pid_file = tmp_path / "pid"
    body = f"""echo $$ > '{pid_file}'; echo '{{"event": "hello"}}'; exec sleep 600"""
    began = time.monotonic()
    with (
        connect(with_python(target, stub(tmp_path, body))) as device,
        pytest.raises(RemoteTimeoutError, match=r"said nothing for 0.5 s while running the runner \(info\)"),
    ):
        run_request(device, INFO, idle_timeout_s=0.5)
    assert time.monotonic() - began < 10
    assert_ends(int(pid_file.read_text()))


def test_a_link_cut_during_a_run_and_the_next_works(proxied_target: Target, proxy: CutProxy, tmp_path: Path) -> None:
    body = """echo '{"event": "hello"}'; exec sleep 600"""
    with (
        connect(with_python(proxied_target, stub(tmp_path, body))) as device,
        pytest.raises(ConnectionLostError, match="while running the runner"),
        device.lock("bench"),
    ):
        run_request(device, INFO, idle_timeout_s=30, on_event=lambda _: proxy.cut())
    with connect(proxied_target) as device, device.lock("bench"):
        assert run_request(device, INFO, idle_timeout_s=30)[-1]["event"] == "done"


def test_ctrl_c_ends_the_runner_and_unlocks(target: Target, tmp_path: Path) -> None:
    from test_ssh import assert_ends

    pid_file = tmp_path / "pid"
    body = f"""echo $$ > '{pid_file}'; echo '{{"event": "hello"}}'; exec sleep 600"""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with (
        connect(with_python(target, stub(tmp_path, body))) as device,
        pytest.raises(KeyboardInterrupt),
        device.lock("bench"),
    ):
        run_request(device, INFO, idle_timeout_s=30, on_event=interrupt)
    assert_ends(int(pid_file.read_text()))
    with connect(target) as device:
        assert not Path(device.path("lock")).exists()

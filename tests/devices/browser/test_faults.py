"""A browser that goes away, hangs, or gets what it cannot run: told within a bound, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench import bench
from edgekit.bench.verify import verify
from edgekit.devices import RunnerDevice, Target, connect_runner
from edgekit.devices.runner_client import run_request
from edgekit.errors import ConnectionLostError, RemoteTimeoutError, RunnerError, UnreachableDeviceError
from tests.artifacts import handmade
from tests.browser import chromium
from tests.devices.browser.conftest import BRIEF, main_process, nothing_is_left, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.slow

LONG = msgspec.structs.replace(BRIEF, min_s=60.0, max_s=90.0)


def measure_until(device: RunnerDevice, artifact: Artifact, when: str, do: Callable[[], object]) -> None:
    """Measures, and does something at the first event of a kind."""
    todo = [do]

    def on_event(_block: int, event: dict[str, Any]) -> None:
        if event["event"] == when and todo:
            todo.pop()()

    bench(device, artifact, threads=1, blocks=1, on_event=on_event)


def kill_page() -> None:
    """As the kernel ends a renderer that takes too much memory."""
    for pid in processes("renderer"):
        os.kill(pid, signal.SIGKILL)


def test_a_page_that_crashes_is_told(browser_target: Callable[..., Target], float32: Artifact) -> None:
    with (
        connect_runner(browser_target(LONG)) as device,
        pytest.raises(RunnerError, match="was closed or crashed while running the runner") as caught,
    ):
        measure_until(device, float32, "warmup", kill_page)
    assert "the browser itself still ran" in caught.value.what
    assert nothing_is_left()


def test_a_browser_that_is_killed_is_told(browser_target: Callable[..., Target], float32: Artifact) -> None:
    with (
        connect_runner(browser_target(LONG)) as device,
        pytest.raises(RunnerError, match="ended with exit status 137 while running the runner"),
    ):
        measure_until(device, float32, "warmup", lambda: os.kill(main_process(), signal.SIGKILL))
    assert nothing_is_left()


def test_a_page_that_hangs_is_ended(browser_target: Callable[..., Target], float32: Artifact) -> None:
    began = [0.0]

    def hang() -> None:
        began[0] = time.monotonic()
        for pid in processes("renderer"):
            os.kill(pid, signal.SIGSTOP)

    with (
        connect_runner(browser_target(msgspec.structs.replace(LONG, idle_timeout_s=8.0))) as device,
        pytest.raises(RemoteTimeoutError, match="said nothing for 8 s"),
    ):
        measure_until(device, float32, "golden", hang)
    assert 7 < time.monotonic() - began[0] < 30
    assert nothing_is_left()


STARTS = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from edgekit.devices.browser.program import Browser, find_browser
browser = Browser(find_browser(None), "about:blank", headless=True, arguments=())
print("started", flush=True)
time.sleep(600)
"""


def test_no_browser_outlives_an_edgekit_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS, tempfile.gettempdir()], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"started\n"
        end = time.monotonic() + 60
        while not processes("renderer") and time.monotonic() < end:
            time.sleep(0.1)
        assert processes("renderer")
        starter.kill()
    while processes() and time.monotonic() < end + 30:
        time.sleep(0.1)
    assert not processes()


def test_what_is_no_model_is_told(browser_target: Callable[..., Target], tmp_path: Path) -> None:
    with (
        connect_runner(browser_target()) as device,
        pytest.raises(RunnerError, match="LiteRT.js does not compile tiny") as caught,
    ):
        verify(device, handmade(tmp_path / "no-model"), push=True)
    assert "edgekit verify" in caught.value.remedy


def test_a_payload_that_is_damaged_after_it_was_looked_at_is_not_run(
    browser_target: Callable[..., Target], tmp_path: Path
) -> None:
    artifact = handmade(tmp_path / "damaged")
    with connect_runner(browser_target()) as device:
        path = device.place(artifact)
        (artifact.path / "payload/model.tflite").write_bytes(b"PAYLOAD" * 1000)  # as many bytes
        request = {
            "do": "check", "artifact": path, "runtime": "litert", "bindings": {"inputs": ["x"], "outputs": ["x"]},
            "golden": {"inputs": [], "outputs": [], "min_snr_db": 1.0},
        }  # fmt: skip
        with pytest.raises(RunnerError, match="is not the payload of tiny any more"):
            run_request(device, request, idle_timeout_s=60)


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo no display >&2; exit 3", RunnerError, "ended with exit status 3 .*: no display"),
        ("exec sleep 600", UnreachableDeviceError, "its page did not come within 2 s"),
    ],
)
def test_a_browser_that_opens_no_page_is_told(
    browser_target: Callable[..., Target], tmp_path: Path, script: str, error: type[Exception], says: str
) -> None:
    program = tmp_path / "chrome"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with (
        connect_runner(browser_target(program=str(program), open_timeout_s=2.0)) as device,
        pytest.raises(error, match=says),
    ):
        run_request(device, {"do": "info", "runtimes": []}, idle_timeout_s=5)
    assert nothing_is_left()


def test_nobody_opens_the_page(browser_target: Callable[..., Target]) -> None:
    with connect_runner(browser_target(start=False, open_timeout_s=0.5)) as device:
        with pytest.raises(UnreachableDeviceError, match=r"was not opened within 0.5 s") as caught:
            run_request(device, {"do": "info", "runtimes": []}, idle_timeout_s=5)
        assert "Open http://127.0.0.1:" in caught.value.remedy
        assert (device.conditions().load_1min, device.ask_boot_id(), device.holder()) == (None, "", None)


def test_a_page_that_a_person_opens_is_measured_again_and_again_until_it_is_closed(
    browser_target: Callable[..., Target], float32: Artifact
) -> None:
    """Playwright is the person. Meanwhile a page from elsewhere, which knows even the address, gets nothing."""
    with chromium() as browser, connect_runner(browser_target(LONG, start=False)) as device:
        url = str(device.invitation).rpartition(" ")[2]
        tab = browser.new_context().new_page()
        tab.goto(url)
        stranger = browser.new_context().new_page()
        stranger.goto("data:text/html,<p>elsewhere")
        refused = stranger.evaluate(
            """(url) => new Promise((resolve) => {
                const socket = new WebSocket(url.replace("http:", "ws:") + "lines");
                socket.onopen = () => resolve("open");
                socket.onerror = () => resolve("refused");
            })""",
            url,
        )
        assert refused == "refused"
        said: list[Any] = []

        def twice_then_close() -> None:
            """Playwright belongs to one thread: this one measures."""
            try:
                said.extend(verify(device, float32, push=True) for _ in range(2))
                measure_until(device, float32, "warmup", closing.set)
            except Exception as error:  # judged below
                said.append(error)

        closing = threading.Event()
        measuring = threading.Thread(target=twice_then_close)
        measuring.start()
        end = time.monotonic() + 120
        while not closing.is_set() and measuring.is_alive() and time.monotonic() < end:
            tab.wait_for_timeout(50)
        tab.close()
        measuring.join(60)
        first, second, lost = said
    assert first.passed
    assert second.passed
    assert isinstance(lost, ConnectionLostError), lost
    assert "was closed, crashed or lost its network while running the runner" in lost.what


@pytest.fixture
def address() -> Iterator[str]:
    """An address of this machine that is none of loopback's, as one in a network is: pages from it are not secure."""
    own = "198.51.100.43"
    subprocess.run(["ip", "address", "add", f"{own}/32", "dev", "lo"], check=True)
    yield own
    subprocess.run(["ip", "address", "del", f"{own}/32", "dev", "lo"], check=True)


def test_a_page_from_the_network_is_measured_by_a_coarse_clock(
    browser_target: Callable[..., Target], float32: Artifact, address: str
) -> None:
    """Neither isolated nor secure: no memory figure, no sha256 in the page, and 100 µs a step."""
    with chromium() as browser, connect_runner(browser_target(start=False, listen=address)) as device:
        tab = browser.new_context().new_page()
        tab.goto(str(device.invitation).rpartition(" ")[2])
        said: list[Any] = []
        measuring = threading.Thread(target=lambda: said.append(bench(device, float32, threads=1, blocks=2)))
        measuring.start()
        end = time.monotonic() + 120
        while measuring.is_alive() and time.monotonic() < end:
            tab.wait_for_timeout(50)
        measuring.join(10)
    (run,) = said
    assert run.context.execution == "page loaded anew"
    for block in run.blocks:
        assert block.before.values["clock_resolution_ns"] == 100_000
        assert block.before.values["cross_origin_isolated"] is False
        assert block.before.values["cpu_model"] is None
        assert block.invokes_per_sample > 20
        assert block.page_memory is not None
        assert block.page_memory.bytes is None
        assert "cross-origin isolated" in (block.page_memory.because or "")

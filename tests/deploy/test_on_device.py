"""edgekit-device: which artifact an application loads, and how it falls back by itself. Real processes, real stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.deploy import deploy, rollback, status
from edgekit.deploy.on_device import Links, NoModelError, StoreError, links, open_model, record
from edgekit.deploy.on_device.model import roll_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from edgekit.devices import Device

pytestmark = pytest.mark.device


@pytest.fixture
def device(local_target: Any) -> Any:
    from edgekit.devices import connect

    with connect(local_target) as connected:
        yield connected


@pytest.fixture
def two(device: Device, make_artifact: Callable[..., Artifact]) -> tuple[Artifact, Artifact]:
    """An old and a new artifact of one model; the new one is current."""
    old, new = make_artifact(payload=b"old" * 1000), make_artifact(payload=b"new" * 1000)
    deploy(device, old)
    deploy(device, new)
    return old, new


def program(device: Device) -> str:
    return device.path("bin", "edgekit-device.pyz")


def tool(device: Device, *arguments: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, program(device), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return (done.stdout if code == 0 else done.stderr).strip()


def dies_while_loading(device: Device, then: str = "os.kill(os.getpid(), 9)") -> int:
    """An application that imports the program as an application does, opens the model, and dies."""
    text = f"import os, sys; sys.path.insert(0, {program(device)!r}); import edgekit_device\n"
    text += f"model = edgekit_device.open_model('tiny'); print(model.artifact_id); sys.stdout.flush(); {then}"
    return subprocess.run([sys.executable, "-c", text], capture_output=True, timeout=60).returncode


def test_an_application_finds_the_current_artifact_by_itself(device: Device, two: tuple[Artifact, Artifact]) -> None:
    old, new = two
    assert tool(device, "current", "tiny") == f"{device.root}/store/{new.id}/payload/model.tflite"
    text = f"import sys; sys.path.insert(0, {program(device)!r}); import edgekit_device as e\n"
    text += (
        "with e.open_model('tiny') as m: print(open(m.payload, 'rb').read(3), m.manifest['model'], m.fell_back_from)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["b'new'", "tiny", "None"], done.stderr
    assert links.read(device.root, "tiny") == Links(new.id, old.id)
    assert status(device)[0].failures == 0, "an application that ends well has not failed"


def test_crashes_before_it_is_healthy_are_counted_and_the_third_start_falls_back(
    device: Device, two: tuple[Artifact, Artifact]
) -> None:
    old, new = two
    for _ in range(3):
        assert dies_while_loading(device) == -signal.SIGKILL
    model = open_model("tiny", device.root)
    assert (model.artifact_id, model.fell_back_from) == (old.id, new.id)
    (seen,) = status(device)
    assert (seen.current_id, seen.previous_id, seen.fell_back_from) == (old.id, new.id, new.id)
    assert [e.kind for e in seen.log][-4:] == ["failed", "failed", "failed", "fell-back"]
    assert "ended before it was healthy" in seen.log[-2].detail


def test_a_healthy_start_makes_a_later_crash_not_the_models(device: Device, two: tuple[Artifact, Artifact]) -> None:
    for _ in range(4):
        dies_while_loading(device, "model.healthy(); os.kill(os.getpid(), 9)")
    assert open_model("tiny", device.root).artifact_id == two[1].id


def test_a_start_that_still_loads_is_no_failure(device: Device, two: tuple[Artifact, Artifact]) -> None:
    text = f"import sys; sys.path.insert(0, {program(device)!r}); import edgekit_device, time\n"
    text += "edgekit_device.open_model('tiny'); print('.', flush=True); time.sleep(60)"
    loading = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    try:
        assert loading.stdout is not None
        loading.stdout.readline()
        for _ in range(4):
            with open_model("tiny", device.root):
                pass
        assert status(device)[0].failures == 0
    finally:
        loading.kill()
        loading.wait()
    with open_model("tiny", device.root):
        assert status(device)[0].failures == 1


def test_a_restart_of_the_device_before_it_was_healthy_is_a_failure(
    device: Device, two: tuple[Artifact, Artifact]
) -> None:
    """The mark is of another boot, and its process id is that of a living process."""
    trying = Path(device.path("models/tiny/trying"))
    trying.mkdir()
    (trying / "1").write_text(f"{two[1].id} 6d2c1e1e-0000-0000-0000-000000000000/77\n")
    open_model("tiny", device.root).healthy()
    (seen,) = status(device)
    assert (seen.failures, seen.log[-1].detail) == (1, "the device restarted before it was healthy")


def test_a_supervisor_that_starts_it_again_counts_the_start_before(
    device: Device, two: tuple[Artifact, Artifact]
) -> None:
    """The shell that runs the application in a loop lives on; the application did not become healthy."""
    run = f"'{sys.executable}' \"$1\""
    loop = f"for _ in 1 2 3 4; do {run} start tiny || exit 1; done"
    done = subprocess.run(["sh", "-c", loop, "sh", program(device)], capture_output=True, text=True, timeout=60)
    assert [Path(line).parts[-3] for line in done.stdout.splitlines()] == [two[1].id] * 3 + [two[0].id], done.stderr
    loop = f"for _ in 1 2 3 4; do {run} start tiny && {run} healthy tiny; done"
    rollback(device, "tiny")
    done = subprocess.run(["sh", "-c", loop, "sh", program(device)], capture_output=True, text=True, timeout=60)
    assert {Path(line).parts[-3] for line in done.stdout.splitlines()} <= {two[1].id}, done.stderr
    assert status(device)[0].failures == 0


def test_reported_failures_count_and_the_supervisor_is_told_what_to_load(
    device: Device, two: tuple[Artifact, Artifact]
) -> None:
    old, new = two
    for told in ("slow: 210 ms", "it said\nNaN\t!"):
        assert new.id in tool(device, "failed", "tiny", told)
    assert old.id in tool(device, "failed", "tiny", "crashed again")
    document = json.loads(tool(device, "status"))["models"][0]
    assert (document["current"], document["left_behind"]) == (old.id, [new.id])
    assert [entry["detail"] for entry in document["log"][-4:-1]] == ["slow: 210 ms", "it said NaN !", "crashed again"]


def test_it_never_goes_back_and_forth(device: Device, two: tuple[Artifact, Artifact]) -> None:
    """Both fail: the second is not fallen back from to the first, which was left."""
    old, _ = two
    model = open_model("tiny", device.root, max_failures=1)
    assert model.failed("bad") == old.id
    worse = open_model("tiny", device.root, max_failures=1)
    assert worse.failed("bad as well") is None
    assert worse.failed("and again") is None
    (seen,) = status(device)
    assert seen.current_id == old.id
    assert [e.kind for e in seen.log].count("no-fallback") == 2, "once a failure that asks for one"


def test_people_may_go_back_to_what_was_left(
    device: Device, two: tuple[Artifact, Artifact], make_artifact: Callable[..., Artifact]
) -> None:
    old, new = two
    open_model("tiny", device.root, max_failures=1).failed("bad")
    assert rollback(device, "tiny").artifact_id == new.id
    assert status(device)[0].fell_back_from is None
    assert open_model("tiny", device.root).artifact_id == new.id
    assert roll_back(device.root, "tiny") == Links(old.id, new.id)
    deploy(device, new)
    assert open_model("tiny", device.root, max_failures=1).failed("bad") == old.id


def test_old_failures_are_forgotten(device: Device, two: tuple[Artifact, Artifact]) -> None:
    log = Path(device.path("models/tiny/log"))
    with log.open("a") as file:
        file.writelines(f"{int(time.time()) - 90_000}\tfailed\t{two[1].id}\tlong ago\n" for _ in range(5))
    assert open_model("tiny", device.root).artifact_id == two[1].id
    assert open_model("tiny", device.root, within_s=100_000).artifact_id == two[0].id


def test_a_damaged_current_artifact_is_left_at_the_start(device: Device, two: tuple[Artifact, Artifact]) -> None:
    manifest = Path(device.path("store", two[1].id, "manifest.json"))
    manifest.chmod(0o644)
    manifest.write_text("{}")
    assert open_model("tiny", device.root).artifact_id == two[0].id


def test_a_damaged_previous_artifact_is_no_fallback(device: Device, two: tuple[Artifact, Artifact]) -> None:
    Path(device.path("store", two[0].id, "payload/model.tflite")).unlink()
    model = open_model("tiny", device.root, max_failures=1)
    assert model.failed("bad") is None
    assert "damaged" in tool(device, "rollback", "tiny", code=1)
    assert links.read(device.root, "tiny") == Links(two[1].id, two[0].id)


def test_no_model_to_load_is_told_apart_from_errors(device: Device, two: tuple[Artifact, Artifact]) -> None:
    assert "it has tiny" in tool(device, "start", "other", code=4)
    assert "is not a model's name" in tool(device, "start", "../tiny", code=1)
    with pytest.raises(NoModelError):
        open_model("other", device.root)
    with pytest.raises(StoreError):
        open_model("tiny/../tiny", device.root)


def test_a_store_that_cannot_be_written_still_gives_its_model(
    small_disk: Path, device: Device, two: tuple[Artifact, Artifact]
) -> None:
    """The disk is full: the application must start, and its failures may go unrecorded."""
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk}/filler", "bs=4096"], capture_output=True)
    for _ in range(4):
        model = open_model("tiny", device.root, max_failures=1)
        assert model.artifact_id == two[1].id
        assert model.failed("bad") in (None, two[0].id)
        assert links.read(device.root, "tiny").current in (two[0].id, two[1].id)
        model.healthy()


def test_the_log_stays_small_and_survives_torn_lines(device: Device, two: tuple[Artifact, Artifact]) -> None:
    folder = device.path("models/tiny")
    for index in range(700):
        record.append(folder, "failed", two[1].id, f"{index} " + "x" * 400)
    log = Path(folder, "log")
    assert log.stat().st_size <= 65536
    assert record.read(folder)[-1].detail.startswith("699 ")
    with log.open("ab") as file:
        file.write(b"1790000000\tfail")
    record.append(folder, "failed", two[1].id, "joined to the torn one")
    record.append(folder, "failed", two[1].id, "after it")
    assert record.read(folder)[-1].detail == "after it"
    assert record.parse("x\n\n\t\t\n99\tinvented\t" + "0" * 64 + "\t\n") == []


def test_the_host_and_the_device_do_not_switch_at_the_same_time(
    device: Device, two: tuple[Artifact, Artifact], make_artifact: Callable[..., Artifact]
) -> None:
    mark = Path(device.path("models/tiny/switching"))
    with links.switching(device.root, "tiny"):
        assert mark.is_dir()
        began = time.monotonic()
        with pytest.raises(Exception, match="another program is switching the links"):
            deploy(device, make_artifact(payload=b"third"))
        assert time.monotonic() - began < 30
    assert not mark.exists()
    mark.mkdir()
    os.utime(mark, (time.time() - 180, time.time() - 180))
    deploy(device, make_artifact(payload=b"third"))
    assert not mark.exists(), "what a crash left is not waited for"


CRASH = """
import os, sys
sys.path.insert(0, {program!r})
import edgekit_device.__main__ as tool
steps = 0
def step(event, arguments):
    global steps
    if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.symlink"):
        steps += 1
        if steps == {at}:
            os.kill(os.getpid(), 9)
sys.addaudithook(step)
sys.exit(tool.main(["edgekit-device", "--root", {root!r}, *{arguments!r}]))
"""


@pytest.mark.parametrize("arguments", [("rollback", "tiny"), ("failed", "tiny", "bad", "--max-failures", "1")])
def test_killed_at_every_step_of_a_switch_on_the_device(
    device: Device, two: tuple[Artifact, Artifact], arguments: tuple[str, ...]
) -> None:
    """Whatever the step: both artifacts are still found, in one order or the other, and the next attempt works."""
    old, new = two
    before, after = Links(new.id, old.id), Links(old.id, new.id)
    seen = []
    for at in range(1, 200):
        log = Path(device.path("models/tiny/log"))
        log.unlink(missing_ok=True)
        text = CRASH.format(program=program(device), at=at, root=device.root, arguments=list(arguments))
        code = subprocess.run([sys.executable, "-c", text], capture_output=True, timeout=60).returncode
        found = links.read(device.root, "tiny")
        assert found in (before, after), at
        assert [(m.current_id, m.previous_id, m.whole) for m in status(device)] == [(*found, True)]
        seen.append(found)
        if code == 0:
            break
        assert code == -signal.SIGKILL, code
        mark = Path(device.path("models/tiny/switching"))
        if mark.exists():
            os.utime(mark, (0, 0))
        for _ in range(1 if found == after else 2):
            roll_back(device.root, "tiny")
        assert links.read(device.root, "tiny") == before
        assert not mark.exists()
    else:
        pytest.fail("it never came to its end")
    assert at > 10
    assert set(seen) == {before, after}
    told = f"{seen[:-1].count(before)} times before the switch, {seen[:-1].count(after)} times after it"
    print(f"edgekit-device {arguments[0]}: {at - 1} kills; found {told}")  # noqa: T201 - the figures of the docs: pytest -s

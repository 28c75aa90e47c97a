"""Pushing again: only what changed, on after a cut, and never believing what was not hashed on the device."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.devices import Device, Target, adb, assembling, connect
from edgekit.devices.assembling import Assembled, Assembling
from edgekit.devices.progress import Expected, Progress
from edgekit.devices.sending import send
from edgekit.devices.source import whole
from edgekit.devices.store import Store
from edgekit.errors import ConnectionLostError, DeviceError, DeviceStorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cut_proxy import CutProxy

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.device

Make = "Callable[..., Artifact]"


@pytest.fixture(autouse=True)
def _large_files_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ones are hashed while they arrive; over ADB, small ones go by a protocol that removes what a cut leaves."""
    monkeypatch.setattr(adb, "_SYNC_BYTES", 0)
    monkeypatch.setattr(adb, "_SYNC_S", 0)
    monkeypatch.setattr(adb, "_PROBE_BYTES", 1000)
    monkeypatch.setattr(assembling, "MIN_BYTES", 1 << 16)
    monkeypatch.setattr(assembling, "_MORE_BYTES", 1 << 17)
    monkeypatch.setattr(assembling, "_FLUSH_BYTES", 1 << 20)


def noise(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


def there(device: Device, artifact: Artifact) -> Path:
    return Path(Store(device).artifact_path(artifact.id))


def assert_whole(device: Device, artifact: Artifact) -> None:
    """Equal to the byte, and nothing left over."""
    for entry in artifact.shipped_files():
        assert (there(device, artifact) / entry.path).read_bytes() == (artifact.path / entry.path).read_bytes()
    assert list(Path(device.path("tmp")).iterdir()) == []
    assert not Path(device.path("lock")).exists()


def size_of(artifact: Artifact) -> int:
    return sum(entry.bytes for entry in artifact.shipped_files())


PAYLOAD = noise(3_000_000)
on_this_machine = pytest.mark.parametrize("target", ["local"], indirect=True)
"""For what does not depend on the transport."""


def spread(content: bytes, places: int, each: int) -> bytes:
    changed = bytearray(content)
    for place in range(places):
        begin = place * len(content) // places + 12_345
        changed[begin : begin + each] = noise(each, seed=place + 100)
    return bytes(changed)


@pytest.mark.parametrize(
    ("change", "at_most"),
    [
        (lambda content: content[:1_500_000] + noise(30_000, 2) + content[1_530_000:], 250_000),
        (lambda content: spread(content, 10, 6_000), 800_000),
        (lambda content: content[:1_000_001] + b"inserted" + content[1_000_001:], 200_000),
        (lambda content: content[:2_500_000], 150_000),
    ],
    ids=["one place", "ten places", "insertion", "truncation"],
)
def test_only_what_changed_is_sent(
    device: Device, make_artifact: Make, change: Callable[[bytes], bytes], at_most: int
) -> None:
    old, new = make_artifact(payload=PAYLOAD), make_artifact(payload=change(PAYLOAD))
    Store(device).push(old)
    plans: list[Expected] = []
    told: list[int] = []
    done = Store(device).push(new, Progress(told.append, plans.append))
    assert done.sent_bytes < at_most
    assert done.reused_bytes > 1_900_000
    assert [plan.reused_bytes for plan in plans] == [done.reused_bytes]
    assert sum(told) == plans[0].new_bytes == done.sent_bytes
    assert_whole(device, new)
    assert_whole(device, old)
    again = Store(device).push(new)
    assert (again.sent_bytes, again.reused_bytes, again.already_there) == (0, 0, True)


@on_this_machine
def test_a_store_without_chunk_lists_still_gives_whole_files(device: Device, make_artifact: Make) -> None:
    """What an older EdgeKit left: manifests, but no lists."""
    golden = {"golden/large.npy": noise(500_000, 5)}
    old, new = make_artifact(payload=PAYLOAD[:300_000], more=golden), make_artifact(payload=b"new", more=golden)
    Store(device).push(old)
    (there(device, old) / "chunks").unlink()
    done = Store(device).push(new)
    assert done.reused_bytes >= 500_000
    assert done.sent_bytes < 20_000
    assert_whole(device, new)


@on_this_machine
def test_a_damaged_file_is_repaired_by_what_else_is_there(device: Device, make_artifact: Make) -> None:
    artifact = make_artifact(payload=PAYLOAD, more={"golden/large.npy": noise(500_000, 5)})
    Store(device).push(artifact)
    damaged = there(device, artifact) / "golden/large.npy"
    damaged.chmod(0o644)
    damaged.write_bytes(b"?" * 500_000)
    done = Store(device).push(artifact)
    assert 500_000 <= done.sent_bytes < 520_000
    assert_whole(device, artifact)


@on_this_machine
def test_a_device_that_lies_of_what_it_has_gets_everything_and_is_not_asked_again(
    device: Device, make_artifact: Make
) -> None:
    old, new = make_artifact(payload=PAYLOAD), make_artifact(payload=PAYLOAD + b"more")
    Store(device).push(old)
    lie = there(device, old) / "payload/model.tflite"
    lie.chmod(0o644)
    lie.write_bytes(noise(len(PAYLOAD), 99))
    plans: list[Expected] = []
    done = Store(device).push(new, Progress(on_plan=plans.append))
    assert [plan.reused_bytes > 0 for plan in plans] == [True, False]
    assert done.sent_bytes > len(PAYLOAD)
    assert done.reused_bytes == 0
    assert_whole(device, new)
    assert not (there(device, old) / "chunks").exists()


@pytest.mark.parametrize(
    "lie",
    [
        b"",
        b"\0\xff" * 1000,
        b"edgekit chunks 1\n" + b"131072 " + b"0" * 32 + b"\n",
        b"edgekit chunks 1\n= artifact ../../../etc\n= partial ../../../../etc/pa 9\n= ready x ../..\n",
        b"edgekit chunks 1\n" + b"1 0123456789abcdef0123456789abcdef\n" * 100_000,
    ],
    ids=["empty", "binary", "too short", "injected", "long"],
)
def test_a_chunk_list_that_is_none_costs_bytes_and_nothing_else(
    local_target: Target, make_artifact: Make, lie: bytes
) -> None:
    old, new = make_artifact(payload=PAYLOAD[:200_000]), make_artifact(payload=PAYLOAD[:200_000] + b"more")
    with connect(local_target) as device:
        Store(device).push(old)
        listed = there(device, old) / "chunks"
        listed.chmod(0o644)
        listed.write_bytes(lie)
        assert Store(device).push(new).sent_bytes > 200_000
        assert_whole(device, new)


@pytest.mark.parametrize("seed", range(4))
def test_a_push_goes_on_after_a_cut_anywhere(
    proxied_target: Target, proxy: CutProxy, make_artifact: Make, seed: int
) -> None:
    """Half of them begin with an older artifact there, so that files are put together from copies."""
    chance = random.Random(seed)
    old, new = make_artifact(payload=PAYLOAD), make_artifact(payload=spread(PAYLOAD, 8, 75_000) + noise(450_000, 4))
    with connect(proxied_target) as device:
        if seed % 2:
            Store(device).push(old)
        whole_bytes = Store(device).push(new).sent_bytes
        shutil.rmtree(there(device, new))
    with connect(proxied_target) as device:
        proxy.cut_after_bytes = proxy.passed_bytes + chance.randrange(10_000, int(whole_bytes * 1.02))
        try:
            Store(device).push(new)
        except ConnectionLostError:
            assert not there(device, new).exists()
    proxy.cut_after_bytes = None
    with connect(proxied_target) as device:
        before = Path(device.path("tmp")).glob("*/pack")
        arrived = sum(pack.stat().st_size for pack in before)
        done = Store(device).push(new)
        assert done.resumed_bytes > arrived - 140_000 - size_of(new) * 0.001
        assert done.sent_bytes <= whole_bytes - done.resumed_bytes + 300_000
        assert_whole(device, new)


@on_this_machine
@pytest.mark.parametrize("step", ["assemble", "publish"])
@pytest.mark.parametrize("is_changed", [False, True], ids=["first", "changed"])
def test_a_push_goes_on_after_a_cut_before_or_after_the_device_put_files_together(
    device: Device, make_artifact: Make, monkeypatch: pytest.MonkeyPatch, is_changed: bool, step: str
) -> None:
    old, new = make_artifact(payload=PAYLOAD), make_artifact(payload=spread(PAYLOAD, 8, 75_000))
    if is_changed:
        Store(device).push(old)

    def cut(*_: object) -> None:
        raise device.transport.connection_lost("testing", "cut")

    with monkeypatch.context() as patch:
        if step == "assemble":
            patch.setattr(Assembling, "finish", cut)
        else:
            patch.setattr(assembling, "ASSEMBLE", assembling.ASSEMBLE.replace('publish "$root"', "exit 1; publish"))
        with pytest.raises(DeviceError):
            Store(device).push(new)
        assert not there(device, new).exists()
    done = Store(device).push(new)
    assert done.sent_bytes == 0
    assert_whole(device, new)


@on_this_machine
def test_half_an_assembly_is_no_loss(device: Device, make_artifact: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device dies while it appends to what a first cut had left."""
    new = make_artifact(payload=PAYLOAD)
    cut_after(device, new, 2_000_000)
    finish = Assembling.finish

    def half(self: Assembling) -> Assembled:
        steps = max(Path(device.path("tmp")).glob("*/plan"), key=lambda path: path.stat().st_mtime_ns)
        lines = steps.read_text().splitlines()
        steps.write_text("\n".join(lines[:-1]) + "\n")
        return finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(Assembling, "finish", half)
        with pytest.raises(DeviceError):
            Store(device).push(new)
    done = Store(device).push(new)
    assert done.sent_bytes < 150_000
    assert_whole(device, new)


class CutError(Exception):
    """Ends a push from inside."""


def cut_after(device: Device, artifact: Artifact, count: int) -> None:
    """Begins a push and leaves it after so many bytes."""
    sent = 0

    def told(more: int) -> None:
        nonlocal sent
        sent += more
        if sent >= count:
            raise CutError

    with pytest.raises(CutError):
        Store(device).push(artifact, Progress(told))


def test_what_another_host_left_is_used_for_another_artifact(target: Target, make_artifact: Make) -> None:
    first, second = make_artifact(payload=PAYLOAD), make_artifact(payload=noise(50_000, 3) + PAYLOAD)
    with connect(target) as one, connect(target) as other:
        cut_after(one, first, 2_000_000)
        done = Store(other).push(second)
        assert done.resumed_bytes > 1_700_000
        assert_whole(other, second)


def test_what_was_left_and_changed_since_is_not_used(device: Device, make_artifact: Make) -> None:
    artifact = make_artifact(payload=PAYLOAD)
    cut_after(device, artifact, 2_000_000)
    (pack,) = Path(device.path("tmp")).glob("*/pack")
    with pack.open("r+b") as file:
        file.seek(100_000)
        file.write(b"changed")
    done = Store(device).push(artifact)
    assert done.resumed_bytes == 0
    assert_whole(device, artifact)


@on_this_machine
def test_strangers_files_in_the_way_are_cleared(device: Device, make_artifact: Make) -> None:
    tmp = Path(device.path("tmp"))
    (tmp / "0123456789abcdef").mkdir(parents=True)
    (tmp / "0123456789abcdef" / "pack").write_bytes(b"of an older EdgeKit")
    (tmp / "a b $(touch pwned)").mkdir()
    for number in range(3):
        (tmp / f"fedcba987654321{number}").mkdir()
        (tmp / f"fedcba987654321{number}" / "plan").write_bytes(
            [b"", b"\xff" * 5000, b"edgekit chunks 1\n1 zz"][number]
        )
        (tmp / f"fedcba987654321{number}" / "pack").write_bytes(b"x" * 1000)
    (tmp / "fedcba9876543211" / "ready").write_text("store/../../etc\n")
    shutil.copytree(tmp / "fedcba9876543211", tmp / "fedcba9876543214")
    artifact = make_artifact(payload=PAYLOAD[:100_000])
    done = Store(device).push(artifact)
    assert (done.resumed_bytes, done.reused_bytes) == (0, 0)
    assert_whole(device, artifact)


@on_this_machine
def test_what_cut_uploads_left_does_not_pile_up(device: Device, make_artifact: Make) -> None:
    for seed in range(7):
        cut_after(device, make_artifact(payload=noise(300_000, seed + 50)), 1)
    left = list(Path(device.path("tmp")).iterdir())
    assert len(left) == 5
    a_week_ago = time.time() - 7 * 86400
    for folder in left:
        os.utime(folder / "plan", (a_week_ago, a_week_ago))
    artifact = make_artifact()
    Store(device).push(artifact)
    assert_whole(device, artifact)


@on_this_machine
def test_what_cut_uploads_left_makes_room(small_disk: Path, device: Device, make_artifact: Make) -> None:
    cut_after(device, make_artifact(payload=noise(600_000, 8)), 600_000)
    artifact = make_artifact(payload=PAYLOAD[:700_000])
    Store(device).push(artifact)
    assert_whole(device, artifact)


@on_this_machine
def test_two_large_files_fit_where_they_do_not_fit_twice(small_disk: Path, device: Device, make_artifact: Make) -> None:
    artifact = make_artifact(
        payload=PAYLOAD[:300_000], more={"payload/b": noise(250_000, 2), "payload/c": b"", "x": PAYLOAD[:150_000]}
    )
    Store(device).push(artifact)
    assert_whole(device, artifact)


@pytest.mark.parametrize("target", ["local", "ssh"], indirect=True)
def test_a_host_that_is_killed_goes_on_when_it_is_back(target: Target, make_artifact: Make) -> None:
    artifact = make_artifact(payload=PAYLOAD)
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nimport msgspec\n"
        "from edgekit.artifact import open_artifact\nfrom edgekit.devices import Target, connect\n"
        "from edgekit.devices.store import Store\nfrom edgekit.devices.progress import Progress\n"
        "sent = 0\n"
        "def told(count):\n    global sent\n    sent += count\n"
        "    if sent >= 2_700_000: os.kill(os.getpid(), signal.SIGKILL)\n"
        "device = connect(msgspec.json.decode(sys.argv[1], type=Target))\n"
        "Store(device).push(open_artifact(Path(sys.argv[2])), Progress(told))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, msgspec.json.encode(target).decode(), str(artifact.path)])
    assert done.returncode == -signal.SIGKILL
    with connect(target) as device:
        resumed = Store(device).push(artifact)
        assert resumed.resumed_bytes > 500_000
        assert resumed.sent_bytes < 2_500_000
        assert_whole(device, artifact)


def test_a_disk_that_is_full_while_files_are_put_together(
    small_disk: Path, device: Device, make_artifact: Make
) -> None:
    old, new = make_artifact(payload=PAYLOAD[:300_000]), make_artifact(payload=PAYLOAD[:300_000] + noise(40_000, 3))
    Store(device).push(old)
    filler = small_disk / "filler"

    def fill(_: int) -> None:
        if not filler.exists():
            filler.write_bytes(b"x" * max(0, shutil.disk_usage(small_disk).free - 150_000))

    with pytest.raises(DeviceStorageError, match="no space left"):
        Store(device).push(new, Progress(fill))
    assert_whole(device, old)
    filler.unlink()
    assert Store(device).push(new).reused_bytes > 200_000
    assert_whole(device, new)


@on_this_machine
def test_a_store_that_is_deleted_underneath(device: Device, make_artifact: Make) -> None:
    old, new = make_artifact(payload=PAYLOAD[:300_000]), make_artifact(payload=PAYLOAD[:300_000] + noise(40_000, 3))
    Store(device).push(old)
    with pytest.raises(DeviceError):
        Store(device).push(new, Progress(lambda _: shutil.rmtree(device.root)))
    Store(device).push(new)
    assert_whole(device, new)


@on_this_machine
def test_artifacts_that_go_away_meanwhile_are_made_up_for(device: Device, make_artifact: Make) -> None:
    old, new = make_artifact(payload=PAYLOAD[:300_000]), make_artifact(payload=PAYLOAD[:300_000] + noise(40_000, 3))
    Store(device).push(old)
    done = Store(device).push(new, Progress(lambda _: shutil.rmtree(there(device, old), ignore_errors=True)))
    assert done.sent_bytes > 340_000
    assert_whole(device, new)


def test_a_slow_link_gets_compressed_bytes(proxied_target: Target, proxy: CutProxy, make_artifact: Make) -> None:
    payload = bytes(byte & 15 for byte in PAYLOAD)
    artifact = make_artifact(payload=payload)
    with connect(proxied_target) as device:
        proxy.bytes_per_s = 4e6
        before = proxy.passed_bytes
        told: list[int] = []
        done = Store(device).push(artifact, Progress(told.append))
        proxy.bytes_per_s = None
        assert done.compressed
        assert done.sent_bytes < 0.8 * len(payload)
        assert proxy.passed_bytes - before < 0.85 * len(payload)
        assert sum(told) > len(payload)
        assert_whole(device, artifact)


def test_a_compressed_push_goes_on_after_a_cut(proxied_target: Target, proxy: CutProxy, make_artifact: Make) -> None:
    artifact = make_artifact(payload=bytes(byte & 15 for byte in PAYLOAD))
    with connect(proxied_target) as device:
        proxy.bytes_per_s = 4e6
        proxy.cut_after_bytes = proxy.passed_bytes + 1_700_000
        with pytest.raises(ConnectionLostError):
            Store(device).push(artifact)
        proxy.bytes_per_s = None
    with connect(proxied_target) as device:
        assert Store(device).push(artifact).resumed_bytes > 700_000
        assert_whole(device, artifact)


def test_what_does_not_shrink_is_not_compressed(device: Device, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PAYLOAD)
    sent = send(
        device.transport, whole(tmp_path / "file"), device.path("x"), can_unpack=True, on_bytes=lambda _: None, step="x"
    )
    assert (sent.bytes, sent.compressed) == (len(PAYLOAD), False)
    assert Path(device.path("x")).read_bytes() == PAYLOAD


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_copies_and_a_continued_upload_with_few_tools(
    local_target: Target, make_artifact: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    if shell == "busybox":
        subprocess.run([str(shutil.which("busybox")), "--install", "-s", str(bare)], check=True)
        monkeypatch.setenv("PATH", str(bare))
    else:
        (bare / "sh").symlink_to(str(shutil.which("dash")))
        monkeypatch.setenv("PATH", f"{bare}:{os.environ['PATH']}")
    with connect(local_target) as device:
        old, new = make_artifact(payload=PAYLOAD), make_artifact(payload=spread(PAYLOAD, 10, 6_000))
        cut_after(device, old, 2_000_000)
        assert Store(device).push(old).resumed_bytes > 1_700_000
        assert_whole(device, old)
        assert Store(device).push(new).reused_bytes > 2_000_000
        assert_whole(device, new)

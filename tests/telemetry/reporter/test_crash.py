"""Killed programs, torn writes, full disks: no sealed window is lost or doubled, whatever happens when.

`EDGEKIT_CRASHES` sets how many points are tried; benchmarks/reporter_crash.py runs 1,000 of each kind.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.telemetry.reporter import Reporter, wire
from edgekit.telemetry.reporter.journal import Journal, record, records_in
from edgekit.telemetry.reporter.outbox import Outbox, key_of
from edgekit.telemetry.reporter.reference import LATENCY
from edgekit.telemetry.reporter.window import FeatureCounts, Window
from tests.telemetry.reporter.models import tabular

CRASHES = int(os.environ.get("EDGEKIT_CRASHES", "30"))


def window(seq: int, n: int = 10, boot: str = "00" * 16, cells: int = 40, **fields: object) -> Window:
    """A window of n inferences, all in one cell."""
    counts = FeatureCounts((n, *(0,) * (cells - 1)), min=0.0, max=1.0, mean=0.5, m2=1.0)
    made = Window("dev-1", boot, seq, "m", "", "ab" * 32, seq * 10, seq * 10 + 9, 9, inferences=n, features=(counts,))
    return made._replace(**fields)


def read(outbox: Outbox) -> list[Window]:
    return [wire.decode(frame) for _, frame in outbox.sealed()]


def kill_at(state: Path, delay_s: float) -> tuple[int, int, int]:
    """Starts the child and kills it `delay_s` after its first word; what it had sealed and written, as it said."""
    command = [sys.executable, "-m", "tests.telemetry.reporter.crash_child", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        lines = (first + child.stdout.read()).decode().splitlines()
    sealed = max([int(line[2:]) for line in lines if line[0] == "s"], default=0)
    return sealed, max(int(line[2:]) for line in lines), len(lines)


def one_kill(state: Path, delay_s: float) -> None:
    """Kills a program, and accounts for everything that it said it had done."""
    before = sum(w.inferences for w in read_state(state))
    sealed, done, _ = kill_at(state, delay_s)
    with Reporter.open(tabular(1), state=state, background=False):
        pass
    after = read_state(state)
    counted = sum(w.inferences for w in after) - before
    assert done <= counted <= done + 48, (sealed, done, counted)  # what was told is there; at most a step more
    assert len({w.key for w in after}) == len(after)
    assert all(w.features[0].n == w.inferences for w in after)


def read_state(state: Path) -> list[Window]:
    if not (state / "0" / "journal").exists():
        return []
    outbox = Outbox(str(state / "0"))
    found = read(outbox)
    outbox.close()
    return found


@pytest.mark.slow
def test_killed_programs_lose_no_sealed_window_and_no_checkpoint(tmp_path: Path) -> None:
    draw = random.Random(11)
    for i in range(max(1, CRASHES // 5)):
        state = tmp_path / str(i % 3)  # on top of what earlier ones left
        one_kill(state, draw.uniform(0, 0.25))


def script(outbox: Outbox, draw: random.Random, steps: int) -> dict[bytes, int]:
    """Random work on an outbox; what it holds afterwards, as inferences by key."""
    seq = 0
    for _ in range(steps):
        choice = draw.random()
        if choice < 0.4:
            outbox.checkpoint(window(seq, draw.randint(1, 200)))
        elif choice < 0.75:
            outbox.seal(window(seq, draw.randint(1, 200)))
            seq += 1
        elif choice < 0.9:
            keys = [key for key, _ in outbox.batch(600)]
            if draw.random() < 0.6:
                outbox.done(keys)
            elif draw.random() < 0.5:
                outbox.release()
        else:
            outbox.quarantine([key for key, _ in outbox.sealed()[:1]])
    return {key: wire.decode(frame).inferences for key, frame in outbox.sealed()}


def test_a_journal_cut_anywhere_is_some_earlier_state(tmp_path: Path) -> None:
    for seed in range(CRASHES):
        draw = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        outbox = Outbox(str(folder), queue_bytes=3000)
        states: list[tuple[int, int]] = []
        sealed = dropped = seq = 0
        for _ in range(25):
            if draw.random() < 0.3:
                outbox.checkpoint(window(seq, 5))
            elif draw.random() < 0.8:
                n = draw.randint(1, 300)
                outbox.seal(window(seq, n))
                sealed, seq = sealed + n, seq + 1
            else:
                batch = outbox.batch(400)
                outbox.done([key for key, _ in batch])
                dropped += sum(wire.decode(frame).inferences for _, frame in batch)
            states.append((outbox._journal.size, sealed - dropped))  # type: ignore[union-attr]
        outbox.close()
        journal = folder / "journal"
        whole = journal.read_bytes()
        cut = draw.randrange(len(whole) + 1)
        journal.write_bytes(whole[:cut] + (draw.randbytes(draw.randint(0, 40)) if draw.random() < 0.5 else b""))
        again = Outbox(str(folder), queue_bytes=1 << 30)
        found = read(again)
        open_n = 5 if any(w.inferences == 5 for w in found) else 0
        total = sum(w.inferences for w in found)
        possible = {n for size, n in states} | {0}
        assert total in possible or total - open_n in possible, (seed, cut, total)
        reached = [n for size, n in states if size <= cut]
        if reached:  # whatever was complete by then is there
            assert total in {n for size, n in states if size >= cut or n == reached[-1]} | {reached[-1] + open_n}
        assert len({key_of(w) for w in found}) == len(found)
        again.seal(window(9999, 7, boot="11" * 16))
        again.close()
        more = Outbox(str(folder), queue_bytes=1 << 30)
        assert sum(w.inferences for w in read(more)) == total + 7  # and the file can be appended to
        more.close()


def test_a_damaged_record_in_the_middle_costs_itself_only(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path))
    for seq in range(5):
        outbox.seal(window(seq))
    outbox.close()
    path = tmp_path / "journal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))
    assert [w.seq for w in read(Outbox(str(tmp_path)))] == [0, 1, 3, 4]


def test_records_within_records_are_not_taken_for_records() -> None:
    inner = record(2, b"inner")
    data = record(1, b"a" + inner + b"z") + record(3, b"") + inner[:-1]
    found, end = records_in(data)
    assert found == [(1, b"a" + inner + b"z"), (3, b"")]
    assert end == len(data) - len(inner) + 1


def test_work_on_an_outbox_is_what_a_restart_finds(tmp_path: Path) -> None:
    for seed in range(CRASHES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        outbox = Outbox(str(folder), queue_bytes=2500)
        expected = script(outbox, random.Random(seed), 60)
        attempted = list(outbox._attempted)
        outbox.close()
        again = Outbox(str(folder), queue_bytes=2500)
        found = {key: wire.decode(frame).inferences for key, frame in again.sealed()}
        for key in set(found) - set(expected):  # the open window of the last checkpoint
            assert list(found)[-1] == key
            del found[key]
        assert found == expected
        assert again._attempted == attempted
        again.close()


def test_thirty_days_offline_are_accounted_for(tmp_path: Path) -> None:
    folder = tmp_path
    outbox = Outbox(str(folder))
    observed = 0
    draw = random.Random(5)
    for hour in range(30 * 24):
        n = draw.randint(1, 4000)
        observed += n
        latency = FeatureCounts((n, *(0,) * (LATENCY.size - 1)), min=1.0, max=2.0, mean=1.5, m2=0.0)
        made = window(hour, n, cells=136, latency=latency)
        outbox.seal(made._replace(features=made.features * 10))
        assert outbox.size_bytes() <= 256 * 1024
    outbox.close()
    assert (folder / "journal").stat().st_size < 1024 * 1024
    found = read(Outbox(str(folder)))
    assert sum(w.inferences for w in found) == observed
    assert sum(w.coalesced + 1 for w in found) == 720
    assert all(w.features[9].n == w.inferences == w.latency.n for w in found)
    assert [w.start_ns for w in found] == sorted(w.start_ns for w in found)
    assert found[-1].coalesced == 0  # the youngest are as they were
    assert len(found) > 70


def test_windows_that_cannot_be_merged_are_accounted_for(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path), queue_bytes=1500)
    for seq in range(60):
        outbox.seal(window(seq, 10, labels=(("app", str(seq)),)))
    found = read(outbox)
    assert outbox.size_bytes() <= 1500
    assert sum(w.inferences + w.dropped for w in found) == 600
    outbox.close()


def test_attempted_windows_keep_their_names(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path), queue_bytes=2000)
    for seq in range(4):
        outbox.seal(window(seq))
    batch = outbox.batch(700)
    assert 1 <= len(batch) < 4
    for seq in range(4, 30):
        outbox.seal(window(seq))
    assert outbox.batch(10**9) == batch  # the same until their fate is known
    outbox.close()
    again = Outbox(str(tmp_path), queue_bytes=2000)  # and after a crash
    assert again.batch(10**9) == batch
    again.done([key for key, _ in batch])
    assert sum(w.inferences for w in read(again)) == (30 - len(batch)) * 10
    again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 96 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing_that_was_sealed_and_recovers(small_disk: Path) -> None:
    state = small_disk / "state"
    state.mkdir()
    outbox = Outbox(str(state))
    for seq in range(3):
        outbox.seal(window(seq))
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space") as full, filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert full.value.errno == errno.ENOSPC
    for seq in range(3, 40):
        outbox.checkpoint(window(seq, 3))
        outbox.seal(window(seq))
    assert "No space" in outbox.trouble
    assert len(read(outbox)) == 40  # in memory
    copy = small_disk.parent / "copy"
    shutil.copytree(state, copy)  # what a crash would find
    on_disk = read(Outbox(str(copy)))
    assert [w.seq for w in on_disk][:3] == [0, 1, 2]
    batch = outbox.batch(1200)  # a device with a full disk can still tell
    assert batch
    assert not (state / "spare").exists()
    outbox.done([key for key, _ in batch])
    filler.unlink()
    outbox.seal(window(40))
    assert outbox.trouble == ""
    outbox.close()
    again = Outbox(str(state))
    assert [w.seq for w in read(again)] == list(range(len(batch), 41))
    assert (state / "spare").exists()
    again.close()


def test_without_a_record_of_the_attempt_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(str(tmp_path))
    outbox.seal(window(0))
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", lambda *_: _fail())
        assert outbox.batch(10**6) == []
        assert "No space" in outbox.trouble
    assert len(outbox.batch(10**6)) == 1
    outbox.close()


def test_a_file_size_limit_is_no_end(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from edgekit.telemetry.reporter import Reporter
from tests.telemetry.reporter.models import tabular
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
reporter = Reporter.open(tabular(1), state=sys.argv[1], background=False, window_s=1e9)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
for _ in range(60):
    reporter.observe([0.0])
    reporter.flush(0, seal=True)
status = reporter.status()
assert "File too large" in status["trouble"], status
assert status["waiting"] == 60, status
reporter.close()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60, cwd=Path.cwd())
    kept = read_state(tmp_path)
    assert 10 < len(kept) < 60
    assert [w.seq for w in kept] == list(range(len(kept)))


def test_a_failed_append_is_taken_back(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    journal.append([(1, b"first")], sync=True)
    real = os.pwrite
    try:
        os.pwrite = lambda fd, data, at: real(fd, bytes(data)[:3], at) if at < 30 else _fail()  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space"):
            journal.append([(2, b"second")], sync=False)
    finally:
        os.pwrite = real
    journal.append([(3, b"third")], sync=False)
    journal.close()
    assert Journal(str(tmp_path / "journal")).records == [(1, b"first"), (3, b"third")]


def _fail() -> int:
    raise OSError(errno.ENOSPC, "No space left on device")

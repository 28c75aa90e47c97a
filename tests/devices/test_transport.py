"""What every transport promises, each against this machine and a real sshd."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.devices import process
from edgekit.devices.source import Range, Source, whole
from edgekit.errors import DeviceStorageError, RemoteCommandError, RemoteTimeoutError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices import Device

pytestmark = pytest.mark.device


def test_arguments_arrive_as_they_are(device: Device) -> None:
    arguments = ["a b", "", "it's", '"q"', "$(touch pwned)", "`id`", "*", "-n", "\\", "line\nbreak", "ü→", ";&|<>"]
    done = device.run(["printf", "%s\\0", *arguments], step="echoing")
    assert done.stdout.decode().split("\0")[:-1] == arguments


def test_status_and_both_outputs_are_told_apart(device: Device) -> None:
    done = device.run(["sh", "-c", "echo out; echo err >&2; exit 7"], step="failing")
    assert (done.code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_a_missing_command_is_status_127(device: Device) -> None:
    assert device.run(["/no/such/program"], step="trying").code == 127


def test_a_killed_command_has_the_shells_status(device: Device) -> None:
    assert device.run(["sh", "-c", "kill -9 $$"], step="dying").code == 137


def test_stdin_arrives(device: Device) -> None:
    data = bytes(range(256)) * 4000
    assert device.run(["cat"], stdin=data, step="echoing").stdout == data


def test_without_stdin_a_reader_sees_the_end(device: Device) -> None:
    assert device.run(["cat"], timeout_s=5, step="reading").stdout == b""


def test_strings_are_no_commands(device: Device) -> None:
    with pytest.raises(ValueError, match="not a list"):
        device.run("rm -rf /", step="refusing")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ValueError, match="not a list"):
        device.run(["a\0b"], step="refusing")


def test_endless_output_is_bounded(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(RemoteCommandError, match="printed more than"):
        device.run(["cat", "/dev/zero"], step="reading")


def test_a_command_is_bounded_in_time(device: Device) -> None:
    began = time.monotonic()
    with pytest.raises(RemoteTimeoutError, match="while sleeping"):
        device.run(["sleep", "60"], timeout_s=0.3, step="sleeping")
    assert time.monotonic() - began < 3


def test_lines_come_while_the_command_runs(device: Device) -> None:
    began = time.monotonic()
    with device.stream(["sh", "-c", "echo one; sleep .5; echo two; printf three"], idle_timeout_s=5, step="x") as lines:
        arrived = [(line, time.monotonic() - began) for line in lines]
        assert lines.wait().code == 0
    assert [line for line, _ in arrived] == ["one", "two", "three"]
    assert arrived[1][1] - arrived[0][1] > 0.3


def test_a_stream_tells_status_and_the_end_of_stderr(device: Device) -> None:
    script = "head -c 200000 /dev/zero | tr '\\0' x >&2; echo last >&2; echo line; exit 3"
    with device.stream(["sh", "-c", script], idle_timeout_s=5, step="x") as lines:
        assert list(lines) == ["line"]
        done = lines.wait()
    assert done.code == 3
    assert done.stderr.endswith(b"xlast\n")
    assert len(done.stderr) == process.STDERR_TAIL_BYTES


def test_a_silent_stream_ends_even_if_stderr_chatters(device: Device) -> None:
    script = "echo hello; while :; do echo warning >&2; sleep .05; done"
    with (
        pytest.raises(RemoteTimeoutError, match=r"said nothing for 0.5 s while measuring"),
        device.stream(["sh", "-c", script], idle_timeout_s=0.5, step="measuring") as lines,
    ):
        for _ in lines:
            pass


def test_an_endless_line_is_bounded(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_LINE_BYTES", 1 << 20)
    with (
        pytest.raises(RemoteCommandError),
        device.stream(["cat", "/dev/zero"], idle_timeout_s=5, step="reading") as lines,
    ):
        list(lines)


def test_leaving_a_stream_ends_its_command(device: Device, tmp_path: Path) -> None:
    from test_ssh import assert_ends

    argv = ["sh", "-c", "echo $$; exec sleep 600"]
    with device.stream(argv, idle_timeout_s=5, step="x") as lines:
        pid = int(next(iter(lines)))
    assert_ends(pid)


def test_put_copies_empty_and_large_files(device: Device, tmp_path: Path) -> None:
    for size in (0, 1, 255 * 1024, 3_000_001):
        (tmp_path / "file").write_bytes(b"x" * size)
        device.transport.put(tmp_path / "file", device.path("a copy"), step="copying")
        assert Path(device.path("a copy")).read_bytes() == b"x" * size


def test_put_of_a_missing_file(device: Device, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        device.transport.put(tmp_path / "nowhere", device.path("x"), step="copying")


def test_put_onto_a_full_disk_says_so_and_leaves_nothing(small_disk: Path, device: Device, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 2_000_000)
    with pytest.raises(DeviceStorageError, match="no space left while writing"):
        device.transport.put(tmp_path / "file", device.path("copy"), step="copying")
    assert list(small_disk.iterdir()) == []


def test_put_onto_a_read_only_disk_says_so(small_disk: Path, device: Device, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DeviceStorageError, match="read-only"):
        device.transport.put(tmp_path / "file", device.path("copy"), step="copying")


def test_put_of_parts_of_files_and_at_the_end_of_one(device: Device, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 4000)
    (tmp_path / "b").write_bytes(b"the end")
    parts = Source((Range(tmp_path / "a", 3, 900_000), Range(tmp_path / "b", 4, 3)))
    told: list[int] = []
    device.transport.put(parts, device.path("copy"), step="copying")
    assert Path(device.path("copy")).read_bytes() == (bytes(range(256)) * 4000)[3:900_003] + b"end"
    device.transport.put(
        parts.part(899_999), device.path("copy"), append=True, on_bytes=told.append, step="copying more"
    )
    assert Path(device.path("copy")).read_bytes()[900_003:] == (bytes(range(256)) * 4000)[900_002:900_003] + b"end"
    assert sum(told) == 4


def test_parts_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    source = Source((Range(tmp_path / "file", 2, 5), Range(tmp_path / "file", 0, 2)))
    assert b"".join(source.blocks(3)) == b"2345601"
    assert [len(block) for block in source.blocks(3)] == [3, 3, 1]
    for offset in range(8):
        for length in range(8 - offset):
            assert b"".join(source.part(offset, length).blocks(2)) == b"2345601"[offset : offset + length]
    assert source.whole_file is None
    assert whole(tmp_path / "file").whole_file == tmp_path / "file"
    assert whole(tmp_path / "file").part(1).whole_file is None
    with pytest.raises(ValueError, match="no such part"):
        source.part(3, 5)


def test_a_command_is_fed_while_it_runs(device: Device) -> None:
    done = device.transport.feed(
        ["sh", "-c", "cat; echo err >&2; exit 3"], (b"x" * 100_000 for _ in range(50)), step="x"
    )
    assert (done.code, done.stdout, done.stderr) == (3, b"x" * 5_000_000, b"err\n")


def test_a_command_that_is_fed_and_takes_nothing_is_ended(device: Device) -> None:
    with pytest.raises(RemoteTimeoutError, match="took and said nothing for 1 s while feeding"):
        device.transport.feed(["sleep", "5"], (b"x" * 1_000_000 for _ in range(50)), idle_timeout_s=1, step="feeding")


def test_what_the_pieces_raise_reaches_the_caller(device: Device) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise LookupError("the file here is gone")

    with pytest.raises(LookupError, match="gone"):
        device.transport.feed(["cat"], pieces(), step="feeding")

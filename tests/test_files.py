"""Files are written whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import files
from edgekit.errors import StorageError
from tests.machine import small_disk

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        yield disk


WRITER = """
import sys
from pathlib import Path
from edgekit.files import write_file
k = 0
while True:
    write_file(Path(sys.argv[1]), bytes([65 + k % 26]) * 20_000_000)
    k += 1
    print(k, flush=True)
"""


def test_a_writer_that_is_killed_leaves_one_whole_version(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for delay in (0.003, 0.011, 0.02, 0.031):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = target.read_bytes()
        assert len(content) == 20_000_000
        assert content == content[:1] * len(content)


PUBLISHER = """
import os, signal, sys
from pathlib import Path
from edgekit.files import publishing_folder
with publishing_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_publisher_that_is_killed_publishes_nothing_and_is_cleared_up_after(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PUBLISHER, str(tmp_path / "folder")])
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(files.TEMPORARY)
    with files.publishing_folder(tmp_path / "folder") as folder:
        (folder / "whole").write_text("x")
    assert left.exists(), "another process may be at work in it"
    os.utime(left, (0, 0))
    with files.publishing_folder(tmp_path / "other"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "other"]


def test_an_exception_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no"), files.publishing_folder(tmp_path / "folder") as folder:
        (folder / "file").write_text("x")
        raise RuntimeError("no")
    assert list(tmp_path.iterdir()) == []


def test_what_is_published_is_read_only_and_whole(tmp_path: Path) -> None:
    with files.publishing_folder(tmp_path / "a" / "folder") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
        assert not (tmp_path / "a" / "folder").exists()
    published = tmp_path / "a" / "folder" / "deep" / "file"
    assert stat.S_IMODE(published.stat().st_mode) == 0o444
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["folder"]


def test_whoever_publishes_first_stays(tmp_path: Path) -> None:
    with files.publishing_folder(tmp_path / "folder") as mine:
        with files.publishing_folder(tmp_path / "folder") as theirs:
            (theirs / "file").write_text("theirs")
        (mine / "file").write_text("mine")
    assert (tmp_path / "folder" / "file").read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_keeps_the_old_file(full_disk: Path) -> None:
    files.write_file(full_disk / "file", b"old")
    with pytest.raises(StorageError, match="No space is left"):
        files.write_file(full_disk / "file", bytes(200_000))
    assert (full_disk / "file").read_bytes() == b"old"
    assert [p.name for p in full_disk.iterdir()] == ["file"]
    files.write_file(full_disk / "file", b"new")
    assert (full_disk / "file").read_bytes() == b"new"


def test_a_full_disk_publishes_nothing(full_disk: Path) -> None:
    with (
        pytest.raises(StorageError, match="No space is left"),
        files.publishing_folder(full_disk / "folder") as folder,
    ):
        (folder / "file").write_bytes(bytes(200_000))
    assert list(full_disk.iterdir()) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        files.write_file(tmp_path / "file" / "below", b"")


def test_point_to(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "store" / name).mkdir(parents=True)
        files.point_to(tmp_path / "out" / "link", tmp_path / "store" / name)
        assert (tmp_path / "out" / "link").resolve() == tmp_path / "store" / name
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["link"]
    (tmp_path / "store").rename(tmp_path / "gone")
    files.point_to(tmp_path / "out" / "link", tmp_path / "gone" / "one")
    assert not (tmp_path / "out" / "link").readlink().is_absolute(), "the tree can be moved as a whole"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_point_to_replaces_nothing_but_links(tmp_path: Path, kind: str) -> None:
    in_the_way = tmp_path / "link"
    in_the_way.write_text("precious") if kind == "file" else in_the_way.mkdir()
    with pytest.raises(StorageError, match="in the way"):
        files.point_to(in_the_way, tmp_path)
    assert in_the_way.exists()
    assert not in_the_way.is_symlink()


@given(JSON)
def test_equal_values_have_equal_hashes(value: object) -> None:
    assert files.digest_of(value) == files.digest_of(value)
    assert b"\n" not in files.canonical_json(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_count(value: dict[str, int]) -> None:
    assert files.digest_of(value) == files.digest_of(dict(reversed(value.items())))


def test_nan_has_no_hash() -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.canonical_json(float("nan"))


def test_a_tree_hash_sees_names_and_contents_but_no_caches(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_text("1")
    first = files.digest_of_tree([tmp_path / "a"])
    (tmp_path / "a" / "__pycache__").mkdir()
    (tmp_path / "a" / "__pycache__" / "f.pyc").write_text("x")
    (tmp_path / "a" / ".hidden").write_text("x")
    assert files.digest_of_tree([tmp_path / "a"]) == first
    (tmp_path / "a" / "f").rename(tmp_path / "a" / "g")
    assert files.digest_of_tree([tmp_path / "a"]) != first
    (tmp_path / "a" / "g").rename(tmp_path / "a" / "f")
    (tmp_path / "a" / "f").write_text("2")
    assert files.digest_of_tree([tmp_path / "a"]) != first


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", "/x")
    assert files.cache_folder() == Path("/x")
    monkeypatch.delenv("EDGEKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/y")
    assert files.cache_folder() == Path("/y/edgekit")


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes are made by root alone")
def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    device = tmp_path / "null"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    files.write_file(device, b"gone")
    assert device.is_char_device()
    assert list(tmp_path.iterdir()) == [device]


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_is_written_to_and_stays_it(tmp_path: Path, kind: str) -> None:
    code = "from pathlib import Path; from edgekit.files import write_file; write_file(Path('/dev/stdout'), b'told')"
    before = Path("/dev/stdout").readlink()
    kept = tmp_path / "kept.txt"
    with kept.open("wb") as file:
        out = subprocess.PIPE if kind == "pipe" else file
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=out)
    assert (done.stdout if kind == "pipe" else kept.read_bytes()) == b"told"
    assert Path("/dev/stdout").readlink() == before

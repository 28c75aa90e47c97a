"""Files on the host: written whole or not at all, named by their content.

Nothing is ever written in place: a temporary name beside the final one, fsync, rename, fsync of the folder. What a
killed process leaves behind is a name that begins with `.tmp-`, which nothing reads; folders of that kind are removed
by the next one that is published beside them, once they are a day old.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TEMPORARY = ".tmp-"
ABANDONED_S = 24 * 3600
FULL_BELOW_BYTES = 64 * 1024


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one way a value is written when its hash matters: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest_of(value: Any) -> str:
    """sha256 over `canonical_json`, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_of_tree(paths: Iterable[Path]) -> str:
    """One hash over files and folders: names relative to each given folder, and contents.

    Hidden entries and `__pycache__` do not count.
    """
    rows = []
    for path in paths:
        if path.is_file():
            rows.append((path.name, sha256_of(path)))
            continue
        for file in sorted(path.rglob("*")):
            relative = file.relative_to(path)
            if file.is_file() and not any(p.startswith(".") or p == "__pycache__" for p in relative.parts):
                rows.append((relative.as_posix(), sha256_of(file)))
    return digest_of(rows)


def explain_os_error(error: OSError, path: Path | str) -> StorageError:
    """A write that failed, in words: what is full, read-only or forbidden, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"No space is left while writing {path}.", remedy="Free some space and run it again.")
    if error.errno == errno.EROFS:
        return StorageError(f"{path} is on a read-only file system.", remedy="Choose another folder with --out.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(f"There is no permission to write {path}.", remedy="Choose another folder with --out.")
    return StorageError(f"{path} cannot be written: {error.strerror or error}.", remedy="Check the path and the disk.")


def no_space(path: Path) -> StorageError | None:
    """The error to give if the disk that `path` is on is full: libraries report that in words of their own."""
    if shutil.disk_usage(path).free >= FULL_BELOW_BYTES:
        return None
    return explain_os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path)


def copy_files(source: Path, destination: Path) -> None:
    """Copies the files below one folder into another one that exists.

    Raises:
        OSError: the first failure, as it is (`shutil.copytree` would bury its errno in a list).
    """
    for file in sorted(source.rglob("*")):
        target = destination / file.relative_to(source)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turns an `OSError` of the block into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise explain_os_error(error, error.filename or path) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_beside(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}-{path.name}"[:200])


def _is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe, or stands for a file that is open: to replace it would take it from all."""
    if path.is_relative_to("/dev/shm"):  # noqa: S108 - files like any others, and nobody's temporary ones of ours
        return False
    return path.is_relative_to("/dev") or path.is_relative_to("/proc") or path.is_fifo() or path.is_char_device()


def write_file(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all. What is no file (`/dev/stdout`, a pipe) is written to, never replaced.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    with writing(path):
        if _is_stream(path):
            with path.open("wb") as stream:
                stream.write(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_beside(path)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


@contextmanager
def publishing_folder(path: Path, *, mode: int = 0o444, in_the_way: Exception | None = None) -> Iterator[Path]:
    """A new folder to fill; at the end of the block it appears at `path`, complete and on disk, or not at all.

    Its files get `mode`: read-only. If `path` exists by then, the new folder is dropped: a folder named by its content
    has the same content. For one that is not, `in_the_way` is what to raise then.

    Raises:
        StorageError: disk full, read-only, no permission.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        temporary = _temporary_beside(path)
        temporary.mkdir()
        try:
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    with file.open("rb") as opened:
                        os.fsync(opened.fileno())
                    file.chmod(mode)
                else:
                    _sync_folder(file)
            _sync_folder(temporary)
            try:
                temporary.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                if in_the_way is not None:
                    raise in_the_way from error
            _sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def point_to(link: Path, target: Path) -> None:
    """Makes `link` a relative symbolic link to `target`, in one step for whoever looks.

    Raises:
        StorageError: `link` is something else than a link, or cannot be written.
    """
    with writing(link):
        if link.exists() and not link.is_symlink():
            raise StorageError(
                f"{link} is in the way: it is not a link of ours.", remedy="Move it, or use another --out."
            )
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_beside(link)
        temporary.symlink_to(os.path.relpath(target, link.parent))
        temporary.replace(link)
        _sync_folder(link.parent)


def remove_abandoned(folder: Path) -> None:
    """Removes what killed processes left in `folder` more than a day ago."""
    for entry in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - entry.lstat().st_mtime > ABANDONED_S:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def cache_folder() -> Path:
    """Where results are kept between calls: `$EDGEKIT_CACHE`, or `edgekit` in the user's cache folder."""
    if named := os.environ.get("EDGEKIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit"

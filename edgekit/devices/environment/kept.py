"""What was fetched for devices, in the cache: files under their sha256, and which of them a question was answered with.

    cache/packages/SHA256/NAME         a wheel, or a package of Debian
    cache/environments/KEY.json        file names and sha256 of an answer

So the same device is provisioned again without the index, and with the same files to the byte.
"""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

import msgspec

from edgekit.errors import WheelError
from edgekit.files import cache_folder, sha256_of, write_file, writing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUMS = "SHA256SUMS"


class _Kept(msgspec.Struct, frozen=True):
    file: str
    sha256: str


def keep(path: Path, offline: Path | None) -> Path:
    """Copies a file into the cache, by its sha256, and says where it is.

    Args:
        path: the file.
        offline: the folder that it comes from, if one stands in for the index: its SHA256SUMS must list the file.

    Raises:
        WheelError: SHA256SUMS says otherwise.
        StorageError: the cache cannot be written.
    """
    sha256 = sha256_of(path)
    if offline is not None:
        _check_sums(path.name, sha256, offline)
    kept = _place(path.name, sha256)
    if not kept.is_file() or sha256_of(kept) != sha256:
        with writing(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            temporary = kept.with_name(f".tmp-{secrets.token_hex(8)}")
            try:
                shutil.copyfile(path, temporary)
                temporary.replace(kept)
            finally:
                temporary.unlink(missing_ok=True)
    return kept


def remember(key: str, files: Iterable[tuple[Path, str]]) -> None:
    """Writes down which kept files, with their sha256, answered a question.

    Raises:
        StorageError: the cache cannot be written.
    """
    kept = [_Kept(path.name, sha256) for path, sha256 in files]
    write_file(cache_folder() / "environments" / f"{key}.json", msgspec.json.encode(kept))


def remembered(key: str) -> list[Path] | None:
    """The files that answered a question before; None if that is not known, or one is gone or has changed since."""
    try:
        content = (cache_folder() / "environments" / f"{key}.json").read_bytes()
        kept = msgspec.json.decode(content, type=list[_Kept])
    except (OSError, msgspec.MsgspecError):
        return None
    paths = [(_place(one.file, one.sha256), one.sha256) for one in kept]
    if not all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in paths):
        return None
    return [path for path, _ in paths]


def _place(name: str, sha256: str) -> Path:
    return cache_folder() / "packages" / sha256 / name


def _check_sums(name: str, sha256: str, folder: Path) -> None:
    sums = folder / SUMS
    if not sums.is_file():
        return
    lines = [line.split() for line in sums.read_text(encoding="utf-8", errors="replace").splitlines()]
    listed = {words[1].lstrip("*"): words[0].lower() for words in lines if len(words) == 2}
    if listed.get(name) != sha256:
        expected = listed.get(name, "nothing: it is not listed")
        raise WheelError(
            f"{folder / name} is not the file of {sums}: its sha256 is {sha256}, and {SUMS} says {expected}. "
            "Nothing was sent.",
            remedy="Copy the files anew from where they came.",
        )

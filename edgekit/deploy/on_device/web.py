"""Bytes of a release repository: over HTTP(S) or from a folder, whole or from an offset, never more than asked for.

A repository is static files, so any web server or CDN will do. One that knows ranges (RFC 9110, section 14) lets a cut
download go on and a changed artifact come as its changed parts; one that does not is asked for whole files.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, NamedTuple, Optional

from .links import StoreError

if TYPE_CHECKING:
    from typing import BinaryIO, Iterator

TIMEOUT_S = 30.0
"""How long a server may say nothing."""
SLOWEST_BYTES_PER_S = 1024
_PIECE = 1 << 16


class DownloadError(StoreError):
    """The repository cannot be reached, or does not have the file. `status` is HTTP's, where there is one."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status


class Part(NamedTuple):
    """What a server gave: `offset` is where it really begins, which is 0 if the server knows no ranges."""

    offset: int
    pieces: Iterator[bytes]


def read(url: str, limit: int, offset: int = 0, length: Optional[int] = None) -> Part:
    """A file, or a range of it.

    Args:
        url: http, https or file.
        limit: bytes; more than that of the whole file is an error, whatever the server says.
        offset, length: the range; the server may give the whole file instead.

    Raises:
        DownloadError: here, or while the pieces are read.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https", "file"):
        raise DownloadError("%s is not an address of a release repository: http, https or file." % url)
    if scheme == "file":
        return _from_file(url, limit, offset, length)
    headers = {"User-Agent": "edgekit-device", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme was checked above
    if offset or length is not None:
        request.add_header("Range", "bytes=%d-%s" % (offset, "" if length is None else offset + length - 1))
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - likewise
    except urllib.error.HTTPError as error:
        raise DownloadError(
            "%s answered %d %s for %s." % (_host(url), error.code, error.reason, url), error.code
        ) from None
    except (OSError, ValueError) as error:
        raise DownloadError("cannot reach %s: %s." % (_host(url), getattr(error, "reason", error))) from error
    begins = offset if answer.status == 206 else 0
    return Part(begins, _bounded(answer, url, limit - begins))


def whole(url: str, limit: int) -> bytes:
    """A whole file of at most `limit` bytes. Raises DownloadError."""
    return b"".join(read(url, limit).pieces)


def _from_file(url: str, limit: int, offset: int, length: Optional[int]) -> Part:
    path = urllib.request.url2pathname(urllib.parse.urlsplit(url).path)
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by _bounded
        file.seek(offset)
    except FileNotFoundError:
        raise DownloadError("there is no file %s." % path, 404) from None
    except OSError as error:
        raise DownloadError("cannot read %s: %s." % (path, error)) from error
    size = os.fstat(file.fileno()).st_size - offset
    wanted = size if length is None else min(size, length)
    return Part(offset, _bounded(file, url, limit - offset, wanted))


def _bounded(file: BinaryIO, url: str, limit: int, wanted: Optional[int] = None) -> Iterator[bytes]:
    """The pieces of an open file or answer; closes it."""
    began, taken = time.monotonic(), 0
    with file:
        while wanted is None or taken < wanted:
            try:
                piece = file.read(_PIECE if wanted is None else min(_PIECE, wanted - taken))
            except (OSError, ValueError) as error:
                raise DownloadError("the download of %s broke off: %s." % (url, error)) from error
            if not piece:
                return
            taken += len(piece)
            if taken > limit:
                raise DownloadError("%s is larger than the %d bytes that were announced." % (url, limit))
            if time.monotonic() - began > TIMEOUT_S + taken / SLOWEST_BYTES_PER_S:
                raise DownloadError("%s comes too slowly: %d bytes in %.0f s." % (url, taken, time.monotonic() - began))
            yield piece


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc or url

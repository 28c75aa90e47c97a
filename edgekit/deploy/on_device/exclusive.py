"""One program at a time: a lock that the kernel gives back however its holder ends, killed or not."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from .links import StoreError

if TYPE_CHECKING:
    from typing import Iterator

_POLL_S = 0.05


@contextlib.contextmanager
def exclusive(path: str, wait_s: float, what: str) -> Iterator[None]:
    """Holds the file's lock during the block; an empty file is made, and stays.

    Args:
        path: the file; its folder is made.
        wait_s: how long others are waited for.
        what: what they do, for the error: `another pull of digits_cnn`.

    Raises:
        StoreError: another program holds it for longer than that, or the file system knows no locks.
        OSError: the disk is full or read-only.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    end = time.monotonic() + wait_s
    with open(path, "ab") as file:  # no program started from here inherits it
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                    raise StoreError("%s cannot be locked: %s." % (path, error.strerror)) from error
            if time.monotonic() > end:
                raise StoreError("%s has not ended for %.0f s; it holds %s." % (what, wait_s, path))
            time.sleep(_POLL_S)
        yield

"""What an upload says when it fails."""

from __future__ import annotations

from edgekit.errors import DeviceStorageError, RemoteCommandError, TransferError


def damaged(device: str, what: str, first: str, count: int) -> TransferError:
    """The sha256 of `count` files, of which `first` is one, is not what it should be."""
    more = f" (and {count - 1} more files)" if count > 1 else ""
    return TransferError(
        f"{device} received {what} damaged: the sha256 of {first} computed there differs{more}. "
        "It was removed, and nothing was activated.",
        remedy="Run it again; if it happens again, check the device's memory and storage.",
    )


def no_room(device: str, root: str, what: str, needed_bytes: int, free_bytes: int) -> DeviceStorageError:
    """It does not fit, whatever way it is put together."""
    return DeviceStorageError(
        f"{device} has no space left for {what}: it needs {needed_bytes / 1e6:.1f} MB, and "
        f"{free_bytes / 1e6:.1f} MB are free in {root}.",
        remedy="Free some space there, or set another `root` in the target, and run it again.",
    )


def wrong_answer(device: str, lines: int, files: int, step: str) -> RemoteCommandError:
    """There must be one hash a file."""
    return RemoteCommandError(
        f"{device} answered {lines} hashes for {files} files while {step}.",
        remedy="Its shell start-up files must not print anything when no terminal is there.",
    )

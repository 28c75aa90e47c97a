"""Opening: what an upload asks before it sends, in one round trip.

Whether the device has it already, by sha256 computed there; the lock; what else it has that is of use; and the folders
that the upload writes to. One after the other they took half a second on a link of 20 ms, 100 MB at 10 MB/s ten. What
is there already costs that one question, and does not ask for the lock.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices.chunk_list import Survey, read_survey
from edgekit.devices.lock import NotNeededError
from edgekit.devices.plan import sums
from edgekit.devices.scripts.opening import OPEN
from edgekit.devices.upload_errors import wrong_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.devices.device import Device
    from edgekit.devices.plan import WantedFile


class Opened(msgspec.Struct, frozen=True):
    """What the device answered. `differing`: files at the final place that are missing or wrong, if that was asked.

    `nonce` names the folder that was made for the upload.
    """

    nonce: str
    differing: tuple[str, ...]
    survey: Survey


class Opening:
    """One question.

    Args:
        device: whom.
        files: what it shall have.
        folder: where they will be, below the root; "" to not ask whether they are there.
        below: how their paths begin in the upload's folder: `new/`, or "".
        model: whose artifacts are looked at first; "" for none at all.
        step: for errors.
        timeout_s: how long the device may take.
    """

    def __init__(
        self,
        device: Device,
        files: Sequence[WantedFile],
        *,
        folder: str,
        below: str,
        model: str,
        step: str,
        timeout_s: float,
    ) -> None:
        self._device = device
        self._files = files
        self._folder, self._below, self._model = folder, below, model
        self._step, self._timeout_s = step, timeout_s
        self._opened: Opened | None = None

    def ask(self, lock: tuple[str, str, str, str]) -> bytes:
        """Asks for the lock as well; gives what it says (`lock.Ask`).

        Raises:
            NotNeededError: the files are there and right.
            DeviceError: see `Device.script`.
        """
        nonce, answer = secrets.token_hex(8), b""
        told, mark, rest = self._answer(nonce, lock).partition(b"= lock\n")
        differing = self._differing(told)
        if not mark:
            raise wrong_answer(self._device.name, len(told.splitlines()), len(self._files), self._step)
        if rest.startswith(b"ok\n"):
            answer, rest = rest[:3], rest[3:]
            self._opened = Opened(nonce, differing, read_survey(rest))
        return answer or rest

    def result(self) -> Opened:
        """What was answered; asks if nobody did, because the lock was ours already.

        Raises:
            NotNeededError: the files are there and right.
            DeviceError: see `Device.script`.
        """
        if self._opened is None:
            nonce = secrets.token_hex(8)
            told, mark, rest = self._answer(nonce, ("", "", "", "")).partition(b"= ")
            self._opened = Opened(nonce, self._differing(told), read_survey(mark + rest))
        return self._opened

    def _answer(self, nonce: str, lock: tuple[str, str, str, str]) -> bytes:
        return self._device.script(
            OPEN,
            self._device.root,
            self._folder,
            sums(self._files) if self._folder else "-",
            nonce,
            self._below,
            self._model,
            *lock,
            *(file.path.removeprefix(self._below) for file in self._files),
            step=self._step,
            timeout_s=self._timeout_s,
        )

    def _differing(self, told: bytes) -> tuple[str, ...]:
        if not self._folder:
            return ()
        paths = [file.path.removeprefix(self._below) for file in self._files]
        lines = told.decode("ascii", "replace").splitlines()
        if lines == ["absent"]:
            return tuple(paths)
        if len(lines) != len(paths):
            raise wrong_answer(self._device.name, len(lines), len(paths), self._step)
        wrong = [path for path, file, line in zip(paths, self._files, lines, strict=True) if line[:64] != file.sha256]
        if not wrong:
            raise NotNeededError
        return tuple(wrong)

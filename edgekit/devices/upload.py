"""Upload: brings files to the device, of which it has some already, and publishes them by one rename.

    open        one question: are they there; the lock; what else the device has: artifacts with their chunk lists, and
                packs that earlier cuts left; and the folder tmp/NONCE/ (edgekit.devices.opening)
    plan        what is sent and how the files are put together (edgekit.devices.plan)
    describe    the plan beside it: what arrives now is of use to the next attempt, whoever makes it. A large upload to
                a device that has nothing does not wait for that, but is sent while it is cut into chunks
    send        the pack, compressed where that is faster (edgekit.devices.sending)
    assemble    the files from the pack and from what is there; their sha256 is computed there, of a large new file
                while it arrives (edgekit.devices.assembling)
    publish     if all are right: flushed, renamed; the pack and the cut uploads that it replaces go away

What a cut one left is used as far as its sha256, computed there, is that of the same bytes here. Copies
from stored artifacts are judged by the sha256 of the whole file only: they were right when they were published. If it
differs after all, chunk lists that misled are removed and everything is sent, once, as it is.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices import assembling
from edgekit.devices.assembling import Assembling
from edgekit.devices.chunk_list import LIST, StoredFile, Survey, partial_path, read_survey
from edgekit.devices.lock import NotNeededError
from edgekit.devices.opening import Opened, Opening
from edgekit.devices.plan import Plan, WantedFile, make_plan
from edgekit.devices.progress import Expected, Progress, Uploaded
from edgekit.devices.resuming import verified
from edgekit.devices.room import fitting_plan
from edgekit.devices.scripts.files import DIGESTS
from edgekit.devices.scripts.upload import DESCRIBE, FORGET, PUBLISH, STAGE, SURVEY
from edgekit.devices.sending import Sent, send
from edgekit.devices.upload_errors import damaged, no_room, wrong_answer
from edgekit.errors import DeviceError, DeviceStorageError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.devices.cutting import Cut
    from edgekit.devices.device import Device

HASHED_BYTES_PER_S = 2e6
"""What the slowest board hashes, copies and flushes; only bounds are made of it."""
CUT_LATER_BYTES = 16 << 20
"""Less is cut into chunks within a tenth of a second. More is sent before, if the device has nothing to begin with."""


class Upload:
    """One upload.

    Args:
        device: where to.
        files: what the device shall have, by paths below the upload's folder; their chunks need not be known yet.
        cut: gives the same files with their chunks, for which it may take its time.
        final: the name that it gets, below the root.
        inside: what gets it: a folder of the upload, or its only file.
        what: for messages, such as "crepe_tiny tflite:int8".
        model: whose artifacts the device is searched first; "" for none at all.
        unless_there: whether to ask first if the files are there already, right to the byte.
        progress: whom to tell.
        finish: called with the absolute path of what is verified and not yet published; what it leaves is published.
    """

    def __init__(
        self,
        device: Device,
        files: Sequence[WantedFile],
        cut: Callable[[], Cut],
        *,
        final: str,
        inside: str,
        what: str,
        model: str = "",
        unless_there: bool = True,
        progress: Progress | None = None,
        finish: Callable[[str], None] | None = None,
    ) -> None:
        self._device = device
        self._files = files
        self._cut = cut
        self._overlaps = False
        self._total_bytes = sum(file.bytes for file in files)
        self._bound_s = 120 + self._total_bytes / HASHED_BYTES_PER_S
        self._final = final
        self._inside = inside
        self._what = what
        self._model = model
        self._unless_there = unless_there
        self._progress = progress or Progress()
        self._finish = finish
        self._staged = ""

    def run(self) -> Uploaded | None:
        """Does it all, under the device's lock; None if the files are there already and were asked for.

        Raises:
            TransferError: what arrived differs, even when everything was sent; it was removed.
            DeviceStorageError: it does not fit, or cannot be written; nothing stays.
            DeviceBusyError: somebody else uses the device.
            DeviceError: the link failed; what arrived stays for the next attempt.
        """
        self._device.transport.foresee_put()
        is_folder = any("/" in file.path for file in self._files)
        place = self._final if is_folder else self._final.rpartition("/")[0]
        opening = Opening(
            self._device,
            self._files,
            folder=place if self._unless_there else "",
            below=f"{self._inside}/" if is_folder else "",
            model=self._model,
            step=f"preparing the upload of {self._what}",
            timeout_s=self._bound_s,
        )
        try:
            with self._device.lock(f"upload of {self._what}", ask=opening.ask):
                return self._run(opening.result())
        except NotNeededError:
            return None

    def _run(self, opened: Opened) -> Uploaded:
        survey, self._staged = opened.survey, opened.nonce
        with self._device.transport.guard(f"preparing the upload of {self._what}"):
            self._overlaps = self._total_bytes >= assembling.MIN_BYTES and self._device.transport.can_overlap()
        if survey.artifacts or survey.partials or self._total_bytes < CUT_LATER_BYTES or not self._overlaps:
            self._files = self._cut().files
        for nonce, name in survey.ready.items():
            if name == self._final and not self._differing(nonce):
                self._progress.on_plan(Expected(0, 0, self._total_bytes))
                self._publish(nonce, [opened.nonce])
                return Uploaded(0, 0, self._total_bytes, False)
        distrusted = {f"{self._final}/{path}" for path in opened.differing}
        known = [file for file in survey.artifacts if file.path not in distrusted] + verified(
            self._device,
            survey.partials,
            self._files,
            step=f"verifying what an earlier upload of {self._what} left",
            timeout_s=self._bound_s,
        )
        uploaded, plan = self._attempt(survey, known)
        if uploaded is not None:
            return uploaded
        ids = {path.split("/")[1] for path in plan.used if path.startswith("store/")}
        self._forget(*ids)
        nothing_known = msgspec.structs.replace(survey, can_unpack=False, artifacts=(), partials=())
        again, _ = self._attempt(nothing_known, [], is_last=True)
        assert again is not None
        return again

    def _attempt(
        self, survey: Survey, known: Sequence[StoredFile], *, is_last: bool = False
    ) -> tuple[Uploaded | None, Plan]:
        """Uploads by what is known; None if the result is wrong and it is worth sending everything."""
        nonce = self._staged or secrets.token_hex(8)
        with self._cleaning_up(nonce):
            plan = self._plan(survey, known, nonce)
            self._progress.on_plan(Expected(plan.pack.total_bytes, plan.reused_bytes, plan.resumed_bytes))
            self._stage(nonce)
            replaced = self._replaced(survey.partials, plan)
            with ThreadPoolExecutor(1) as beside, self._assembling(nonce, plan, replaced) as assembly:
                described = beside.submit(self._describe, nonce, plan)
                if plan.is_cut:
                    described.result()
                sent = self._send(nonce, plan, assembly.tell, can_unpack=survey.can_unpack)
                described.result()
                digests, is_published = assembly.finish()
                wrong = self._compare([assembly.file for assembly in plan.files], digests)
            if wrong and not is_last and (sent.compressed or plan.reused_bytes or plan.resumed_bytes):
                self._forget(nonce)
                return None, plan
            if wrong:
                raise damaged(self._device.name, self._what, min(wrong).removeprefix(f"{self._inside}/"), len(wrong))
            if not is_published:
                self._publish(nonce, replaced)
        return Uploaded(sent.bytes, plan.reused_bytes, plan.resumed_bytes, sent.compressed), plan

    def _plan(self, survey: Survey, known: Sequence[StoredFile], nonce: str) -> Plan:
        plan, free = fitting_plan(
            self._files,
            known,
            survey,
            nonce,
            forget=lambda nonces: self._forget(*nonces),
            ask_free=lambda: self._ask_again().free_bytes or 0,
        )
        if free is not None and plan.needed_bytes > free:
            raise no_room(self._device.name, self._device.root, self._what, plan.needed_bytes, free)
        return plan

    def _ask_again(self) -> Survey:
        """What the device has now. A survey removes what was staged and is empty."""
        self._staged = ""
        step = f"preparing the upload of {self._what}"
        return read_survey(self._device.script(SURVEY, self._device.root, self._model, step=step, timeout_s=120))

    def _stage(self, nonce: str) -> None:
        """Makes the folder; the question made the first one."""
        if nonce != self._staged:
            paths = [file.path for file in self._files]
            step = f"preparing the upload of {self._what}"
            self._device.script(STAGE, self._device.root, nonce, "", *paths, step=step)
        self._staged = ""

    def _describe(self, nonce: str, plan: Plan) -> None:
        """Writes the plan and the chunk list: before the pack is sent, or meanwhile if its chunks are not known yet."""
        cut = self._cut()
        if not plan.is_cut:
            plan = msgspec.structs.replace(plan, pack_chunks=make_plan(cut.files, [], plan.pack_path).pack_chunks)
        self._device.script(
            DESCRIBE,
            self._device.root,
            nonce,
            cut.list_path or "-",
            stdin=plan.encode() + LIST + cut.chunk_list,
            step=f"describing the upload of {self._what}",
        )

    def _assembling(self, nonce: str, plan: Plan, replaced: Sequence[str]) -> Assembling:
        return Assembling(
            self._device,
            nonce,
            self._final,
            plan,
            inside=None if self._finish else self._inside,
            used=replaced,
            overlaps=self._overlaps,
            step=f"verifying and storing {self._what}",
            timeout_s=3 * self._bound_s,
        )

    def _send(self, nonce: str, plan: Plan, tell: Callable[[int], None], *, can_unpack: bool) -> Sent:
        device = self._device

        def told(count: int) -> None:
            device.keep_lock()
            tell(count)
            self._progress.on_bytes(count)

        return send(
            device.transport,
            plan.pack,
            device.path(partial_path(nonce)),
            can_unpack=can_unpack,
            on_bytes=told,
            step=f"uploading {self._what}",
        )

    def _differing(self, nonce: str) -> list[str]:
        """Which files of an upload that was put together earlier are not as they should be."""
        answer = self._device.script(
            DIGESTS,
            self._device.path("tmp", nonce),
            *(file.path for file in self._files),
            step=f"verifying an earlier upload of {self._what}",
            timeout_s=self._bound_s,
        )
        return self._compare(self._files, answer)

    def _compare(self, files: Sequence[WantedFile], answer: bytes) -> list[str]:
        lines = answer.decode("ascii", "replace").splitlines()
        if len(lines) != len(files):
            raise wrong_answer(self._device.name, len(lines), len(files), f"verifying {self._what}")
        return [file.path for file, line in zip(files, lines, strict=True) if line[:64] != file.sha256]

    def _publish(self, nonce: str, replaced: Sequence[str]) -> None:
        if self._finish is not None:
            self._finish(self._device.path("tmp", nonce, self._inside))
        words = (self._device.root, nonce, self._final, self._inside, *replaced)
        self._device.script(PUBLISH, *words, step=f"storing {self._what}", timeout_s=self._bound_s)

    def _replaced(self, partials: Sequence[StoredFile], plan: Plan) -> list[str]:
        """Nonces of the cut uploads that are of no more use: they were consumed, or were of just this."""
        ours = {chunk for file in self._files for chunk in file.chunks}
        gone = [partial for partial in partials if partial.path in plan.used or ours.issuperset(partial.chunks)]
        return [partial.path.split("/")[1] for partial in gone]

    def _forget(self, *names: str) -> None:
        if names:
            self._device.script(FORGET, self._device.root, *names, step="removing what is of no more use")

    @contextmanager
    def _cleaning_up(self, nonce: str) -> Iterator[None]:
        """A full disk is made free again, and what is wrong goes; after any other failure what arrived stays."""
        try:
            yield
        except (DeviceStorageError, TransferError):
            with suppress(DeviceError):
                self._forget(nonce)
            raise

"""Upload: brings files to the device, of which it has some already, and publishes them by one rename.

    survey      what the device has: artifacts with their chunk lists, and packs that earlier cuts left
    plan        what is sent and how the files are put together (edgekit.devices.plan)
    stage       tmp/NONCE/
    describe    the plan beside it: what arrives now is of use to the next attempt, whoever makes it. A large upload to
                a device that has nothing does not wait for that, but is sent while it is cut into chunks
    send        the pack, compressed where that is faster (edgekit.devices.sending)
    assemble    the files from the pack and from what is there; their sha256 is computed there and compared here, of a
                large new file while it arrives (edgekit.devices.assembling)
    publish     flushed, renamed; the pack and the cut uploads that it replaces go away

What a cut one left is used as far as its sha256, computed there, is that of the same bytes here. Copies
from stored artifacts are judged by the sha256 of the whole file only: they were right when they were published. If it
differs after all, chunk lists that misled are removed and everything is sent, once, as it is.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import msgspec

from edgekit.devices import assembling
from edgekit.devices.assembling import Assembling
from edgekit.devices.chunk_list import LIST, StoredFile, Survey, partial_path, read_survey
from edgekit.devices.plan import Plan, WantedFile, make_plan
from edgekit.devices.progress import Expected, Progress, Uploaded
from edgekit.devices.resuming import verified
from edgekit.devices.scripts.files import DIGESTS
from edgekit.devices.scripts.upload import DESCRIBE, FORGET, PUBLISH, STAGE, SURVEY
from edgekit.devices.sending import Sent, send
from edgekit.errors import DeviceError, DeviceStorageError, RemoteCommandError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.devices.device import Device

HASHED_BYTES_PER_S = 2e6
"""What the slowest board hashes, copies and flushes; only bounds are made of it."""


CUT_LATER_BYTES = 16 << 20
"""Less is cut into chunks within a tenth of a second. More is sent before, if the device has nothing to begin with."""


class Cut(NamedTuple):
    """Files with their chunks, and what is written to `list_path` in the upload's folder, if anything."""

    files: Sequence[WantedFile]
    list_path: str = ""
    chunk_list: bytes = b""


class Upload:
    """One upload, under the device's lock.

    Args:
        device: where to.
        files: what the device shall have, by paths below the upload's folder; their chunks need not be known yet.
        cut: gives the same files with their chunks, for which it may take its time.
        final: the name that it gets, below the root.
        inside: what gets it: a folder of the upload, or its only file.
        what: for messages, such as "crepe_tiny tflite:int8".
        model: whose artifacts the device is searched first; "" for none at all.
        distrusted: files of the device that are known to be damaged, by paths below the root.
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
        distrusted: frozenset[str] = frozenset(),
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
        self._distrusted = distrusted
        self._progress = progress or Progress()
        self._finish = finish

    def run(self) -> Uploaded:
        """Does it all.

        Raises:
            TransferError: what arrived differs, even when everything was sent; it was removed.
            DeviceStorageError: it does not fit, or cannot be written; nothing stays.
            DeviceError: the link failed; what arrived stays for the next attempt.
        """
        self._device.transport.foresee_put()
        survey = self._survey()
        with self._device.transport.guard(f"preparing the upload of {self._what}"):
            self._overlaps = self._total_bytes >= assembling.MIN_BYTES and self._device.transport.can_overlap()
        if survey.artifacts or survey.partials or self._total_bytes < CUT_LATER_BYTES or not self._overlaps:
            self._files = self._cut().files
        for nonce, name in survey.ready.items():
            if name == self._final and not self._differing(nonce):
                self._progress.on_plan(Expected(0, 0, self._total_bytes))
                self._publish(nonce, [])
                return Uploaded(0, 0, self._total_bytes, False)
        known = [file for file in survey.artifacts if file.path not in self._distrusted] + verified(
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
        nonce = secrets.token_hex(8)
        plan = self._fitting_plan(survey, known, nonce)
        self._progress.on_plan(Expected(plan.pack.total_bytes, plan.reused_bytes, plan.resumed_bytes))
        with self._cleaning_up(nonce):
            self._stage(nonce)
            with ThreadPoolExecutor(1) as beside, self._assembling(nonce, plan) as assembly:
                described = beside.submit(self._describe, nonce, plan)
                if plan.is_cut:
                    described.result()
                sent = self._send(nonce, plan, assembly.tell, can_unpack=survey.can_unpack)
                described.result()
                wrong = self._compare([assembly.file for assembly in plan.files], assembly.finish())
            if wrong and not is_last and (sent.compressed or plan.reused_bytes or plan.resumed_bytes):
                self._forget(nonce)
                return None, plan
            if wrong:
                raise self._damaged(wrong)
            self._publish(nonce, [file.path for file in survey.partials if self._replaces(file, plan)])
        return Uploaded(sent.bytes, plan.reused_bytes, plan.resumed_bytes, sent.compressed), plan

    def _survey(self) -> Survey:
        step = f"preparing the upload of {self._what}"
        return read_survey(self._device.script(SURVEY, self._device.root, self._model, step=step, timeout_s=120))

    def _fitting_plan(self, survey: Survey, known: Sequence[StoredFile], nonce: str) -> Plan:
        """The plan; one that uses nothing where there is no room to put files together beside what is there."""
        pack = partial_path(nonce)
        plan = make_plan(self._files, known, pack)
        free = survey.free_bytes
        if free is None or plan.needed_bytes <= free:
            return plan
        unused = [file.path.split("/")[1] for file in survey.partials if file.path not in plan.used]
        if unused:
            self._forget(*unused)
            free = self._survey().free_bytes or 0
            if plan.needed_bytes <= free:
                return plan
        self._forget(*(file.path.split("/")[1] for file in survey.partials))
        free = self._survey().free_bytes or 0
        plan = make_plan(self._files, [], pack)
        if plan.needed_bytes > free:
            plan = plan.tightened()
        if plan.needed_bytes > free:
            self._refuse(plan.needed_bytes, free)
        return plan

    def _stage(self, nonce: str) -> None:
        folders = sorted({file.path.rpartition("/")[0] for file in self._files} - {""})
        self._device.script(STAGE, self._device.root, nonce, *folders, step=f"preparing the upload of {self._what}")

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

    def _assembling(self, nonce: str, plan: Plan) -> Assembling:
        return Assembling(
            self._device,
            nonce,
            self._final,
            plan,
            overlaps=self._overlaps,
            step=f"verifying the upload of {self._what}",
            timeout_s=2 * self._bound_s,
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
            raise RemoteCommandError(
                f"{self._device.name} answered {len(lines)} hashes for {len(files)} files while verifying "
                f"{self._what}.",
                remedy="Its shell start-up files must not print anything when no terminal is there.",
            )
        return [file.path for file, line in zip(files, lines, strict=True) if line[:64] != file.sha256]

    def _publish(self, nonce: str, replaced: Sequence[str]) -> None:
        if self._finish is not None:
            self._finish(self._device.path("tmp", nonce, self._inside))
        self._device.script(
            PUBLISH,
            self._device.root,
            nonce,
            self._final,
            self._inside,
            *(path.split("/")[1] for path in replaced),
            step=f"storing {self._what}",
            timeout_s=self._bound_s,
        )

    def _replaces(self, partial: StoredFile, plan: Plan) -> bool:
        """Whether a cut upload is of no more use: it was consumed, or it was of just this."""
        ours = {chunk for file in self._files for chunk in file.chunks}
        return partial.path in plan.used or ours.issuperset(partial.chunks)

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

    def _damaged(self, wrong: Sequence[str]) -> TransferError:
        first = min(wrong).removeprefix(f"{self._inside}/")
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        return TransferError(
            f"{self._device.name} received {self._what} damaged: the sha256 of {first} computed there differs{more}. "
            "It was removed, and nothing was activated.",
            remedy="Run it again; if it happens again, check the device's memory and storage.",
        )

    def _refuse(self, needed_bytes: int, free_bytes: int) -> NoReturn:
        raise DeviceStorageError(
            f"{self._device.name} has no space left for {self._what}: it needs {needed_bytes / 1e6:.1f} MB, and "
            f"{free_bytes / 1e6:.1f} MB are free in {self._device.root}.",
            remedy="Free some space there, or set another `root` in the target, and run it again.",
        )

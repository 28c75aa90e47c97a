"""The ASGI application that devices talk to: docs/formats/telemetry-wire.md is its contract.

An upload is parsed, its signature verified, and handed to the group commit; the answer waits for the commit. Nothing
is decompressed or stored for a stranger. What the database must be asked (a key that is not in memory, an enrolment)
runs in a thread, so a slow database holds up nobody's health check.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING

from edgekit.errors import AccessError, StoreUnavailableError, TelemetryError
from edgekit.telemetry.collector import http
from edgekit.telemetry.collector.group_commit import BUSY, GroupCommit
from edgekit.telemetry.collector.http import Answer, error_answer, json_answer
from edgekit.telemetry.collector.metrics import Metrics
from edgekit.telemetry.collector.uploads import Outcome, Result, Upload
from edgekit.telemetry.collector.verifying import UNAUTHORISED, Verifier, in_thread
from edgekit.telemetry.reporter import envelope
from edgekit.telemetry.reporter.errors import InvalidReference, WireError
from edgekit.telemetry.reporter.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.telemetry.collector.http import Receive, Scope, Send
    from edgekit.telemetry.collector.ingest import Ingest
    from edgekit.telemetry.collector.keys import Keys

MAX_ENROL_BYTES = 4096
RETRY_AFTER_S = 5
BUSY_ANSWER = error_answer(503, "the collector cannot store anything now", retry_after_s=RETRY_AFTER_S)
NOT_FOUND = error_answer(404, "there is nothing here")
WRONG_METHOD = error_answer(405, "another method is expected")
GONE = Answer(400)
HEALTHY = json_answer(200, status="ok")


class CollectorApp:
    """The application.

    Args:
        ingest: commits uploads.
        keys: knows devices.
        register: registers a reference that a device cut itself; raises `TelemetryError` where there is no room.
        max_upload_bytes: of a body as it travels.
        max_body_bytes: of one after decompression.
    """

    def __init__(
        self,
        ingest: Ingest,
        keys: Keys,
        register: Callable[[Reference], int],
        *,
        max_upload_bytes: int,
        max_body_bytes: int,
    ) -> None:
        self.metrics = Metrics()
        self.closing = False
        self._ingest = ingest
        self._keys = keys
        self._register = register
        self._max_upload_bytes = max_upload_bytes
        self._max_body_bytes = max_body_bytes
        self._verifier = Verifier(keys, lambda: ingest.generation)
        self._commit: GroupCommit | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted: dict[tuple[int, int], Answer] = {}
        self._routes = {
            "/v1/windows": ("POST", self._windows),
            "/v1/references": ("POST", self._reference),
            "/v1/enroll": ("POST", self._enrol),
            "/health": ("GET", self._health),
            "/ready": ("GET", self._ready),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        method, handler = self._routes.get(scope["path"], ("", None))
        if handler is None:
            answer = NOT_FOUND
        elif scope["method"] != method:
            answer = WRONG_METHOD
        else:
            try:
                answer = await handler(receive)
            except http.TooLargeError:
                answer = error_answer(413, "the body is too large", close=True)
            except http.GoneError:
                answer = GONE
            except StoreUnavailableError:
                answer = BUSY_ANSWER
        self.metrics.requests[answer.status] += 1
        await answer.send(send)

    @property
    def group(self) -> GroupCommit:
        """The group commit; begun with the first upload."""
        if self._commit is None:
            self._commit = GroupCommit(self._ingest.commit, asyncio.get_running_loop())
        return self._commit

    def gauges(self) -> list[tuple[str, str, float]]:
        """(name, help, value) of the group commit, for `Metrics.text`."""
        group = self._commit
        return [
            ("edgekit_uploads_waiting", "Uploads that wait for a commit.", group.waiting if group else 0),
            ("edgekit_commits_total", "Transactions that uploads went into.", group.batches if group else 0),
            ("edgekit_commits_failed_total", "Those that could not be made.", group.failures if group else 0),
        ]

    async def close(self) -> None:
        """Takes nothing more in, and commits what waits."""
        self.closing = True
        if self._commit is not None:
            self._commit.stop_taking()
            await asyncio.to_thread(self._commit.join)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _windows(self, receive: Receive) -> Answer:
        return await self.take(await http.read_body(receive, self._max_upload_bytes))

    async def take(self, body: bytes) -> Answer:
        """The answer to an upload of windows, once what is in it is durable.

        Raises:
            StoreUnavailableError: the device's key cannot be looked up.
        """
        signed = await self._verifier.verified(body, envelope.WINDOWS)
        if isinstance(signed, Answer):
            return signed
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._put(signed, lambda answer: None if answered.done() else answered.set_result(answer))  # it may have gone
        return await answered

    def take_soon(self, body: bytes, answer: Callable[[Answer], None]) -> None:
        """Has the loop call `answer` with what `take` would return, or with what a request gets for its error.

        A task is made only where the database must be asked for a key.
        """

        def count(made: Answer) -> None:
            self.metrics.requests[made.status] += 1
            answer(made)

        signed = self._verifier.verified_by_known(body, envelope.WINDOWS)
        if signed is None:
            task = asyncio.get_running_loop().create_task(self._take_in_task(body, count))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(signed, Answer):
            count(signed)
        else:
            self._put(signed, count)

    async def _take_in_task(self, body: bytes, answer: Callable[[Answer], None]) -> None:
        made = BUSY_ANSWER  # also when the task is cancelled, or fails
        try:
            made = await self.take(body)
        except StoreUnavailableError:
            pass
        finally:
            answer(made)

    def _put(self, signed: Upload, answer: Callable[[Answer], None]) -> None:
        began = time.perf_counter()

        def done(outcome: Outcome) -> None:
            self.metrics.answer_s.observe(time.perf_counter() - began)
            self.metrics.bytes += len(signed.envelope.packed)
            answer(self._answer(outcome))

        self.group.put(signed, done)

    def _answer(self, outcome: Outcome) -> Answer:
        if outcome.result in (Result.ACCEPTED, Result.DUPLICATE):
            self.metrics.accepted += outcome.accepted
            self.metrics.duplicates += outcome.duplicates
            counts = (outcome.accepted, outcome.duplicates)
            if counts not in self._accepted:
                self._accepted = {} if len(self._accepted) > 1000 else self._accepted
                self._accepted[counts] = json_answer(200, accepted=counts[0], duplicates=counts[1])
            return self._accepted[counts]
        if outcome.result is Result.MALFORMED:
            return error_answer(400, outcome.reason)
        if outcome.result is Result.REFUSED:
            return UNAUTHORISED
        return BUSY_ANSWER if outcome is BUSY else error_answer(429, outcome.reason, retry_after_s=3600)

    async def _reference(self, receive: Receive) -> Answer:
        body = await http.read_body(receive, self._max_upload_bytes)
        signed = await self._verifier.verified(body, envelope.REFERENCE)
        if isinstance(signed, Answer):
            return signed
        return await asyncio.to_thread(self._take_reference, signed.envelope)

    def _take_reference(self, parsed: envelope.Envelope) -> Answer:
        try:
            reference = Reference.from_json(parsed.unpack(self._max_body_bytes))
        except (WireError, InvalidReference) as error:
            return error_answer(400, str(error))
        if not reference.bootstrapped:
            return error_answer(400, "a device can only send a reference that it cut itself")
        try:
            merged = self._register(reference)
        except StoreUnavailableError:
            raise
        except InvalidReference as error:
            return error_answer(400, str(error))
        except TelemetryError as error:
            return error_answer(429, str(error), retry_after_s=3600)
        return json_answer(200, merged=merged)

    async def _enrol(self, receive: Receive) -> Answer:
        body = await http.read_body(receive, MAX_ENROL_BYTES)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return error_answer(400, "the body is no JSON")
        token = asked.get("token") if isinstance(asked, dict) else None
        device = asked.get("device") if isinstance(asked, dict) else None
        if not isinstance(token, str) or not (device is None or isinstance(device, str)):
            return error_answer(400, 'the body is {"token": "…", "device": "…"}, the device may be left out')
        try:
            issued = await in_thread(self._keys.enrol, token, device)
        except AccessError as error:
            return error_answer(401, error.what)
        except StoreUnavailableError:
            raise
        except TelemetryError as error:
            return error_answer(400, str(error))
        if issued is None:
            return error_answer(409, "the device has a key; revoke it first, or add one with `edgekit telemetry keys`")
        key = base64.b64encode(issued.key).decode()
        return json_answer(200, device=issued.device, key_id=issued.key_id, key=key)

    async def _health(self, _receive: Receive) -> Answer:
        return HEALTHY

    async def _ready(self, _receive: Receive) -> Answer:
        if self.closing:
            return error_answer(503, "shutting down", retry_after_s=RETRY_AFTER_S)
        await in_thread(self._keys.find, "-")
        return HEALTHY

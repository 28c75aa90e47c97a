"""From the bytes of a body to an upload whose signature is good, or the answer to one that is not.

Keys stay in memory until the generation of keys and references changes. One that is not there is looked up in the
database, in a thread, so a slow database holds up nobody's health check.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from edgekit.errors import StoreUnavailableError
from edgekit.telemetry.collector.http import Answer, error_answer
from edgekit.telemetry.collector.uploads import Upload
from edgekit.telemetry.reporter import envelope
from edgekit.telemetry.reporter.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.telemetry.collector.keys import KeyEntry, Keys

Answered = TypeVar("Answered")
KEYS_IN_MEMORY = 100_000
DATABASE_S = 15.0
"""How long a request waits for what the database must be asked before its upload can be judged."""
UNAUTHORISED = error_answer(401, "the signature, the key or the device is not one that this collector knows")


class Verifier:
    """Verifies uploads. For one event loop.

    Args:
        keys: knows devices.
        generation: tells the generation that the store is at.
    """

    def __init__(self, keys: Keys, generation: Callable[[], int]) -> None:
        self._keys = keys
        self._generation = generation
        self._known: dict[str, KeyEntry] = {}
        self._known_generation = -1

    async def verified(self, body: bytes, kind: int) -> Upload | Answer:
        """The upload, of that kind of `envelope`, or the answer to it.

        Raises:
            StoreUnavailableError: its key cannot be looked up.
        """
        while True:
            known, _ = self._keys_in_memory()
            found = self.verified_by_known(body, kind)
            if found is not None:
                return found
            key_id = envelope.parse(body).key_id
            entry = await in_thread(self._keys.find, key_id)
            if entry is None:
                return UNAUTHORISED
            known[key_id] = entry  # of a dictionary that is dropped with its generation: then it is looked up again

    def verified_by_known(self, body: bytes, kind: int) -> Upload | Answer | None:
        """The same by keys in memory alone; None: its key must be looked up."""
        received_ns = time.time_ns()
        try:
            parsed = envelope.parse(body)
        except WireError as error:
            return error_answer(400, str(error))
        known, generation = self._keys_in_memory()
        entry = known.get(parsed.key_id)
        if entry is None:
            return None
        if entry.revoked or entry.device != parsed.device or not parsed.verify(entry.key):
            return UNAUTHORISED
        if parsed.kind != kind:
            return error_answer(400, "an envelope of another kind is expected here")
        return Upload(parsed, entry.cohort, received_ns, generation)

    def _keys_in_memory(self) -> tuple[dict[str, KeyEntry], int]:
        """Keys by their id, and the generation that was known before any of them was looked up."""
        if self._known_generation != self._generation() or len(self._known) > KEYS_IN_MEMORY:
            self._known = {}
            self._known_generation = self._generation()
        return self._known, self._known_generation


async def in_thread(ask: Callable[..., Answered], *arguments: Any) -> Answered:
    """What the database says, asked in a thread.

    Raises:
        StoreUnavailableError: it has not answered within `DATABASE_S`, or says so itself.
    """
    try:
        return await asyncio.wait_for(asyncio.to_thread(ask, *arguments), DATABASE_S)
    except asyncio.TimeoutError as error:
        raise StoreUnavailableError("The database does not answer.", remedy="Look at its log.") from error

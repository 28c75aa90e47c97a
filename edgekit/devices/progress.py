"""What an upload tells while it runs, and what it moved in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


class Expected(msgspec.Struct, frozen=True):
    """What an upload is going to do, once that is known: bytes of the files that are sent, and that are there."""

    new_bytes: int
    reused_bytes: int
    resumed_bytes: int


@dataclass(frozen=True)
class Progress:
    """Whom an upload tells how it goes.

    `on_plan` is told what is going to be done: once, or twice if everything must be sent after all. `on_bytes` is told
    how many of the new bytes went out since it was last told.
    """

    on_bytes: Callable[[int], None] = lambda _: None
    on_plan: Callable[[Expected], None] = lambda _: None


class Uploaded(msgspec.Struct, frozen=True):
    """What an upload moved. `sent_bytes` went over the link (fewer than were new if `compressed`)."""

    sent_bytes: int
    reused_bytes: int
    resumed_bytes: int
    compressed: bool

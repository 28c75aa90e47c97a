"""One line of a runner, read with suspicion: the device may be broken, or somebody else's.

What comes out is plain JSON: finite numbers, no depth to overflow a stack, and text without control characters, so that
whatever of it is shown, stored or compared later does nothing to a terminal (ESC sequences, rewritten lines, text that
reads backwards). docs/formats/runner-protocol.md describes what it should say; who uses an event checks its fields.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from edgekit.errors import printable

MAX_EVENTS = 100_000
"""Of one request. A runner gives two signs of life a second, so this is half a day of them."""
MAX_BYTES = 256 << 20
"""Of one request: all its lines together."""
MAX_FIELDS = 1000
"""Of one event, nested ones included; lists of numbers do not count."""


def parse_event(line: str) -> dict[str, Any] | None:
    """The event in a line; None if there is none in it."""
    try:
        event = json.loads(line, parse_constant=_refuse, parse_float=_finite, parse_int=_int64)
    except (ValueError, RecursionError):  # ValueError also for a number of thousands of digits
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    try:
        cleaned: dict[str, Any] = _Cleaner().clean(event)
    except (ValueError, RecursionError):
        return None
    return cleaned


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _int64(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{text[:30]} is beyond what anything here counts")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond what a float can hold")
    return number


class _Cleaner:
    def __init__(self) -> None:
        self._fields = 0

    def clean(self, value: Any) -> Any:
        """The same, with printable text.

        Raises:
            ValueError: it has too many fields.
        """
        if isinstance(value, dict):
            self._fields += len(value)
            if self._fields > MAX_FIELDS:
                raise ValueError("too many fields")
            return {printable(key): self.clean(inner) for key, inner in value.items()}
        if isinstance(value, list):
            if value and not isinstance(value[0], int | float):
                return [self.clean(inner) for inner in value]
            if all(isinstance(inner, int | float) for inner in value):
                return value
            return [self.clean(inner) for inner in value]
        return printable(value) if isinstance(value, str) else value

"""What can go wrong, in words for a person. `observe` raises none of these: it counts what it could not record."""

from __future__ import annotations


class ReporterError(Exception):
    """Root of the reporter's errors: one paragraph that says what, where, and what to do."""


class InvalidReference(ReporterError, ValueError):
    """A reference that this version does not read, or that contradicts itself."""


class WireError(ReporterError, ValueError):
    """Bytes that are no window, body or envelope of this version; the only error that decoding raises."""


class StateError(ReporterError):
    """The state directory cannot be used."""

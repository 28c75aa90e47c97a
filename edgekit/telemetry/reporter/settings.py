"""What `Reporter.open` was asked for, checked: whatever is wrong about it is said there and nowhere later."""

from __future__ import annotations

import os

from .directory import default_state
from .errors import InvalidReference, ReporterError
from .records import TYPE_CHECKING, NamedTuple
from .reference import Reference
from .wire import MAX_LABELS, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from typing import Mapping

    from .clock import Clock

REFERENCE = "reference.json"
MANIFEST = "manifest.json"


class Settings(NamedTuple):
    """See `Reporter.open` for what each is."""

    reference: Reference | None
    model: str
    artifact: str
    state: str
    device: str
    collector: str
    token: str
    key_id: str
    key: bytes
    labels: tuple[tuple[str, str], ...]
    window_s: float
    window_count: int
    checkpoint_s: float
    checkpoint_count: int
    queue_bytes: int
    background: bool
    way: str | None
    clock: Clock


def reference_of(source: Reference | str | os.PathLike[str] | None) -> tuple[Reference | None, str]:
    """The reference and the artifact's id of an artifact's folder, a reference.json, or a `Reference`.

    Raises:
        InvalidReference: there is none, or it cannot be used.
    """
    if source is None or isinstance(source, Reference):
        return source, ""
    path = os.fspath(source)
    try:
        if not os.path.isdir(path):
            return Reference.load(path), ""
        artifact = ""
        manifest = os.path.join(path, MANIFEST)
        if os.path.exists(manifest):
            import hashlib

            with open(manifest, "rb") as file:
                artifact = hashlib.sha256(file.read()).hexdigest()
        found = os.path.join(path, REFERENCE)
        return (Reference.load(found) if os.path.exists(found) else None), artifact
    except OSError as error:
        raise InvalidReference("No reference can be read from %s: %s." % (path, error)) from error


def settings_of(
    source: Reference | str | os.PathLike[str] | None,
    *,
    model: str,
    artifact: str,
    state: str | os.PathLike[str] | None,
    device: str,
    collector: str,
    token: str,
    key_id: str,
    key: bytes,
    labels: Mapping[str, str] | None,
    window_s: float,
    window_count: int,
    checkpoint_s: float,
    checkpoint_count: int,
    queue_bytes: int,
    background: bool,
    way: str | None,
    clock: Clock,
) -> Settings:
    """The settings, checked.

    Raises:
        InvalidReference: the reference cannot be used.
        ReporterError: something else cannot; it says what.
    """
    reference, found = reference_of(source)
    name = reference.model if reference is not None else model
    if not name:
        raise ReporterError("There is no reference, so the model needs a name: Reporter.open(model=...).")
    if window_s <= 0 or window_count < 0 or checkpoint_s <= 0 or checkpoint_count < 1 or queue_bytes < 1:
        raise ReporterError("Lengths of windows and checkpoints, their counts and the queue's bytes are above 0.")
    if collector and not collector.startswith(("https://", "http://")):
        raise ReporterError("The collector is an address that begins with https:// or http://, not %r." % collector)
    if bool(key_id) != bool(key):
        raise ReporterError("A key and its id belong together: key_id= and key=.")
    pairs = tuple(sorted([(str(k), str(v)) for k, v in (labels or {}).items()]))
    for text in (*[text for pair in pairs for text in pair], device or "-"):
        if len(text.encode("utf-8")) > MAX_TEXT_BYTES or not text.isprintable():
            raise ReporterError("%r is not printable text of at most %d bytes." % (text, MAX_TEXT_BYTES))
    if len(pairs) > MAX_LABELS or not all(label for label, _ in pairs):
        raise ReporterError("Labels are at most %d, and each has a name." % MAX_LABELS)
    return Settings(
        reference,
        name,
        artifact or found,
        os.fspath(state) if state is not None else default_state(name),
        device,
        collector.rstrip("/"),
        token,
        key_id,
        key,
        pairs,
        window_s,
        window_count,
        checkpoint_s,
        checkpoint_count,
        queue_bytes,
        background,
        way,
        clock,
    )

"""`edgekit-report`, for programs that sleep and for people: sends what waits in a state directory, or tells about it.

    edgekit-report flush STATE [--timeout SECONDS]     exit 0: nothing waits any more; 1: something does, and why
    edgekit-report status STATE                        one JSON document

Both leave a directory alone that a running program uses: that program sends for itself.
"""

from __future__ import annotations

import json
import os
import sys

from .directory import claim, load_identity, orphans
from .errors import ReporterError
from .outbox import Outbox
from .records import TYPE_CHECKING
from .upload import Uploader
from .wire import decode

if TYPE_CHECKING:
    from typing import Any, Sequence

USAGE = "usage: edgekit-report flush STATE [--timeout SECONDS] | edgekit-report status STATE"
TIMEOUT_S = 60.0


def flush(state: str, timeout_s: float) -> str:
    """Sends what ended programs left; an empty text if nothing waits any more, else the reason.

    Raises:
        ReporterError: the directory cannot be used.
    """
    identity = load_identity(state)
    if identity is None or not identity.collector or not identity.key:
        raise ReporterError("%s has no collector and key: open a Reporter with them once." % state)
    own = claim(state)
    outbox = Outbox(own.folder)
    try:
        for path in orphans(state, own):
            outbox.adopt(Outbox.left_in(path))
            if not outbox.trouble:
                os.unlink(path)
        uploader = Uploader(outbox, identity)
        return "" if uploader.send_all(timeout_s) else uploader.last or "the time is over"
    finally:
        outbox.close()
        own.release()


def status(state: str) -> dict[str, Any]:
    """What waits in every folder of the directory, the open window of a program that runs included.

    Raises:
        ReporterError: device.json cannot be read.
    """
    identity = load_identity(state)
    folders = {}
    names = sorted(os.listdir(state)) if os.path.isdir(state) else []
    for name in names:
        journal = os.path.join(state, name, "journal")
        if name.isdigit() and os.path.exists(journal):
            windows = [decode(frame) for _, frame in Outbox.left_in(journal)]
            folders[name] = {
                "windows": len(windows),
                "inferences": sum([window.inferences for window in windows]),
                "dropped": sum([window.dropped for window in windows]),
                "since_ns": min([window.start_ns for window in windows], default=None),
            }
    return {
        "device": identity.device if identity else None,
        "collector": identity.collector if identity else None,
        "enrolled": bool(identity and identity.key),
        "folders": folders,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    timeout_s = TIMEOUT_S
    try:
        if "--timeout" in given:
            at = given.index("--timeout")
            timeout_s = float(given[at + 1])
            del given[at : at + 2]
        verb, state = given
    except (ValueError, IndexError):
        sys.stderr.write(USAGE + "\n")
        return 2
    try:
        if verb == "status":
            sys.stdout.write(json.dumps(status(state), indent=2) + "\n")
            return 0
        if verb == "flush":
            left = flush(state, timeout_s)
            if left:
                sys.stderr.write("Not all was sent: %s.\n" % left)
            return 1 if left else 0
    except (ReporterError, OSError) as error:
        sys.stderr.write("%s\n" % error)
        return 1
    sys.stderr.write(USAGE + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""Finding: one thing that was looked at on a device."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was looked at. `remedy` is empty where nothing need be done.

    "missing" stops any measurement; "absent" only that of the artifacts that need it; a "warning" distorts it.
    """

    level: Literal["ok", "warning", "missing", "absent"]
    subject: str
    what: str
    remedy: str = ""

"""The packages that `edgekit provision` brought (docs/formats/environment.md), for a program that runs here."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Optional

from .model import default_root


def site_folder(root: str) -> Optional[str]:
    """The folder with the packages; None where nothing was provisioned."""
    folder = os.path.join(root, "env", "current", "site")
    return folder if os.path.isdir(folder) else None


def use_environment(root: Optional[str] = None) -> bool:
    """Puts the provisioned packages in front on this program's `sys.path`, where the runner has them, too.

    Call it before they are imported: what is imported already stays as it is.

    Args:
        root: the store; see `default_root`.

    Returns:
        Whether there are any.
    """
    folder = site_folder(root or default_root())
    if folder is not None and folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
    return folder is not None

"""Imports of a converter without the packages that it would only look at.

Some converters import every framework that is installed, to note which they could read. coremltools took 9.2 seconds
of CPU time so, half of a whole conversion, where 0.7 s are its own.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def not_installed(packages: Sequence[str]) -> Iterator[None]:
    """Within the block these packages cannot be imported, except those that are already: they look not installed."""
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # what Python documents for just this
    try:
        yield
    finally:
        for name in hidden:
            if name in sys.modules and sys.modules[name] is None:
                del sys.modules[name]

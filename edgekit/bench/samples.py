"""Latencies as they are kept in a file: every one of them, in order, in few bytes.

A model of a few microseconds gives a hundred thousand samples a second, and runs are committed to git. So each is the
difference to the one before, folded to an unsigned number (0, -1, 1, -2, ... become 0, 1, 2, 3, ...); the numbers'
bytes are sorted by their weight, compressed with zlib and written as base64. The median stands beside them, because it
is what comparisons want: reading a thousand runs unpacks nothing.
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

MOST = 50_000_000
"""More samples than any block has; a file that claims more is refused before memory is taken for it."""
_LEAST, _BEYOND = 0, 1 << 62


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """n latencies in ns: their median (None of none), and all of them, packed."""

    n: int
    median_ns: float | None
    packed: str

    def unpack(self) -> NDArray[np.int64]:
        """All latencies in ns, shape (n,), in the order in which they were measured.

        Raises:
            ValueError: they are damaged.
        """
        import numpy as np

        if not 0 <= self.n <= MOST:
            raise ValueError(f"{self.n} samples are not what a block can have")
        try:
            inflate = zlib.decompressobj()
            raw = inflate.decompress(base64.b64decode(self.packed, validate=True), 8 * self.n + 1)
        except (ValueError, zlib.error) as error:
            raise ValueError(f"packed samples are damaged: {error}") from error
        if len(raw) != 8 * self.n:
            raise ValueError(f"packed samples are damaged: {len(raw)} bytes instead of {8 * self.n}")
        folded = np.frombuffer(raw, np.uint8).reshape(8, self.n).T.copy().view("<u8").reshape(self.n)
        deltas = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
        return np.cumsum(deltas, dtype=np.int64)


def pack(latencies_ns: Sequence[int]) -> Samples:
    """Packs latencies in ns.

    Raises:
        ValueError: a value is not a whole number from 0 to 2**62.
    """
    import numpy as np

    if any(type(value) is not int or not _LEAST <= value < _BEYOND for value in latencies_ns):
        raise ValueError("a latency is not a whole number of nanoseconds")
    values = np.asarray(latencies_ns, dtype=np.int64)
    deltas = np.diff(values, prepend=0)
    folded = ((deltas << 1) ^ (deltas >> 63)).astype("<u8")
    planes = folded.view(np.uint8).reshape(-1, 8).T.tobytes()
    packed = base64.b64encode(zlib.compress(planes, 9)).decode("ascii")
    return Samples(len(values), float(np.median(values)) if len(values) else None, packed)

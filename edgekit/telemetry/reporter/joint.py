"""Joint: how features go together, as one vector of whole numbers that adds up like counts.

Each feature's cells tell how it is distributed, and nothing of which values come together. A joint's vector does: the
sums, over rows, of random Fourier features (Rahimi and Recht 2007) of the whole row. The distance of two mean vectors
estimates the maximum mean discrepancy of two samples under a Gaussian kernel (Gretton et al. 2012), which is zero only
for equal joint distributions. docs/formats/reference.md has the numbers; in short, for one row:

    score      of each member, by its cell: the normal score of the cell's middle rank, in 32nds of a standard deviation
    phase      of each frequency: the sum of its factor × score over the members, modulo 2^16 a turn
    sums       + 127 + 127 cos, and + 127 + 127 sin of the phase, out of a table of 256 whole numbers

So everything is whole numbers from the cell on: the sum of the parts is the whole, bit for bit, in any order and on any
machine, and a value far out cannot rule the rest. A missing value has the score 0. The reference holds scores and
frequencies; nothing is drawn on the device. The vector's first number is that of its rows.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right

from .records import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Sequence

TURN = 1 << 16
STEPS = 256
SCORE_UNIT = 32
"""Scores are in so many parts of a standard deviation."""
MIDDLE = 127
LARGEST_SCORE = 127
LARGEST_FACTOR = (1 << 15) - 1
MAX_MEMBERS = 64
COSINES = tuple([round(MIDDLE + MIDDLE * math.cos(2 * math.pi * step / STEPS)) for step in range(STEPS)])
SINES = COSINES[-STEPS // 4 :] + COSINES[: -STEPS // 4]


class Joint(NamedTuple):
    """What a feature of kind "joint" is made of.

    Attributes:
        members: names of the features that it sees together, all numbers of one row.
        scores: for each member the score of each of its cells, -127 to 127.
        frequencies: for each frequency a factor for each member, -32,767 to 32,767.
        scale: the distance of mean vectors that counts as 1 (`distance_of_sums`).
    """

    members: tuple[str, ...]
    scores: tuple[tuple[int, ...], ...]
    frequencies: tuple[tuple[int, ...], ...]
    scale: float

    @property
    def size(self) -> int:
        """Numbers in its vector: rows, then a cosine of each frequency, then a sine of each."""
        return 1 + 2 * len(self.frequencies)


def fault_of(joint: Any, sizes: dict[str, int]) -> str:
    """What is wrong with a joint whose possible members have so many cells; empty if nothing is."""
    if not isinstance(joint, Joint) or not 2 <= len(joint.members) <= MAX_MEMBERS:
        return "a joint has 2 to %d members" % MAX_MEMBERS
    if len(set(joint.members)) != len(joint.members) or not set(joint.members) <= set(sizes):
        return "its members are numbers of its own row, each once"
    if [len(scores) for scores in joint.scores] != [sizes[name] for name in joint.members]:
        return "its members have one score a cell"
    if not joint.frequencies or {len(factors) for factors in joint.frequencies} != {len(joint.members)}:
        return "its frequencies have one factor a member"
    for rows, limit in ((joint.scores, LARGEST_SCORE), (joint.frequencies, LARGEST_FACTOR)):
        if not all(type(each) is int and -limit <= each <= limit for row in rows for each in row):
            return "scores and factors are whole numbers of at most %d" % limit
    if type(joint.scale) not in (int, float) or not 0 < joint.scale < math.inf:
        return "its scale is a number above 0"
    return ""


class Sums:
    """Sums vectors by the standard library.

    All phases of a row are one long integer with a lane of 32 bits for each frequency: a member adds its factors times
    its score (plus 128, so that nothing is negative), which the interpreter does in C for all lanes at once. 64 members
    stay below 2^30. The second byte of each lane is the step in the tables.
    """

    def __init__(self, joint: Joint, edges: Sequence[Sequence[float]]) -> None:
        self._lanes = len(joint.frequencies)
        self._members = [
            (cuts, [score + 128 for score in scores], self._packed([factors[j] for factors in joint.frequencies]))
            for j, (cuts, scores) in enumerate(zip(edges, joint.scores))
        ]
        self._start = self._packed([-128 * sum(factors) for factors in joint.frequencies])
        self._tables = [bytes(COSINES), bytes(SINES)]

    def _packed(self, numbers: Sequence[int]) -> int:
        return int.from_bytes(struct.pack("<%dI" % self._lanes, *[n % TURN for n in numbers]), "little")

    def __call__(self, rows: Sequence[Sequence[float]]) -> list[int]:
        """The vector of rows of one value a member each, NaN where missing."""
        lanes = self._lanes
        steps = []
        for row in rows:
            phases = self._start
            for value, (cuts, scores, factors) in zip(row, self._members):
                phases += factors * (scores[bisect_right(cuts, value)] if value == value else 128)
            steps.append(phases.to_bytes(4 * lanes, "little")[1::4])
        taken = b"".join(steps)
        vector = [len(rows)]
        for table in self._tables:
            found = taken.translate(table)
            vector += [sum(found[f::lanes]) for f in range(lanes)]
        return vector


class NumpySums:
    """The same with NumPy, for batches."""

    def __init__(self, numpy: Any, joint: Joint, edges: Sequence[Sequence[float]]) -> None:
        self._numpy = numpy
        self._edges = [numpy.array(cuts, numpy.float64) for cuts in edges]
        self._scores = [numpy.array(scores, numpy.float64) for scores in joint.scores]
        # A product and its sums stay below 2^53, so the doubles are exact, and fast.
        self._factors = numpy.array(joint.frequencies, numpy.float64).T.copy()
        self._tables = [numpy.array(table, numpy.uint8) for table in (COSINES, SINES)]

    def features(self, columns: Any) -> Any:
        """`(n, 2 × frequencies)` bytes of `(members, n)` values: what each row adds."""
        numpy = self._numpy
        scores = numpy.empty((columns.shape[1], columns.shape[0]))
        for j, column in enumerate(columns):
            missing = column != column
            scores[:, j] = self._scores[j][self._edges[j].searchsorted(column, side="right")]
            if missing.any():
                scores[missing, j] = 0
        steps = ((scores @ self._factors).astype(numpy.int64) & (TURN - 1)) // (TURN // STEPS)
        return numpy.concatenate([table[steps] for table in self._tables], axis=1)

    def __call__(self, columns: Any) -> list[int]:
        """The vector of `(members, n)` values, NaN where missing."""
        return [columns.shape[1], *self.features(columns).sum(axis=0, dtype=self._numpy.int64).tolist()]


def distance_of_sums(joint: Joint, reference: Sequence[int], window: Sequence[int]) -> float:
    """The distance of two mean vectors in the joint's `scale`; 0 if one is of no rows.

    It is not bounded by 1. The scale is set so that .05 means as much as a feature's distance of .05 does: what the
    row as a whole moves when one of its features moves by an eighth of a standard deviation.
    """
    if not reference[0] or not window[0]:
        return 0.0
    squares = [(a / reference[0] - b / window[0]) ** 2 for a, b in zip(reference[1:], window[1:])]
    return math.sqrt(math.fsum(squares) / len(joint.frequencies)) / MIDDLE / joint.scale

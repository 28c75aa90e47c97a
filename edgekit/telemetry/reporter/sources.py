"""Sources: from what the program hands over to the counters of the features that come from it.

`observe` gets an input (or output) as one value, or as a mapping from names to values. The reference's tensors say what
is in it, and each kind has its way:

    row        numbers in order, or a batch of such rows; goes `straight` to a counter where nothing else is asked for
    scalars    all tensors of kind number or category of a role, in the reference's order, together as one row:
               a mapping by name (values, or columns of equal length), or a sequence in that order
    tensor     anything else: summarised first (`summaries`), each sample one row

A tensor that a mapping does not have counts as missing in all of its features. A call counts in all of its features or
in none: rows are prepared and checked for all tensors before the first one is counted.
"""

from __future__ import annotations

from .counting import CategoryCounter, counter_of, numbers_of
from .records import TYPE_CHECKING, NamedTuple
from .reference import JOINT, NUMBER
from .summaries import loaded_numpy, summarise

if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

    from .reference import Feature, Reference, Tensor
    from .window import FeatureCounts


class Counters:
    """The counters of some features, fed with rows that have one value a feature, numbers and categories mixed."""

    def __init__(self, features: Sequence[tuple[int, Feature]], way: str | None) -> None:
        joint = [each for each in features if each[1].kind == JOINT]
        features = [each for each in features if each[1].kind != JOINT]
        self.size = len(features)
        self._indices = [index for index, _ in features]
        self._numbers = [i for i, (_, feature) in enumerate(features) if feature.kind == NUMBER]
        self._categories = [
            (i, CategoryCounter(feature)) for i, (_, feature) in enumerate(features) if feature.kind != NUMBER
        ]
        numbers = [features[i][1] for i in self._numbers]
        self._counter = counter_of(numbers, way=way) if self._numbers else None
        if joint:
            from .joint_counting import JointCounter

            self._counter = JointCounter(self._counter, numbers, joint[0][1])
        self._counted = [self._indices[i] for i in self._numbers] + [index for index, _ in joint]
        self.straight = None if self._categories else self._counter
        """The counter that takes rows and batches as they are, where all features are numbers."""

    def check(self, row: Sequence[Any]) -> tuple[list[float], list[Any]]:
        """A row as numbers and categories, which `add` cannot fail on.

        Raises:
            TypeError, ValueError: it does not fit.
        """
        if len(row) != self.size:
            raise ValueError("a row of %d values for %d features" % (len(row), self.size))
        categories = [row[i] for i, _ in self._categories]
        hash(tuple(categories))
        return numbers_of([row[i] for i in self._numbers]), categories

    def add(self, row: tuple[list[float], list[Any]]) -> None:
        """Counts what `check` gave."""
        if self._counter is not None:
            self._counter.add(row[0])
        for (_, counter), value in zip(self._categories, row[1]):
            counter.add(value)

    def take(self, into: list[FeatureCounts]) -> None:
        """Puts the counts since the last time into their places."""
        if self._counter is not None:
            for index, counts in zip(self._counted, self._counter.take()):
                into[index] = counts
        for i, counter in self._categories:
            into[self._indices[i]] = counter.take()


class TensorSource:
    """A tensor of kind row, or one that is summarised."""

    def __init__(self, tensor: Tensor, features: Sequence[tuple[int, Feature]], way: str | None) -> None:
        self.name = tensor.name
        self.counters = Counters(features, way)
        self._tensor = tensor
        self._summaries = [feature.summary for _, feature in features if feature.kind != JOINT]
        self._numpy = way != "stdlib"
        in_order = self._summaries == ["column:%d" % i for i in range(len(self._summaries))]
        self.straight = self.counters.straight if tensor.kind == "row" and in_order else None

    def rows(self, value: Any) -> list[Sequence[Any]]:
        """One row an observation. Raises what does not fit."""
        numpy = loaded_numpy() if self._numpy else None
        return summarise(self._tensor, self._summaries, value, numpy=numpy)  # type: ignore[return-value] # rows of Any

    def rows_of(self, values: Any) -> tuple[list[Sequence[Any]], bool]:
        """The same out of a mapping, and whether it was in it."""
        if self.name in values:
            return self.rows(values[self.name]), True
        return [[None] * self.counters.size], False


class ScalarsSource:
    """All tensors of kind number or category of one role."""

    def __init__(self, names: Sequence[str], features: Sequence[tuple[int, Feature]], way: str | None) -> None:
        self.names = tuple(names)
        self.counters = Counters(features, way)
        self.straight = self.counters.straight

    def rows(self, value: Any) -> list[Sequence[Any]]:
        """As `TensorSource.rows`, for a scalar, a sequence in order, or a batch of such."""
        value = _plain(value)
        if not isinstance(value, (list, tuple)):
            value = [value]
        rows = list(value) if value and isinstance(_plain(value[0]), (list, tuple)) else [value]
        if len(self.names) == 1 and len(rows) == 1 and len(rows[0]) != 1:
            rows = [[item] for item in rows[0]]  # a batch of one scalar each
        return [_plain(row) for row in rows]

    def rows_of(self, values: Any) -> tuple[list[Sequence[Any]], bool]:
        """As `TensorSource.rows_of`: scalars, or columns of equal length."""
        row = [_plain(values.get(name)) for name in self.names]
        known = any(name in values for name in self.names)
        if not any(isinstance(item, (list, tuple)) for item in row):
            return [row], known
        length = max([len(item) for item in row if isinstance(item, (list, tuple))])
        columns = [[None] * length if item is None else item for item in row]
        if any(not isinstance(column, (list, tuple)) or len(column) != length for column in columns):
            raise ValueError("columns of different lengths")
        return list(zip(*columns)), known


def _plain(value: Any) -> Any:
    """Arrays as lists, their scalars as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


class Prepared(NamedTuple):
    """Rows that fit, ready to be counted; `samples` are the observations, those of the first tensor."""

    samples: int
    rows: list[tuple[Counters, list[tuple[list[float], list[Any]]]]]

    def commit(self) -> None:
        """Counts them."""
        for counters, rows in self.rows:
            for row in rows:
                counters.add(row)


class Role:
    """All inputs, or all outputs."""

    def __init__(self, reference: Reference, role: str, way: str | None) -> None:
        self.sources: list[TensorSource | ScalarsSource] = []
        names: list[str] = []
        scalars: list[tuple[int, Feature]] = []
        for tensor in reference.tensors:
            own = [(i, f) for i, f in enumerate(reference.features) if (f.role, f.tensor) == (role, tensor.name)]
            if tensor.role != role or not own:
                continue
            if tensor.kind in ("number", "category"):
                names.append(tensor.name)
                scalars.append(own[0])
            else:
                self.sources.append(TensorSource(tensor, own, way))
        if scalars:
            scalars += [
                (i, f) for i, f in enumerate(reference.features) if (f.role, f.tensor, f.kind) == (role, "", JOINT)
            ]
            self.sources.append(ScalarsSource(names, scalars, way))
        self.straight = self.sources[0].straight if len(self.sources) == 1 else None
        """The counter that takes a call's value as it is, if that is all there is to do."""

    def prepare(self, value: Any) -> Prepared:
        """Rows of one call's value or mapping, all checked.

        Raises:
            TypeError, ValueError, LookupError: it does not fit.
        """
        found: list[tuple[Any, list[Sequence[Any]]]] = []
        if hasattr(value, "keys"):
            known = False
            for source in self.sources:
                rows, there = source.rows_of(value)
                known = known or there
                found.append((source.counters, rows))
            if not known:
                raise LookupError("none of the names %r is known" % list(value)[:5])
        elif len(self.sources) == 1:
            found.append((self.sources[0].counters, self.sources[0].rows(value)))
        else:
            raise TypeError("there are %d tensors: hand over a mapping from their names" % len(self.sources))
        checked = [(counters, [counters.check(row) for row in rows]) for counters, rows in found]
        return Prepared(len(found[0][1]), checked)

    def count_rows(self, role: str, rows: Mapping[tuple[str, str], Sequence[Sequence[Any]]]) -> None:
        """Counts summaries that were made before, by (role, tensor)."""
        for source in self.sources:
            if isinstance(source, TensorSource):
                made = rows.get((role, source.name), [])
            else:
                columns = [[row[0] for row in rows.get((role, name), [])] for name in source.names]
                length = max(map(len, columns))
                made = list(zip(*[column + [None] * (length - len(column)) for column in columns]))
            for row in made:
                source.counters.add(source.counters.check(row))

    def take(self, into: list[FeatureCounts]) -> None:
        """Puts the counts since the last time into their places."""
        for source in self.sources:
            source.counters.take(into)

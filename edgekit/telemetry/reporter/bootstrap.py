"""Bootstrapping: a model that was deployed without a reference gets cells from the first window that it sees.

Until that window is sealed, a uniform sample of at most 4,096 calls is kept in memory (Vitter's algorithm R, 1985), as
summaries and never as raw tensors; nothing of it is written anywhere. Then the sample gives the cells, and is counted
over them; calls that were not in the sample are in that window's `dropped`, so all are accounted for. The reference is
kept in the state directory and says `bootstrapped`, as do the windows: they tell how a device changes against its own
beginning, not against what the model was made with.

What the tensors are is guessed from the first call: texts and truth values are categories; few numbers in a row are
columns; an output that is a whole number is a class, one of several numbers is scores; everything else is an array.
"""

from __future__ import annotations

import math
import random
from collections import Counter

from .cells import edges_of
from .counting import counter_of, numbers_of
from .recorder import Observed, Recorder
from .records import TYPE_CHECKING
from .reference import CATEGORY, INPUT, LATENCY, NUMBER, OUTPUT, Feature, Reference, Tensor
from .summaries import defaults, loaded_numpy, rows_of, summarise

if TYPE_CHECKING:
    from typing import Any, Sequence

SAMPLE = 4096
MAX_COLUMNS = 64
MAX_CATEGORIES = 1000
MAX_ROWS = 64
"""Of one call: a batch is sampled by its first rows."""


class Bootstrap:
    """Observes like a `Recorder`, and makes the reference in the end."""

    straight = None

    def __init__(self, way: str | None = None) -> None:
        self.inferences = self.errors = self.dropped = 0
        self.others = 0
        self._way = way
        self._tensors: dict[tuple[str, str], tuple[Tensor, list[tuple[str, str]]]] = {}
        self._sample: list[list[tuple[tuple[str, str], list[Sequence[Any]]]]] = []
        self._sizes: list[int] = []
        self._calls = 0
        self._draw = random.Random()  # noqa: S311 - which calls are sampled is no secret
        self._latency = counter_of([LATENCY], way=way)

    def observe(self, inputs: Any, outputs: Any, latency_ns: float | None, error: Any) -> int:
        """As `Recorder.observe`."""
        rows = self._rows(INPUT, inputs) + self._rows(OUTPUT, outputs)
        latency = None if latency_ns is None else float(latency_ns)
        samples = max(1, len(rows[0][1])) if rows else 1
        self._calls += 1
        kept = min(samples, MAX_ROWS)
        self.dropped += samples - kept
        rows = [(key, each[:MAX_ROWS]) for key, each in rows]
        if len(self._sample) < SAMPLE:
            self._sample.append(rows)
            self._sizes.append(kept)
        else:
            place = self._draw.randrange(self._calls)
            lost = kept
            if place < SAMPLE:
                lost, self._sizes[place], self._sample[place] = self._sizes[place], kept, rows
            self.dropped += lost
        if latency is not None:
            self._latency.add([latency])
        self.inferences += samples
        if error is not None and error is not False:
            self.errors += samples
        return samples

    def finish(self, model: str, device: str) -> tuple[Reference, Observed] | None:
        """The reference from the sample, and the sample counted over it; None if there was nothing to count."""
        values: dict[tuple[str, str], list[Sequence[Any]]] = {}
        for call in self._sample:
            for name, rows in call:
                values.setdefault(name, []).extend(rows)
        features = []
        for key, (tensor, summaries) in self._tensors.items():
            columns = list(zip(*values.get(key, [])))
            features += [_feature(tensor, *each, column) for each, column in zip(summaries, columns)]
        if not features:
            return None
        tensors = [tensor for tensor, _ in self._tensors.values()]
        reference = Reference.of(
            model, features, tensors=tensors, data="first window of %s" % device, bootstrapped=True
        )
        recorder = Recorder(reference, self._way)
        recorder.count_rows(values)
        observed = Observed(
            self.inferences,
            self.errors,
            self.dropped,
            self._latency.take()[0],
            recorder.take().features,
        )
        return reference, observed

    def _rows(self, role: str, value: Any) -> list[tuple[tuple[str, str], list[Sequence[Any]]]]:
        if value is None:
            return []
        named = dict(value) if hasattr(value, "keys") else {role: value}
        found: list[tuple[tuple[str, str], list[Sequence[Any]]]] = []
        for name, each in named.items():
            if (role, name) not in self._tensors:
                if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.encode("utf-8")) <= 64:
                    raise ValueError("a tensor's name is printable text of at most 64 bytes, not %.80r" % (name,))
                self._tensors[(role, name)] = _guess(name, role, each)
            tensor, summaries = self._tensors[(role, name)]
            rows = summarise(tensor, [summary for summary, _ in summaries], each, numpy=loaded_numpy())
            kinds = [kind for _, kind in summaries]
            found.append(((role, name), [_checked(kinds, row) for row in rows]))
        return found


def _checked(kinds: Sequence[str], row: Sequence[Any]) -> list[Any]:
    """A row of numbers, and of categories that a reference can hold.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if len(row) != len(kinds):
        raise ValueError("a row of %d values; the first one had %d" % (len(row), len(kinds)))
    checked: list[Any] = []
    for kind, value in zip(kinds, row):
        if kind == NUMBER:
            checked += numbers_of([value])
        elif value is None or isinstance(value, (str, int)):
            checked.append(int(value) if isinstance(value, bool) else value)
        elif isinstance(value, float):  # a NaN is missing; a whole number is that number
            checked.append(int(value) if value.is_integer() else None if value != value else str(value))
        else:
            raise TypeError("a category is a text or a whole number, not a %s" % type(value).__name__)
    return checked


def _guess(name: str, role: str, value: Any) -> tuple[Tensor, list[tuple[str, str]]]:
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, (str, bool)) or (role == OUTPUT and isinstance(value, int)):
        return Tensor(name, role, "category"), [("value", CATEGORY)]
    if isinstance(value, (int, float)):
        return Tensor(name, role, "number"), [("value", NUMBER)]
    row = rows_of(value, 1)[0]
    texts = [isinstance(item, (str, bool)) for item in row]
    if role == OUTPUT and 1 < len(row) <= MAX_CATEGORIES and not any(texts):
        shares = all(0 <= item <= 1 for item in row) and math.isclose(sum(row), 1, abs_tol=1e-3)
        tensor = Tensor(name, role, "scores", low=0.0 if shares else None, high=1.0 if shares else None)
    elif len(row) <= MAX_COLUMNS and (
        not isinstance(value[0], (list, tuple)) or not isinstance(value[0][0], (list, tuple))
    ):
        return Tensor(name, role, "row"), [
            ("column:%d" % i, CATEGORY if text else NUMBER) for i, text in enumerate(texts)
        ]
    else:
        tensor = Tensor(name, role, "array")
    return tensor, defaults(tensor, (len(row),))


def _feature(tensor: Tensor, summary: str, kind: str, column: Sequence[Any]) -> Feature:
    name = tensor.name if summary == "value" else "%s.%s" % (tensor.name, summary)
    seen = [value for value in column if value is not None and value == value]
    feature = Feature(name, kind, tensor.role, tensor.name, summary, missing=len(column) - len(seen))
    if kind == CATEGORY:
        values = tuple([value for value, _ in Counter(seen).most_common(MAX_CATEGORIES)])
        feature = feature._replace(categories=values)
        counts = Counter(seen)
        cells = [counts[value] for value in values]
        return feature._replace(cells=(*cells, len(seen) - sum(cells)))
    numbers = sorted([float(value) for value in seen])
    finite = [value for value in numbers if math.isfinite(value)]
    feature = feature._replace(edges=edges_of(finite))
    counter = counter_of([feature], way="stdlib")
    for value in numbers:
        counter.add([value])
    counts = counter.take()[0]
    if finite:
        feature = feature._replace(mean=counts.mean, m2=counts.m2 if math.isfinite(counts.m2) else None)
        feature = feature._replace(min=counts.min, max=counts.max)
    return feature._replace(cells=counts.cells)

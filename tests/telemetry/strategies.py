"""Hypothesis strategies for references and windows: everything that the formats can hold."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from edgekit.telemetry.reporter.reference import (
    CATEGORY,
    INPUT,
    LATENCY,
    MAX_CELLS,
    NUMBER,
    OUTPUT,
    Feature,
    Reference,
    Tensor,
)
from edgekit.telemetry.reporter.window import FeatureCounts, Window

names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12).filter(
    lambda text: len(text.encode()) <= 64 and text.isprintable()
)
finite = st.floats(allow_nan=False, allow_infinity=False)
small = st.integers(0, 1 << 20)


@st.composite
def counts(draw: st.DrawFn, size: int | None = None, largest: int = 1 << 40) -> FeatureCounts:
    """Counts of a number or of a category."""
    size = draw(st.one_of(st.integers(1, 40), st.just(MAX_CELLS))) if size is None else size
    top = draw(st.sampled_from([0, 1, 255, 256, 65535, 65536, largest]))
    random = Random(draw(st.integers(0, 1 << 16)))  # a thousand draws of Hypothesis' own would take a second
    cells = tuple([random.randint(0, top) for _ in range(size)])
    n = sum(cells)
    positive = draw(st.integers(0, min(n, 3)))
    negative = draw(st.integers(0, min(n - positive, 3)))
    moments = (float("inf"), float("-inf"), 0.0, 0.0)
    if n - positive - negative and draw(st.booleans()):
        low, high = sorted((draw(finite), draw(finite)))
        moments = (low, high, draw(st.floats(low, high)), draw(st.floats(0, allow_nan=False)))
    return FeatureCounts(cells, draw(small), positive, negative, draw(st.integers(0, n)), *moments)


@st.composite
def windows(draw: st.DrawFn, features: int = 4) -> Window:
    """Any window, with up to `features` features."""
    wall = st.integers(-(1 << 63), (1 << 63) - 1)
    return Window(
        device=draw(names),
        boot=draw(st.binary(min_size=16, max_size=16)).hex(),
        seq=draw(st.integers(0, (1 << 63) - 1)),
        model=draw(names),
        artifact=draw(st.sampled_from(["", "a1" * 32])),
        reference=draw(st.binary(min_size=32, max_size=32)).hex(),
        start_ns=draw(wall),
        end_ns=draw(wall),
        span_ns=draw(st.integers(0, (1 << 63) - 1)),
        synced=draw(st.sampled_from([None, True, False])),
        bootstrapped=draw(st.booleans()),
        labels=tuple(sorted(draw(st.dictionaries(names, names, max_size=4)).items())),
        inferences=draw(small),
        errors=draw(small),
        dropped=draw(small),
        coalesced=draw(small),
        latency=draw(counts(LATENCY.size, largest=1 << 20)),
        features=tuple(draw(st.lists(counts(), max_size=features))),
    )


@st.composite
def references(draw: st.DrawFn) -> Reference:
    """A reference with numbers and categories of inputs and outputs."""
    tensors = (Tensor("x", INPUT, "row"), Tensor("y", OUTPUT, "scores", low=0.0, high=1.0))
    features = []
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        role, tensor = draw(st.sampled_from([(INPUT, "x"), (OUTPUT, "y")]))
        if draw(st.booleans()):
            edges = tuple(sorted({value + 0.0 for value in draw(st.lists(finite, max_size=20))}))
            cells = draw(st.lists(small, min_size=len(edges) + 1, max_size=len(edges) + 1))
            features.append(
                Feature(
                    name, NUMBER, role, tensor, "column:0", edges, (), tuple(cells), floors=((200, 0.1), (1000, 0.04))
                )
            )
        else:
            values = tuple(draw(st.lists(st.one_of(names, st.integers(-5, 300)), max_size=9, unique=True)))
            cells = draw(st.lists(small, min_size=len(values) + 1, max_size=len(values) + 1))
            features.append(Feature(name, CATEGORY, role, tensor, "class", (), values, tuple(cells)))
    return Reference.of("model", features, tensors=tensors, data="drawn")

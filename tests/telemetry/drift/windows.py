"""References and windows of known distributions, for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.references.columns import Column, counts_of, features_of

if TYPE_CHECKING:
    from edgekit.telemetry.reporter.reference import Feature
    from edgekit.telemetry.reporter.window import FeatureCounts


def reference_of(values: np.ndarray, **known: object) -> Layout:
    """A layout of `(n, F)` values, one feature a column."""
    columns = [Column(f"f{i}", "number", values[:, i], **known) for i in range(values.shape[1])]  # type: ignore[arg-type]
    return Layout(features_of(columns))


def window_of(layout: Layout, values: np.ndarray) -> list[FeatureCounts]:
    """What a device would have counted of `(n, F)` values."""
    return [counts_of(feature, values[:, i]) for i, feature in enumerate(layout.features)]


def number(values: np.ndarray, **known: object) -> Feature:
    """One feature of `(n,)` values."""
    return features_of([Column("x", "number", np.asarray(values, dtype=float), **known)])[0]  # type: ignore[arg-type]


def stream(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """A stationary AR(1) process of standard deviation 1."""
    noise = rng.normal(size=n + 300) * np.sqrt(1 - rho**2)
    return np.asarray(lfilter([1], [1, -rho], noise)[300:])

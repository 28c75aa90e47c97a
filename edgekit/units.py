"""Quantities for people: bytes, durations, decibels, metrics; three digits, a unit, and – for what was not measured."""

from __future__ import annotations


def size(count: float | None) -> str:
    """Bytes for people, in powers of ten: `1.97 MB`."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def duration(ns: float | None) -> str:
    """Nanoseconds for people: `1.23 ms`, four digits at the most."""
    if ns is None:
        return "–"
    for unit, factor in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        if ns < factor * 1000:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"


def decibel(value: float | None, *, exact: bool = False) -> str:
    """An SNR; "exact" where the answers are equal to the bit."""
    if value is None:
        return "exact" if exact else "–"
    return f"{value:.1f} dB"


def metric(value: float | None, unit: str) -> str:
    """A metric's value in its unit; `%` is the share times 100."""
    if value is None:
        return "–"
    return f"{value * 100:.2f} %" if unit == "%" else f"{value:.4g}{' ' + unit if unit else ''}"

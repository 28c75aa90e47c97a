"""Formats: one module each. `base.Format` says what a new one writes."""

from edgekit.convert.formats.base import Format, Precision

__all__ = ["Format", "Precision"]

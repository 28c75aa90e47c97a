"""Formats: one module each. `base.Format` says what a new one writes."""

from edgekit.convert.formats.base import KEEP, Converted, Explanation, Exported, Format, Operator, Precision, kept

__all__ = ["KEEP", "Converted", "Explanation", "Exported", "Format", "Operator", "Precision", "kept"]

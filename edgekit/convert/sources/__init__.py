"""Sources: one module a kind of trained model. `base.Source` says what a new one writes."""

from edgekit.convert.sources.base import Reference, Source

__all__ = ["Reference", "Source"]

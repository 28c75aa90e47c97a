"""Sources: one module a kind of trained model. `base.Source` says what a new one writes."""

from edgekit.convert.sources.base import ONNX, PROGRAM, SAVED_MODEL, TFLITE, Reference, Source

__all__ = ["ONNX", "PROGRAM", "SAVED_MODEL", "TFLITE", "Reference", "Source"]

"""TFLite metadata in a `.tflite`: what Android Studio and ML Kit read names, labels and normalization from.

`metadata` makes the table (a flatbuffer of its own, `M001`) out of a manifest; `annotation` adds it to the model, with
label files as a ZIP at the end, and changes no byte of the model's own.
"""

from __future__ import annotations

from edgekit.bundle.tflite.annotation import annotated
from edgekit.bundle.tflite.metadata import Image, label_files, metadata

__all__ = ["Image", "annotated", "label_files", "metadata"]

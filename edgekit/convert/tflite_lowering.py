"""From an export to a float32 `.tflite`: by TensorFlow's converter, or by litert-torch."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgekit.convert.programs import load_program
from edgekit.convert.sources.base import PROGRAM, SAVED_MODEL
from edgekit.convert.tflite_writing import module_path, rewritten
from edgekit.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgekit.convert.formats.base import Exported


def from_saved_model(exported: Exported) -> bytes:
    """By way of TensorFlow's converter, with LiteRT's own operators only."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(exported.folder / SAVED_MODEL))
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises what it likes here
        missing = sorted(set(re.findall(r"\btf\.(?!lite\b)[A-Z]\w+", str(error))))
        if not missing:
            raise
        raise RefusedError(
            f"TFLite has no operator for {', '.join(missing)}, which the model uses.",
            remedy="Write that part of the model with other operators, or leave it outside of the model.",
        ) from error


def from_torch(exported: Exported, path: Path, channels_last: Sequence[int]) -> None:
    """By way of litert-torch. The inputs of these numbers become NHWC."""
    import litert_torch

    program = load_program(exported.folder / PROGRAM)
    arguments, keywords = program.example_inputs or ((), {})
    module = program.module()
    if channels_last:
        module = litert_torch.to_channel_last_io(module, args=list(channels_last))
        arguments = tuple(
            argument.permute(0, 2, 3, 1).contiguous() if i in channels_last else argument
            for i, argument in enumerate(arguments)
        )
    with _known_export(module, program if not channels_last else None):
        litert_torch.convert(module, arguments, keywords or None).export(str(path))
    path.write_bytes(rewritten(path.read_bytes(), rename=module_path))


@contextmanager
def _known_export(module: Any, program: Any) -> Iterator[None]:
    """Within the block, `torch.export.export` of this module gives the program that the module was made of.

    litert-torch takes modules only, and exports them by that public function, which takes as long as the first time.
    Should it come to export them otherwise, it merely exports them again.
    """
    import torch

    export = torch.export.export

    def known(given: Any, *arguments: Any, **options: Any) -> Any:
        return program if given is module and program is not None else export(given, *arguments, **options)

    torch.export.export = known
    try:
        yield
    finally:
        torch.export.export = export

"""A folder for a program in Python: a typed wrapper, the artifacts, the reporter, an example, a check and a README.

The wrapper needs numpy and the runtime, and nothing of EdgeKit: `_model.py` is a template of this package, and
`_runtimes/` has the very module by which EdgeKit proved the artifact (docs/decisions/0002).
"""

from __future__ import annotations

import importlib
import inspect
import json
import keyword
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit import plugins
from edgekit.bundle.document import generator
from edgekit.bundle.names import comment, distinct, snake
from edgekit.telemetry.packaging import zipapp_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.artifact import Manifest
    from edgekit.bundle.kind import Content, Request
    from edgekit.specs import TensorSpec

_TEMPLATES = Path(__file__).parent / "templates" / "python"
_IMPORTED = ("numpy", "ai_edge_litert", "tflite_runtime", "tensorflow", "onnxruntime", "edgekit_reporter")
_WHEELS = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}


class Python:
    """`--for python`."""

    formats = ("tflite", "onnx")
    variants = True
    varying = True
    parts = ("edgekit.bundle.names", "edgekit.bundle.templates")

    def files(self, request: Request) -> dict[str, Content]:
        """A package named by the bundle, `example.py`, `check.py`, README.md and requirements.txt."""
        package = _package(request.name)
        files: dict[str, Content] = {
            f"{package}/__init__.py": _wrapper(request),
            f"{package}/_model.py": (_TEMPLATES / "model.py").read_text(),
            f"{package}/edgekit_reporter.pyz": zipapp_bytes(),
            f"{package}/py.typed": b"",
            "example.py": (_TEMPLATES / "example.py").read_text().replace("PACKAGE", package),
            "check.py": (_TEMPLATES / "check.py").read_text().replace("PACKAGE", package),
            "requirements.txt": _requirements(request),
            "README.md": _readme(request, package),
        }
        for variant in request.variants:
            runtime = variant.manifest.runtime
            source = inspect.getsourcefile(plugins.load("runtime", runtime))
            assert source is not None
            files[f"{package}/_runtimes/{runtime}.py"] = Path(source)
            for entry in variant.artifact.shipped_files():
                files[f"{package}/artifacts/{variant.name}/{entry.path}"] = variant.file(entry.path)
        files[f"{package}/_runtimes/__init__.py"] = '"""The runtimes, by the modules that proved the artifacts."""\n'
        files[f"{package}/_compare.py"] = Path(str(importlib.import_module("edgekit.runner.compare").__file__))
        return files


def _package(name: str) -> str:
    """The package's name: nothing of Python's own, and not that of the runtime."""
    reserved = [*keyword.kwlist, *sys.stdlib_module_names, *_IMPORTED, "example", "check"]
    return distinct([name], lambda n: snake(n, "model"), reserved)[0]


def _wrapper(request: Request) -> str:
    manifest = request.preferred.manifest
    reserved = [*keyword.kwlist, "self"]
    inputs = distinct([t.name for t in manifest.inputs], snake, reserved)
    outputs = distinct([t.name for t in manifest.outputs], snake, [*reserved, "count", "index"])
    takes = "\n".join(_described(name, tensor) for name, tensor in zip(inputs, manifest.inputs, strict=True))
    gives = "\n".join(
        f'    {name}: np.ndarray\n    """{_shape(tensor)}"""'
        for name, tensor in zip(outputs, manifest.outputs, strict=True)
    )
    variants = json.dumps([variant.name for variant in request.variants])
    return f'''"""{comment(manifest.model)}, made by {generator()}: see README.md.

    from {_package(request.name)} import Model

    model = Model.open()
    outputs = model({", ".join(inputs)})
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple

import numpy as np

from ._model import Loaded, RuntimeVersionError, WrongAnswerError

__all__ = ["LABELS", "Model", "Outputs", "RuntimeVersionError", "WrongAnswerError"]

VARIANTS = {variants}
"""What is tried, in this order; the last is the fallback."""

LABELS: Dict[str, Tuple[str, ...]] = {_labels(manifest, outputs)}
"""What the entries of an output's last axis stand for, by the output's name in `Outputs`."""


class Outputs(NamedTuple):
    """What the model answers, as real values."""

{gives}


class Model(Loaded):
    """The model, loaded. Made by `Model.open()`; one thread at a time may call it."""

    variants = VARIANTS

    def __call__(self, {", ".join(f"{name}: np.ndarray" for name in inputs)}) -> Outputs:
        """Answers one call, in real values: quantization is done here.

        Args:
{takes}

        Raises:
            ValueError: another shape, or a dtype that cannot be taken without loss of kind.
        """
        return Outputs(*self.run([{", ".join(inputs)}]))
'''


def _labels(manifest: Manifest, outputs: Sequence[str]) -> str:
    """A dict of the labels, by the wrapper's name of the output."""
    rows = [
        f"    {name!r}: ({' '.join(f'{label!a},' for label in manifest.labels[tensor.name])}),\n"
        for name, tensor in zip(outputs, manifest.outputs, strict=True)
        if tensor.name in manifest.labels
    ]
    return "{\n" + "".join(rows) + "}" if rows else "{}"


def _described(name: str, tensor: TensorSpec) -> str:
    return f"            {name}: {_shape(tensor)}"


def _shape(tensor: TensorSpec) -> str:
    dtype = "float32" if tensor.quantization is not None else tensor.dtype
    sizes = tensor.describe().split("[", 1)[1]
    return comment(f"{dtype}[{sizes}" + (f", {tensor.layout}" if tensor.layout else "") + f" ({tensor.name})")


def _requirements(request: Request) -> str:
    lines = {"numpy"}
    for variant in request.variants:
        wheel = _WHEELS[variant.manifest.runtime]
        version = variant.manifest.provenance.tools.get(wheel)
        lines.add(f"{wheel}>={version}" if version else wheel)
    return "\n".join(sorted(lines)) + "\n"


def _readme(request: Request, package: str) -> str:
    manifest = request.preferred.manifest
    rows = "\n".join(
        f"| {variant.name} | `{variant.artifact.short_id}` | {variant.manifest.payload_bytes} |"
        for variant in request.variants
    )
    return f"""# {comment(request.name)}

Made by {generator()} of the model {comment(manifest.model)}. `bundle.json` lists every file by its sha256.

    python3 -m pip install -r requirements.txt
    python3 check.py        # the golden inputs give the golden outputs on this machine, or exit status 3
    python3 example.py

| variant, in the order tried | artifact | bytes |
|---|---|---|
{rows}

`{package}.Model.open()` takes the first variant that loads and answers one golden input rightly; the last is the
fallback. A runtime older than the one that the artifact was proven with is refused; `Model.open(any_version=True)`
takes it if the golden inputs agree. `example.py` counts what the model sees with the reporter,
`{package}/edgekit_reporter.pyz`.

Origin: {comment(manifest.provenance.origin or "not told")}.
Licence: {comment(manifest.provenance.licence or "not told")}.
"""

"""A folder for a program in C: a typed header, a loader over the runtimes' C APIs, an example, a test, CMakeLists.txt.

    include/NAME.h         the model: named inputs and outputs, labels; generated from the manifest
    include/NAME_types.h   options, errors, tensors, quantization; the same in every bundle
    src/model.c            tables of the variants, generated
    src/*.c                the loader, LiteRT, ONNX Runtime; the same in every bundle
    models/                the payloads, a folder a variant; with the option `array` also compiled in (src/array_*.c)
    tests/                 the golden inputs, and the program that runs them
    example.c  CMakeLists.txt  README.md

The runtime is a shared library that is opened at run time, and looked at before it is used; nothing is linked but the C
library. All names begin with the bundle's, so that a program can hold several bundles of several versions of EdgeKit.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit.bundle.c.source import KEYWORDS, array_file, header_file, model_file, refuse_unsuitable
from edgekit.bundle.c.text import cmake_lists, example_file, golden_header, readme
from edgekit.bundle.names import distinct, snake
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from edgekit.bundle.kind import Content, Request

_TEMPLATES = Path(__file__).parent.parent / "templates" / "c"
_SHARED = ("loader.c", "runtime.h", "quantize.c", "sha256.c", "sha256.h", "library.c", "library.h")
_RUNTIMES = {"litert": "litert.c", "onnxruntime": "onnxruntime.c"}
_LARGEST_ARRAY = 32 << 20
"""Bytes of payloads: GCC takes 1 GB of memory and 23 s for an array of so many."""


_TARGETS = frozenset(
    {"all", "clean", "depend", "edit_cache", "help", "install", "package", "rebuild_cache", "run_tests", "test"}
    | {"c", "dl", "m"}
)
"""What CMake's library cannot be called: targets of CMake's own, and what it links."""


class C:
    """`--for c`."""

    formats = ("tflite", "onnx")
    variants = True
    varying = False
    options = MappingProxyType({"array": "compiles the models in, at 64 bytes: no file is needed at run time"})
    parts = ("edgekit.bundle.c", "edgekit.bundle.names", "edgekit.bundle.templates", "edgekit.bundle.versions")

    def files(self, request: Request) -> dict[str, Content]:
        """The bundle's files; see the module.

        Raises:
            BundleError: a tensor that C has no type for, or models too large to be compiled in.
        """
        refuse_unsuitable(request)
        arrays = "array" in request.options
        name = prefix(request.name)
        runtimes = sorted({variant.manifest.runtime for variant in request.variants})
        compiled = [*(file for file in _SHARED if file.endswith(".c")), *(_RUNTIMES[r] for r in runtimes), "model.c"]
        files: dict[str, Content] = {
            f"include/{name}_types.h": _template("edgekit.h", name),
            f"include/{name}.h": header_file(request, name),
            "src/model.c": model_file(request, name, arrays=arrays),
            "tests/golden.h": golden_header(request, name),
            "tests/golden_test.c": _template("golden_test.c", name),
            "example.c": example_file(request, name),
            "README.md": readme(request, name, runtimes, arrays=arrays),
        }
        for file in (*_SHARED, *(_RUNTIMES[runtime] for runtime in runtimes)):
            files[f"src/{file}"] = _template(file, name)
        for file in ("npy.c", "npy.h", "dtype.c", "dtype.h"):  # the native runner's own: what it reads, this reads
            files[f"tests/{file}"] = _TEMPLATES.parents[2] / "runner" / "native" / file
        if arrays and (total := sum(variant.manifest.payload_bytes for variant in request.variants)) > _LARGEST_ARRAY:
            raise BundleError(
                f"The models have {total} bytes; up to {_LARGEST_ARRAY} can be compiled in.",
                remedy="Leave the option `array` out: the models are then files.",
            )
        for i, variant in enumerate(request.variants):
            if arrays:
                files[f"src/array_{i}.c"] = array_file(variant.payload.read_bytes(), name, i)
                compiled.append(f"array_{i}.c")
            files[f"models/{variant.name}/{variant.payload.name}"] = variant.payload
            files[f"models/{variant.name}/manifest.json"] = variant.file("manifest.json")
            golden = variant.manifest.golden
            for side, names in (("input", golden.inputs), ("output", golden.outputs)):
                for k, path in enumerate(names):
                    files[f"tests/golden/{variant.name}/{side}-{k}.npy"] = variant.file(path)
        files["CMakeLists.txt"] = cmake_lists(name, sorted(compiled), arrays=arrays)
        return files


def prefix(name: str) -> str:
    """What all names of a bundle begin with."""
    return distinct([name], lambda text: snake(text, "model"), KEYWORDS | _TARGETS, ("edgekit",))[0]


def _template(file: str, name: str) -> str:
    """A template with the bundle's own names: its symbols, macros, and the header of its types."""
    text = (_TEMPLATES / file).read_text().replace('"edgekit.h"', f'"{name}_types.h"')
    return re.sub(r"\bEDGEKIT_", f"{name.upper()}_", re.sub(r"\bedgekit_", f"{name}_", text))

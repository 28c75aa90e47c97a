"""The rest of what is generated for a bundle in C: the example, the golden table, CMakeLists.txt, README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bundle.c.source import names, spoken
from edgekit.bundle.document import generator
from edgekit.bundle.names import comment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bundle.kind import Request

_LIBRARIES = {
    "litert": ("LITERT_LIBRARY", "libLiteRt.so", "ai-edge-litert", "ai_edge_litert", "libLiteRt.so"),
    "onnxruntime": (
        "ONNXRUNTIME_LIBRARY",
        "libonnxruntime.so",
        "onnxruntime",
        "onnxruntime",
        "capi/libonnxruntime.so.*",
    ),
}


def golden_header(request: Request, name: str) -> str:
    """tests/golden.h: how close the answers have to come, a variant."""
    limits = ", ".join(repr(float(variant.manifest.golden.min_snr_db)) for variant in request.variants)
    return f"""/* How close each variant's answers must come to its golden outputs, in dB. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "runtime.h"

extern const {name}_description {name}_model_description;

static const double {name}_golden_snr_db[] = {{{limits}}};

#endif
"""


def example_file(request: Request, name: str) -> str:
    """example.c: opens the model, asks it once, and shows what it answers."""
    manifest, upper = request.preferred.manifest, name.upper()
    inputs, outputs = names(request, name)
    arrays = "".join(
        f"static {spoken(tensor)} value_of_{identifier}[{upper}_{identifier.upper()}_COUNT];\n"
        for identifier, tensor in zip((*inputs, *outputs), (*manifest.inputs, *manifest.outputs), strict=True)
    )
    shown = []
    for identifier, tensor in zip(outputs, manifest.outputs, strict=True):
        count = f"{upper}_{identifier.upper()}_COUNT"
        value, largest = f"value_of_{identifier}", f"largest_of_{identifier}"
        lines = [
            f"  size_t {largest} = 0;",
            f"  for (size_t i = 1; i < {count}; i++)",
            f"    if ({value}[i] > {value}[{largest}]) {largest} = i;",
            f'  printf("{identifier}: the largest of %d is %zu", {count}, {largest});',
        ]
        if tensor.name in manifest.labels:
            label = f"{name}_labels_{identifier}[{largest} % {upper}_{identifier.upper()}_LABELS]"
            lines.append(f'  printf(" (%s)", {label});')
        shown.append("\n".join([*lines, '  printf("\\n");']))
    told, values = "\n".join(shown), ", ".join(f"value_of_{identifier}" for identifier in (*inputs, *outputs))
    return f"""/* Asks the model once, with zeros: {name}_example [FOLDER OF MODELS]. */
#include <stdio.h>
#include <stdlib.h>

#include "{name}.h"

{arrays}
int main(int count, char **arguments) {{
  {name}_error error = {{{{0}}}};
  {name}_options options = {{0}};
  options.litert = getenv("LITERT_LIBRARY");
  options.onnxruntime = getenv("ONNXRUNTIME_LIBRARY");
  {name}_model *model = {name}_open(count > 1 ? arguments[1] : NULL, &options, &error);
  if (model == NULL) {{
    fprintf(stderr, "%s\\n", error.text);
    return 1;
  }}
  printf("variant %s\\n", {name}_variant_name(model));
  if ({name}_passed_over(model)[0] != '\\0') printf("passed over: %s\\n", {name}_passed_over(model));
  if (!{name}_run(model, {values}, &error)) {{
    fprintf(stderr, "%s\\n", error.text);
    {name}_close(model);
    return 1;
  }}
{told}
  {name}_close(model);
  return 0;
}}
"""


def cmake_lists(name: str, compiled: Sequence[str], *, arrays: bool) -> str:
    """CMakeLists.txt: the library, and with NAME_TESTS (on where it is the top) the test and the example."""
    sources = "\n".join(f"  src/{file}" for file in compiled)
    golden = "${CMAKE_CURRENT_SOURCE_DIR}/tests/golden"
    again = f"  add_test(NAME {name}_golden_arrays COMMAND {name}_golden_test - {golden})\n"
    return f"""# Made by {generator()}. In a project of yours: add_subdirectory(...), target_link_libraries(app {name}).
cmake_minimum_required(VERSION 3.13)
project({name} C)

add_library({name} STATIC
{sources}
)
target_include_directories({name} PUBLIC include PRIVATE src)
set_target_properties({name} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON POSITION_INDEPENDENT_CODE ON)
target_link_libraries({name} PUBLIC m ${{CMAKE_DL_LIBS}})

if(CMAKE_CURRENT_SOURCE_DIR STREQUAL CMAKE_SOURCE_DIR)
  option({name.upper()}_TESTS "the golden test and the example" ON)
endif()
if({name.upper()}_TESTS)
  enable_testing()
  add_executable({name}_example example.c)
  target_link_libraries({name}_example {name})
  add_executable({name}_golden_test tests/golden_test.c tests/npy.c tests/dtype.c)
  target_include_directories({name}_golden_test PRIVATE src tests)
  target_compile_definitions({name}_golden_test PRIVATE _POSIX_C_SOURCE=200809L)
  target_link_libraries({name}_golden_test {name})
  set_target_properties({name}_golden_test {name}_example PROPERTIES C_STANDARD 11)
  add_test(NAME {name}_golden COMMAND {name}_golden_test
    ${{CMAKE_CURRENT_SOURCE_DIR}}/models {golden})
{again if arrays else ""}endif()
"""


def readme(request: Request, name: str, runtimes: Sequence[str], *, arrays: bool) -> str:
    """README.md."""
    manifest = request.preferred.manifest
    rows = "\n".join(
        f"| {variant.name} | `{variant.artifact.short_id}` | {variant.manifest.payload_bytes} |"
        for variant in request.variants
    )
    inputs, outputs = names(request, name)
    libraries = "\n".join(
        f"- {library}: the option `{runtime}` names it ({variable} in the test and the example), or the\n"
        f"  system's loader finds it. The wheel {wheel} has it:\n  "
        f"`python3 -c \"import {package} as p, pathlib; print(*pathlib.Path(p.__file__).parent.glob('{pattern}'))\"`"
        for runtime in runtimes
        for variable, library, wheel, package, pattern in [_LIBRARIES[runtime]]
    )
    compiled = "The models are compiled in as well: pass NULL as the folder.\n\n" if arrays else ""
    return f"""# {comment(request.name)}

Made by {generator()} of the model {comment(manifest.model)}. `bundle.json` lists every file by its sha256.

    cmake -S . -B build && cmake --build build
    cd build && ctest --output-on-failure      # the golden inputs give the golden outputs on this machine
    ./{name}_example ../models

    {name}_model *model = {name}_open("models", NULL, &error);
    if (model != NULL && {name}_run(model, {", ".join((*inputs, *outputs))}, &error)) ...

| variant, in the order tried | artifact | bytes |
|---|---|---|
{rows}

`include/{name}.h` has everything. The first variant that loads is taken; the last is the fallback, and must run
everywhere. A model's file is believed by its sha256, a runtime by its version: one that this code cannot drive is
refused, and one older than the model was proven with as well, unless `any_version` is set. It needs C11 and POSIX, and
links nothing but the C library; the runtime is opened when the model is:

{libraries}

{compiled}Origin: {comment(manifest.provenance.origin or "not told")}.
Licence: {comment(manifest.provenance.licence or "not told")}.
"""

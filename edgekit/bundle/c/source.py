"""The C that depends on the manifest: a typed header, tables of variants and tensors, models as arrays.

Names of the manifest reach it as identifiers of `edgekit.bundle.names` and as literals of printable ASCII only.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from edgekit.bundle.document import generator
from edgekit.bundle.names import comment, distinct, snake
from edgekit.bundle.versions import proven_version
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from edgekit.bundle.kind import Request, Variant
    from edgekit.specs import TensorSpec

KEYWORDS = frozenset(
    {"alignas", "alignof", "and", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char", "class"}
    | {"compl", "concept", "const", "consteval", "constexpr", "continue", "decltype", "default", "delete", "do"}
    | {"double", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if"}
    | {"inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "nullptr", "operator", "or"}
    | {"private", "protected", "public", "register", "requires", "restrict", "return", "short", "signed", "sizeof"}
    | {"static", "struct", "switch", "template", "this", "throw", "true", "try", "typedef", "typeid", "typename"}
    | {"typeof", "union", "unsigned", "using", "virtual", "void", "volatile", "while", "xor", "wchar_t", "size_t"}
    | {"int8_t", "uint8_t", "int16_t", "int32_t", "int64_t", "linux", "unix", "errno", "stdin", "stdout", "stderr"}
)
"""Of C and C++, the types that the header uses, and the lower-case macros of compilers."""

TYPES = {
    "float32": ("float", "FLOAT32"),
    "float64": ("double", "FLOAT64"),
    "int8": ("int8_t", "INT8"),
    "uint8": ("uint8_t", "UINT8"),
    "int16": ("int16_t", "INT16"),
    "int32": ("int32_t", "INT32"),
    "int64": ("int64_t", "INT64"),
    "bool": ("bool", "BOOL"),
}
_QUANTIZED = ("int8", "uint8", "int16", "int32")
_MAX_TENSORS, _MAX_RANK = 64, 8
_MOST_ELEMENTS = 2**31 - 1
_LARGEST_FLOAT = 3.4e38
_PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}


def refuse_unsuitable(request: Request) -> None:
    """Refuses what the loader has no place for.

    Raises:
        BundleError: a dtype that C has no type for, too many tensors, axes or elements, quantization whose parts do not
            fit together, or a payload that is no file.
    """
    for variant in request.variants:
        sides = (variant.manifest.inputs, variant.manifest.outputs)
        title = variant.artifact.title
        if any(len(side) > _MAX_TENSORS for side in sides):
            raise BundleError(
                f"A bundle for c cannot hold {title}: it has more than {_MAX_TENSORS} inputs or outputs.",
                remedy="Join them into fewer tensors, and convert the model again.",
            )
        if not variant.payload.is_file():
            raise BundleError(
                f"A bundle for c cannot hold {title}: its payload is a folder.", remedy="Take an artifact of one file."
            )
        for tensor in (*sides[0], *sides[1]):
            if (
                tensor.dtype not in (TYPES if tensor.quantization is None else _QUANTIZED)
                or len(tensor.shape) > _MAX_RANK
                or _count(tensor) > _MOST_ELEMENTS
                or not _is_sound(tensor)
            ):
                raise BundleError(
                    f"A bundle for c cannot hold {title}: {tensor.name!r} is {tensor.describe()}, which its loader "
                    "does not take.",
                    remedy="Give the model ends of float32 or integers with up to 8 axes and 2³¹ - 1 elements, "
                    "and convert it again.",
                )


def _is_sound(tensor: TensorSpec) -> bool:
    """Whether the scales and zero points are as many as C is going to read: one pair a tensor, or one a channel."""
    quantization = tensor.quantization
    if quantization is None:
        return True
    scales, points, axis = quantization.scale, quantization.zero_point, quantization.axis
    by_channel = tensor.shape[axis] if axis is not None and 0 <= axis < len(tensor.shape) else 0
    channels = 1 if len(scales) == 1 else by_channel
    return (
        len(scales) == len(points) == channels > 0
        and all(0 <= scale < _LARGEST_FLOAT for scale in scales)
        and all(-(2**31) <= point < 2**31 for point in points)
    )


def string(text: str) -> str:
    """A literal: printable ASCII as it is, all else as octal digits of its UTF-8, three for each byte."""
    shown = []
    for byte in text.encode("utf-8", "replace"):
        character = chr(byte)
        shown.append(character if " " <= character <= "~" and character not in '"\\?' else f"\\{byte:03o}")
    return '"' + "".join(shown) + '"'


def spoken(tensor: TensorSpec) -> str:
    """The C type of a tensor's real values."""
    return "float" if tensor.quantization is not None else TYPES[tensor.dtype][0]


def names(request: Request, name: str) -> tuple[list[str], list[str]]:
    """An identifier for each input and each output; all are arguments of one function, which has names of its own."""
    manifest = request.preferred.manifest
    own = ("model", "failure", "given", "answers", f"{name}_model", f"{name}_error", f"{name}_run_real")
    inputs = distinct([t.name for t in manifest.inputs], snake, KEYWORDS, own)
    outputs = distinct([t.name for t in manifest.outputs], snake, KEYWORDS, (*own, *inputs))
    return inputs, outputs


def _count(tensor: TensorSpec) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def _said(tensor: TensorSpec) -> str:
    stored = f", stored as {tensor.dtype}" if tensor.quantization is not None else ""
    layout = f" {tensor.layout}" if tensor.layout else ""
    return comment(f"{spoken(tensor)}{list(tensor.shape)}{layout}, row-major{stored}: {tensor.name}")


def _signature(request: Request, name: str) -> str:
    inputs, outputs = names(request, name)
    manifest, upper = request.preferred.manifest, name.upper()
    arguments = [f"{name}_model *model"]
    for identifier, tensor in zip(inputs, manifest.inputs, strict=True):
        arguments.append(f"const {spoken(tensor)} {identifier}[{upper}_{identifier.upper()}_COUNT]")
    for identifier, tensor in zip(outputs, manifest.outputs, strict=True):
        arguments.append(f"{spoken(tensor)} {identifier}[{upper}_{identifier.upper()}_COUNT]")
    arguments.append(f"{name}_error *failure")
    head = f"bool {name}_run("
    return head + f",\n{' ' * len(head)}".join(arguments) + ")"


def header_file(request: Request, name: str) -> str:
    """include/NAME.h."""
    manifest, upper = request.preferred.manifest, name.upper()
    inputs, outputs = names(request, name)
    named = list(zip((*inputs, *outputs), (*manifest.inputs, *manifest.outputs), strict=True))
    counts = "".join(
        f"#define {upper}_{identifier.upper()}_COUNT {_count(tensor)} /* {_said(tensor)} */\n"
        for identifier, tensor in named
    )
    accessors = "".join(
        f"const {name}_tensor *{name}_tensor_{identifier}(const {name}_model *model);\n" for identifier, _ in named
    )
    labels = "".join(
        f"\n/* What the entries of the last axis of {identifier} stand for. */\n"
        f"#define {upper}_{identifier.upper()}_LABELS {len(manifest.labels[tensor.name])}\n"
        f"extern const char *const {name}_labels_{identifier}[{upper}_{identifier.upper()}_LABELS];\n"
        for identifier, tensor in named[len(manifest.inputs) :]
        if tensor.name in manifest.labels
    )
    return f"""/* {comment(manifest.model)}, made by {generator()}: see README.md. */
#ifndef {upper}_H
#define {upper}_H

#include "{name}_types.h"

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {name}_loaded {name}_model;

/* How many elements each input and output has. */
{counts}{labels}
/* Opens the first variant that loads here; the last is the fallback. `folder` holds the models' files: models/ of the
 * bundle; NULL takes what was compiled in. `options` may be NULL. Returns NULL, and in `failure` (unless NULL) why not
 * even the last one loads. */
{name}_model *{name}_open(const char *folder, const {name}_options *options, {name}_error *failure);

/* Answers one call in real values: quantization is done here. Returns whether it could. */
{_signature(request, name)};

/* The same with inputs and outputs as the variant stores them (see the tensors below), which converts nothing. */
bool {name}_run_stored({name}_model *model, const void *const *inputs, void *const *outputs,
                       {name}_error *failure);

/* Which variant was taken. */
const char *{name}_variant_name(const {name}_model *model);

/* How the variant stores each input and output: type, shape, scale and zero point, for {name}_quantize. */
{accessors}
void {name}_close({name}_model *model);

#ifdef __cplusplus
}}
#endif

#endif
"""


def model_file(request: Request, name: str, *, arrays: bool) -> str:
    """src/model.c: the tables, and the typed functions over the loader."""
    manifest = request.preferred.manifest
    inputs, outputs = names(request, name)
    tables = "\n".join(_variant_tables(variant, i, name) for i, variant in enumerate(request.variants))
    rows = "\n".join(_variant_row(variant, i, name, arrays=arrays) for i, variant in enumerate(request.variants))
    declared = "".join(f"extern const uint64_t {name}_array_{i}[];\n" for i in range(len(request.variants)))
    labels = "".join(
        f"\nconst char *const {name}_labels_{identifier}[{name.upper()}_{identifier.upper()}_LABELS] = {{\n    "
        + ",\n    ".join(map(string, manifest.labels[tensor.name]))
        + "};\n"
        for identifier, tensor in zip(outputs, manifest.outputs, strict=True)
        if tensor.name in manifest.labels
    )
    accessors = "\n".join(
        f"const {name}_tensor *{name}_tensor_{identifier}(const {name}_model *model) {{\n"
        f"  return &{name}_variant_of(model)->{side}[{i}];\n}}\n"
        for side, identifiers in (("inputs", inputs), ("outputs", outputs))
        for i, identifier in enumerate(identifiers)
    )
    return f"""/* {comment(manifest.model)}, made by {generator()}: what its manifests say. */
#include "{name}.h"
#include "runtime.h"

{declared if arrays else ""}{tables}
static const {name}_variant variants[] = {{
{rows}
}};

extern const {name}_description {name}_model_description;
const {name}_description {name}_model_description = {{{string(manifest.model)}, {len(request.variants)}, variants}};
{labels}
{name}_model *{name}_open(const char *folder, const {name}_options *options, {name}_error *failure) {{
  return {name}_load(&{name}_model_description, folder, options, failure);
}}

{_signature(request, name)} {{
  const void *const given[] = {{{", ".join(inputs)}}};
  void *const answers[] = {{{", ".join(outputs)}}};
  return {name}_run_real(model, given, answers, failure);
}}

const char *{name}_variant_name(const {name}_model *model) {{ return {name}_variant_of(model)->name; }}

{accessors}
void {name}_close({name}_model *model) {{ {name}_unload(model); }}
"""


def _variant_tables(variant: Variant, i: int, name: str) -> str:
    manifest = variant.manifest
    lines = []
    for side, specs, bindings in (
        ("inputs", manifest.inputs, manifest.bindings.inputs),
        ("outputs", manifest.outputs, manifest.bindings.outputs),
    ):
        rows = []
        for k, (tensor, binding) in enumerate(zip(specs, bindings, strict=True)):
            quantization, at = tensor.quantization, f"{side}_{i}_{k}"
            scale = zero_point = "NULL"
            if quantization is not None:
                scale, zero_point = f"scale_{at}", f"zero_point_{at}"
                scales = ", ".join(f"{value!r}f" for value in quantization.scale)
                lines.append(f"static const float {scale}[] = {{{scales}}};")
                points = ", ".join(map(str, quantization.zero_point))
                lines.append(f"static const int32_t {zero_point}[] = {{{points}}};")
            channels = len(quantization.scale) if quantization else 0
            axis = quantization.axis if quantization and quantization.axis is not None else 0
            shape = ", ".join(map(str, tensor.shape)) or "0"
            rows.append(
                f"    {{{string(tensor.name)}, {string(binding)}, {name.upper()}_{TYPES[tensor.dtype][1]}, "
                f"{len(tensor.shape)}, {{{shape}}}, {_count(tensor)}, {channels}, {scale}, {zero_point}, {axis}}},"
            )
        listed = "\n".join(rows)
        lines.append(f"static const {name}_tensor {side}_{i}[] = {{\n{listed}\n}};")
    return "\n".join(lines) + "\n"


def _variant_row(variant: Variant, i: int, name: str, *, arrays: bool) -> str:
    manifest = variant.manifest
    entry = next(file for file in manifest.files if file.path == manifest.payload)
    version = proven_version([manifest], _PACKAGES[manifest.runtime], manifest.runtime)
    data = f"(const unsigned char *){name}_array_{i}" if arrays else "NULL"
    return (
        f"    {{{string(variant.name)}, {string(variant.artifact.id)}, &{name}_{manifest.runtime}, {string(version)}, "
        f"{string(f'{variant.name}/{variant.payload.name}')},\n     {string(entry.sha256)}, {data}, {entry.bytes}, "
        f"{len(manifest.inputs)}, {len(manifest.outputs)}, inputs_{i}, outputs_{i}}},"
    )


def array_file(content: bytes, name: str, i: int) -> str:
    """src/array_I.c: a payload as an array, at 64 bytes, as runtimes like it for weights.

    Eight bytes a number: GCC takes a third of the time and memory that it takes for single bytes.
    """
    padded = content + bytes(-len(content) % 8)
    numbers = [f"0x{number:x}" for (number,) in struct.iter_unpack("<Q", padded)]
    lines = ",\n".join("    " + ",".join(numbers[at : at + 6]) for at in range(0, len(numbers), 6))
    return f"""#include <stdalign.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the model is written here for little-endian processors"
#endif

extern const uint64_t {name}_array_{i}[{len(numbers)}]; /* {len(content)} bytes */
alignas(64) const uint64_t {name}_array_{i}[{len(numbers)}] = {{
{lines}}};
"""

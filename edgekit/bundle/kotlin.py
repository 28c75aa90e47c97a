"""The Kotlin that depends on the manifest: a typed class, tables of tensors, names of golden files.

Names of the manifest reach it as identifiers and literals of `edgekit.bundle.names` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bundle.document import generator
from edgekit.bundle.names import comment, distinct, literal, lower_camel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Manifest
    from edgekit.bundle.kind import Request, Variant
    from edgekit.specs import TensorSpec

HARD_KEYWORDS = frozenset(
    {"as", "break", "class", "continue", "do", "else", "false", "for", "fun", "if", "in", "interface", "is", "null"}
    | {"object", "package", "return", "super", "this", "throw", "true", "try", "typealias", "typeof", "val", "var"}
    | {"when", "while"}
)
KINDS = {
    "float32": ("FloatArray", "floats"),
    "int32": ("IntArray", "ints"),
    "int64": ("LongArray", "longs"),
    "int16": ("ShortArray", "shorts"),
    "int8": ("ByteArray", "bytes"),
    "uint8": ("ByteArray", "bytes"),
    "bool": ("BooleanArray", "booleans"),
}


def string(text: str) -> str:
    """A literal of Kotlin, in which `$` begins a template."""
    return literal(text, also="$")


def _kind(tensor: TensorSpec) -> tuple[str, str]:
    return KINDS["float32" if tensor.quantization is not None else tensor.dtype]


def _said(tensor: TensorSpec) -> str:
    stored = f", stored as {tensor.dtype}" if tensor.quantization is not None else ""
    dtype = "float32" if tensor.quantization is not None else tensor.dtype
    layout = f" {tensor.layout}" if tensor.layout else ""
    return comment(f"{dtype}{list(tensor.shape)}{layout}, row-major{stored}: {tensor.name}")


def asset_folder(request: Request, variant: Variant) -> str:
    """Where a variant lies in the assets, of the module and of its test."""
    return f"edgekit/{request.name}/{variant.name}"


def wrapper_file(
    request: Request, package: str, wrapper: str, version: str, folder: Callable[[Request, Variant], str] = asset_folder
) -> str:
    """The typed class of one model, with the tables of all its variants.

    `folder` tells where a variant's model lies in the assets.
    """
    manifest = request.preferred.manifest
    inputs = distinct([t.name for t in manifest.inputs], lower_camel, HARD_KEYWORDS, ("loaded",))
    outputs = distinct([t.name for t in manifest.outputs], lower_camel, HARD_KEYWORDS)
    gives = "".join(
        f"        /** {_said(tensor)} */\n        public val {name}: {_kind(tensor)[0]},\n"
        for name, tensor in zip(outputs, manifest.outputs, strict=True)
    )
    takes = ", ".join(f"{name}: {_kind(tensor)[0]}" for name, tensor in zip(inputs, manifest.inputs, strict=True))
    said = "\n".join(
        f"     * @param {name} {_said(tensor)}" for name, tensor in zip(inputs, manifest.inputs, strict=True)
    )
    answers = ", ".join(f"loaded.{_kind(tensor)[1]}({i})" for i, tensor in enumerate(manifest.outputs))
    variants = "\n".join(_variant(variant, folder(request, variant)) for variant in request.variants)
    return f"""package {package}

import android.content.Context
import java.io.File

/** With what the models were proven. */
internal object Proven {{
    const val VERSION: String = {string(version)}
}}

/**
 * {comment(manifest.model)}, made by {generator()}. One thread at a time may call it; close it when it is not needed.
 */
public class {wrapper} private constructor(private val loaded: Loaded) : AutoCloseable {{
    /** What the model answers, as real values. */
    public class Outputs internal constructor(
{gives}    )

    /** Which variant was loaded. */
    public val variant: String get() = loaded.variant.name

    /** The variants that could not be loaded here, and why. */
    public val passedOver: Map<String, Throwable> get() = loaded.passedOver

    /**
     * Answers one call, in real values: quantization is done here.
     *
{said}
     * @throws IllegalArgumentException an array of another size
     */
    public fun run({takes}): Outputs {{
        loaded.run(listOf<Any>({", ".join(inputs)}))
        return Outputs({answers})
    }}

    override fun close() {{
        loaded.close()
    }}

    public companion object {{
{_labels(manifest, outputs)}        /**
         * Loads the first variant that can be loaded on this device, or the one that is named.
         *
         * @param folder where the models lie if they are no assets of the app, such as an AI pack's `assetsPath()`
         * @throws RuntimeVersionException the runtime is not one for these models
         * @throws NoVariantException not even the fallback can be loaded
         */
        public fun open(context: Context, threads: Int = 1, variant: String? = null, folder: File? = null): {wrapper} =
            {wrapper}(Loaded.open(context, VARIANTS, threads, variant, folder))

        /** In the order in which they are tried; the last is the fallback. */
        internal val VARIANTS: List<VariantInfo> = listOf(
{variants}
        )
    }}
}}
"""


def _labels(manifest: Manifest, outputs: Sequence[str]) -> str:
    """A list of labels for each output that has them."""
    parts = []
    for name, tensor in zip(outputs, manifest.outputs, strict=True):
        if tensor.name not in manifest.labels:
            continue
        listed = "".join(f"            {string(label)},\n" for label in manifest.labels[tensor.name])
        parts.append(
            f"        /** What the entries of the last axis of {name} stand for. */\n"
            f"        public val {name.removesuffix('_')}Labels: List<String> = listOf(\n{listed}        )\n\n"
        )
    return "".join(parts)


def _variant(variant: Variant, folder: str) -> str:
    manifest = variant.manifest
    sides = [
        "\n".join(_tensor(tensor, binding) for tensor, binding in zip(specs, bindings, strict=True))
        for specs, bindings in (
            (manifest.inputs, manifest.bindings.inputs),
            (manifest.outputs, manifest.bindings.outputs),
        )
    ]
    return f"""            VariantInfo(
                {string(variant.name)},
                {string(variant.artifact.id)},
                {string(f"{folder}/model.tflite")},
                listOf(
{sides[0]}
                ),
                listOf(
{sides[1]}
                ),
            ),"""


def _tensor(tensor: TensorSpec, binding: str) -> str:
    quantization = tensor.quantization
    scales = ", ".join(f"{scale!r}f" for scale in quantization.scale) if quantization else ""
    points = ", ".join(map(str, quantization.zero_point)) if quantization else ""
    axis = quantization.axis if quantization and quantization.axis is not None else 0
    return (
        f"                    TensorInfo({string(tensor.name)}, {string(binding)}, "
        f"intArrayOf({', '.join(map(str, tensor.shape))}), {string(tensor.dtype)}, "
        f"floatArrayOf({scales}), intArrayOf({points}), {axis}),"
    )


def golden_file(request: Request, package: str) -> str:
    """Which golden files each variant has, and how close its answers must come."""
    rows = []
    for variant in request.variants:
        golden, folder = variant.manifest.golden, asset_folder(request, variant)
        names = [f"{folder}/golden-{i}.npy" for i in range(len(golden.inputs) + len(golden.outputs))]
        first, second = (
            ", ".join(map(string, part)) for part in (names[: len(golden.inputs)], names[len(golden.inputs) :])
        )
        rows.append(
            f"        Golden({string(variant.name)}, {float(golden.min_snr_db)!r}, listOf({first}), listOf({second})),"
        )
    listed = "\n".join(rows)
    return f"""package {package}

/** The golden files of one variant, in this test's assets, and how close the answers have to come. */
internal class Golden(
    val variant: String,
    val minSnrDb: Double,
    val inputs: List<String>,
    val outputs: List<String>,
) {{
    companion object {{
        val ALL: List<Golden> = listOf(
{listed}
        )
    }}
}}
"""

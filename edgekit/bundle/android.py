"""A Gradle library module: models as uncompressed assets, a typed Kotlin wrapper over LiteRT, and an instrumented test.

What is the same for every model is in `templates/android`; generated are the typed class, the tables of tensors, the
names of the golden files and the build script. Names of the manifest reach Kotlin as identifiers and literals of
`edgekit.bundle.names` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bundle.document import generator
from edgekit.bundle.names import comment, distinct, literal, lower_camel, snake, upper_camel
from edgekit.bundle.versions import proven_version
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from edgekit.bundle.kind import Content, Request, Variant
    from edgekit.specs import TensorSpec

_TEMPLATES = Path(__file__).parent / "templates" / "android"
_HARD_KEYWORDS = frozenset(
    {"as", "break", "class", "continue", "do", "else", "false", "for", "fun", "if", "in", "interface", "is", "null"}
    | {"object", "package", "return", "super", "this", "throw", "true", "try", "typealias", "typeof", "val", "var"}
    | {"when", "while"}
)
_KINDS = {
    "float32": ("FloatArray", "floats"),
    "int32": ("IntArray", "ints"),
    "int64": ("LongArray", "longs"),
    "int16": ("ShortArray", "shorts"),
    "int8": ("ByteArray", "bytes"),
    "uint8": ("ByteArray", "bytes"),
    "bool": ("BooleanArray", "booleans"),
}
_STORED = ("int8", "uint8", "int16", "int32")
"""Dtypes that quantized values are read and written as."""


class Android:
    """`--for android`."""

    formats = ("tflite",)
    variants = True
    varying = False
    parts = ("edgekit.bundle.names", "edgekit.bundle.versions", "edgekit.bundle.templates")

    def files(self, request: Request) -> dict[str, Content]:
        """The module's files; a payload lies at `src/main/assets/edgekit/NAME/VARIANT/model.tflite`.

        Raises:
            BundleError: a dtype that LiteRT's Java API does not take, or no version of LiteRT to pin.
        """
        _refuse_dtypes(request)
        package = "edgekit.bundles." + _package(request)
        version = proven_version([variant.manifest for variant in request.variants], "ai-edge-litert", "litert")
        wrapper = _wrapper_name(request)
        source, test = (f"src/{side}/kotlin/{package.replace('.', '/')}" for side in ("main", "androidTest"))
        files: dict[str, Content] = {
            "build.gradle.kts": _build_script(package, version),
            "README.md": _readme(request, package, wrapper, version),
            "src/main/AndroidManifest.xml": "<manifest />\n",
            f"{source}/{wrapper}.kt": _wrapper(request, package, wrapper, version),
            f"{source}/Runtime.kt": _template("Runtime.kt", package, wrapper),
            f"{test}/Npy.kt": _template("Npy.kt", package, wrapper),
            f"{test}/GoldenTest.kt": _template("GoldenTest.kt", package, wrapper),
            f"{test}/Golden.kt": _golden(request, package),
        }
        for variant in request.variants:
            files[f"src/main/assets/{_asset(request, variant)}/model.tflite"] = variant.payload
            files[f"src/main/assets/{_asset(request, variant)}/manifest.json"] = variant.file("manifest.json")
            golden = variant.manifest.golden
            for i, name in enumerate((*golden.inputs, *golden.outputs)):
                files[f"src/androidTest/assets/{_asset(request, variant)}/golden-{i}.npy"] = variant.file(name)
        return files


def _refuse_dtypes(request: Request) -> None:
    for variant in request.variants:
        for tensor in (*variant.manifest.inputs, *variant.manifest.outputs):
            taken = _STORED if tensor.quantization is not None else tuple(_KINDS)
            if tensor.dtype not in taken:
                raise BundleError(
                    f"A bundle for android cannot hold {variant.artifact.title}: {tensor.name!r} is "
                    f"{tensor.describe()}, which LiteRT's Java interface does not take.",
                    remedy="Give the model ends of float32 or integers, and convert it again.",
                )


def _package(request: Request) -> str:
    return distinct([request.name], lambda name: snake(name, "model"), _HARD_KEYWORDS)[0]


def _wrapper_name(request: Request) -> str:
    """It ends in Model, so it is no keyword and hides no class of Kotlin's or of the runtime's."""
    name = upper_camel(request.name, "")
    return (name if name[:1].isalpha() else f"M{name}") + "Model"


def _asset(request: Request, variant: Variant) -> str:
    return f"edgekit/{request.name}/{variant.name}"


def _template(name: str, package: str, wrapper: str) -> str:
    return (_TEMPLATES / name).read_text().replace("PACKAGE", package).replace("WRAPPER", wrapper)


def _string(text: str) -> str:
    return literal(text, also="$")


def _kind(tensor: TensorSpec) -> tuple[str, str]:
    return _KINDS["float32" if tensor.quantization is not None else tensor.dtype]


def _said(tensor: TensorSpec) -> str:
    stored = f", stored as {tensor.dtype}" if tensor.quantization is not None else ""
    dtype = "float32" if tensor.quantization is not None else tensor.dtype
    layout = f" {tensor.layout}" if tensor.layout else ""
    return comment(f"{dtype}{list(tensor.shape)}{layout}, row-major{stored}: {tensor.name}")


def _wrapper(request: Request, package: str, wrapper: str, version: str) -> str:
    manifest = request.preferred.manifest
    inputs = distinct([t.name for t in manifest.inputs], lower_camel, _HARD_KEYWORDS, ("loaded",))
    outputs = distinct([t.name for t in manifest.outputs], lower_camel, _HARD_KEYWORDS)
    gives = "".join(
        f"        /** {_said(tensor)} */\n        public val {name}: {_kind(tensor)[0]},\n"
        for name, tensor in zip(outputs, manifest.outputs, strict=True)
    )
    takes = ", ".join(f"{name}: {_kind(tensor)[0]}" for name, tensor in zip(inputs, manifest.inputs, strict=True))
    said = "\n".join(
        f"     * @param {name} {_said(tensor)}" for name, tensor in zip(inputs, manifest.inputs, strict=True)
    )
    answers = ", ".join(f"loaded.{_kind(tensor)[1]}({i})" for i, tensor in enumerate(manifest.outputs))
    variants = "\n".join(_variant(request, variant) for variant in request.variants)
    return f"""package {package}

import android.content.Context

/** With what the models were proven. */
internal object Proven {{
    const val VERSION: String = {_string(version)}
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
        /**
         * Loads the first variant that can be loaded on this device, or the one that is named.
         *
         * @throws RuntimeVersionException the runtime is not one for these models
         * @throws NoVariantException not even the fallback can be loaded
         */
        public fun open(context: Context, threads: Int = 1, variant: String? = null): {wrapper} =
            {wrapper}(Loaded.open(context, VARIANTS, threads, variant))

        /** In the order in which they are tried; the last is the fallback. */
        internal val VARIANTS: List<VariantInfo> = listOf(
{variants}
        )
    }}
}}
"""


def _variant(request: Request, variant: Variant) -> str:
    manifest = variant.manifest
    sides = [
        "\n".join(_tensor(tensor, binding) for tensor, binding in zip(specs, bindings, strict=True))
        for specs, bindings in (
            (manifest.inputs, manifest.bindings.inputs),
            (manifest.outputs, manifest.bindings.outputs),
        )
    ]
    return f"""            VariantInfo(
                {_string(variant.name)},
                {_string(variant.artifact.id)},
                {_string(_asset(request, variant) + "/model.tflite")},
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
        f"                    TensorInfo({_string(tensor.name)}, {_string(binding)}, "
        f"intArrayOf({', '.join(map(str, tensor.shape))}), {_string(tensor.dtype)}, "
        f"floatArrayOf({scales}), intArrayOf({points}), {axis}),"
    )


def _golden(request: Request, package: str) -> str:
    rows = []
    for variant in request.variants:
        golden, folder = variant.manifest.golden, _asset(request, variant)
        names = [f"{folder}/golden-{i}.npy" for i in range(len(golden.inputs) + len(golden.outputs))]
        first, second = (
            ", ".join(map(_string, part)) for part in (names[: len(golden.inputs)], names[len(golden.inputs) :])
        )
        rows.append(
            f"        Golden({_string(variant.name)}, {float(golden.min_snr_db)!r}, listOf({first}), listOf({second})),"
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


def _build_script(package: str, version: str) -> str:
    return f"""// Made by {generator()}. The plugins' versions are those of the project that includes this module.
plugins {{
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}}

android {{
    namespace = {_string(package)}
    compileSdk = 35
    defaultConfig {{
        minSdk = 23
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
    }}
    androidResources {{
        noCompress += listOf("tflite", "pte", "ptl", "npy")
    }}
    compileOptions {{
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }}
}}

kotlin {{
    jvmToolchain(17)
    explicitApi()
}}

dependencies {{
    implementation("com.google.ai.edge.litert:litert") {{
        version {{ strictly({_string(version)}) }}
    }}
    androidTestImplementation("androidx.test:runner:1.6.2")
    androidTestImplementation("androidx.test.ext:junit:1.2.1")
}}
"""


def _readme(request: Request, package: str, wrapper: str, version: str) -> str:
    rows = "\n".join(
        f"| `{variant.name}` | `{variant.artifact.short_id}` | {variant.manifest.payload_bytes} |"
        for variant in request.variants
    )
    origin = request.preferred.manifest.provenance
    return f"""# {comment(request.name)}

A Gradle library module, made by {generator()} of the model {comment(request.preferred.manifest.model)}. `bundle.json`
lists every file by its sha256. Put it beside the app as `{request.name}/`, add `include(":{request.name}")` to
settings.gradle.kts and `implementation(project(":{request.name}"))` to the app. In Kotlin:

    {package}.{wrapper}.open(context).use {{ model -> model.run(...) }}

| variant, in the order tried | artifact | bytes |
|---|---|---|
{rows}

The first variant that loads is taken; the last is the fallback, and must run on every device. To have Google Play send
a device only what it can use, move a variant's folder into an AI pack, for a device group of yours; leave the fallback
here.

- LiteRT is pinned to {version}, with which the models were proven. If Maven has no such version, take the next one
  and run the test.
- The app must not compress models either: `androidResources {{ noCompress += "tflite" }}` in its build script. They are
  then mapped into memory where they lie in the APK; mapping begins at the page that holds the first byte.
- `./gradlew :{request.name}:connectedAndroidTest` runs the golden inputs on the attached device.

Origin: {comment(origin.origin or "not told")}.
Licence: {comment(origin.licence or "not told")}.
"""

"""A Gradle library module: models as uncompressed assets, a typed Kotlin wrapper over LiteRT, and an instrumented test.

What is the same for every model is in `templates/android`; generated are the typed class, the tables of tensors, the
names of the golden files (`edgekit.bundle.kotlin`) and the build script.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit.bundle.ai_pack import pack_files, pack_folder, pack_readme
from edgekit.bundle.document import generator
from edgekit.bundle.kotlin import HARD_KEYWORDS, KINDS, asset_folder, golden_file, string, wrapper_file
from edgekit.bundle.names import comment, distinct, snake, upper_camel
from edgekit.bundle.tflite import Image, annotated, label_files, metadata
from edgekit.bundle.versions import proven_version
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.bundle.kind import Content, Request, Variant

_TEMPLATES = Path(__file__).parent / "templates" / "android"
_STORED = ("int8", "uint8", "int16", "int32")
"""Dtypes that quantized values are read and written as."""


class Android:
    """`--for android`."""

    formats = ("tflite",)
    variants = True
    varying = False
    options = MappingProxyType(
        {
            "metadata": "`none` leaves the models without TFLite metadata",
            "image.": "image.INPUT=MEAN/STD tells in the metadata that an input is an image, and how it is normalized",
            "ai-pack": "puts the models into an AI pack of Play's: install-time, fast-follow or on-demand",
            "group.": "group.VARIANT=PROPERTIES tells which devices get a variant of the AI pack",
        }
    )
    parts = ("edgekit.bundle.ai_pack", "edgekit.bundle.kotlin", "edgekit.bundle.names", "edgekit.bundle.versions",
             "edgekit.bundle.templates", "edgekit.bundle.tflite")  # fmt: skip

    def files(self, request: Request) -> dict[str, Content]:
        """The module's files; a payload lies at `src/main/assets/edgekit/NAME/VARIANT/model.tflite`, or in the AI pack.

        Raises:
            BundleError: a dtype that LiteRT's Java API does not take, no version of LiteRT to pin, or an option that
                does not fit.
        """
        _refuse_dtypes(request)
        packed = "ai-pack" in request.options
        if not packed and (stray := [name for name in request.options if name.startswith("group.")]):
            raise BundleError(
                f"The option {stray[0]!r} is of an AI pack, and there is none.",
                remedy="Add --option ai-pack=install-time.",
            )
        payloads = [_payload(variant, request.options) for variant in request.variants]
        pack = pack_files(request, payloads) if packed else {}
        package = "edgekit.bundles." + _package(request)
        version = proven_version([variant.manifest for variant in request.variants], "ai-edge-litert", "litert")
        wrapper = _wrapper_name(request)
        source, test = (f"src/{side}/kotlin/{package.replace('.', '/')}" for side in ("main", "androidTest"))
        files: dict[str, Content] = {
            **pack,
            "build.gradle.kts": _build_script(package, version),
            "README.md": _readme(request, package, wrapper, version),
            "src/main/AndroidManifest.xml": "<manifest />\n",
            f"{source}/{wrapper}.kt": wrapper_file(
                request, package, wrapper, version, pack_folder if packed else asset_folder
            ),
            f"{source}/Runtime.kt": _template("Runtime.kt", package, wrapper),
            f"{test}/Npy.kt": _template("Npy.kt", package, wrapper),
            f"{test}/GoldenTest.kt": _template("GoldenTest.kt", package, wrapper).replace(
                "CONTEXT", "context" if packed else "targetContext"
            ),
            f"{test}/Golden.kt": golden_file(request, package),
        }
        for variant, payload in zip(request.variants, payloads, strict=True):
            if packed:  # the module's own test has no pack: it brings the models along
                files[f"src/androidTest/assets/{pack_folder(request, variant)}/model.tflite"] = payload
            else:
                files[f"src/main/assets/{asset_folder(request, variant)}/model.tflite"] = payload
            files[f"src/main/assets/{asset_folder(request, variant)}/manifest.json"] = variant.file("manifest.json")
            golden = variant.manifest.golden
            for i, name in enumerate((*golden.inputs, *golden.outputs)):
                files[f"src/androidTest/assets/{asset_folder(request, variant)}/golden-{i}.npy"] = variant.file(name)
        return files


def _payload(variant: Variant, options: Mapping[str, str]) -> Content:
    """A variant's model, with TFLite metadata unless they are not wanted."""
    images = {name.removeprefix("image."): text for name, text in options.items() if name.startswith("image.")}
    inputs = {tensor.name: tensor for tensor in variant.manifest.inputs}
    wanted = options.get("metadata", "")
    if wanted not in ("", "none") or (wanted and images):
        raise BundleError(
            f"The option metadata={wanted} does not go with the others."
            if images
            else f"There is no metadata={wanted}.",
            remedy="Use metadata=none to leave them out, and image.INPUT=MEAN/STD without it.",
        )
    if wanted == "none":
        return variant.payload
    for name in images:
        if name not in inputs:
            raise BundleError(
                f"The model has no input {name!r} to be an image.", remedy=f"Name one of {', '.join(inputs)}."
            )
    content = variant.payload.read_bytes()
    table = metadata(variant.artifact, content, {name: Image.read(text, inputs[name]) for name, text in images.items()})
    return annotated(content, table, label_files(variant.manifest), title=variant.artifact.title)


def _refuse_dtypes(request: Request) -> None:
    for variant in request.variants:
        for tensor in (*variant.manifest.inputs, *variant.manifest.outputs):
            taken = _STORED if tensor.quantization is not None else tuple(KINDS)
            if tensor.dtype not in taken:
                raise BundleError(
                    f"A bundle for android cannot hold {variant.artifact.title}: {tensor.name!r} is "
                    f"{tensor.describe()}, which LiteRT's Java interface does not take.",
                    remedy="Give the model ends of float32 or integers, and convert it again.",
                )


def _package(request: Request) -> str:
    return distinct([request.name], lambda name: snake(name, "model"), HARD_KEYWORDS)[0]


def _wrapper_name(request: Request) -> str:
    """It ends in Model, so it is no keyword and hides no class of Kotlin's or of the runtime's."""
    name = upper_camel(request.name, "")
    return (name if name[:1].isalpha() else f"M{name}") + "Model"


def _template(name: str, package: str, wrapper: str) -> str:
    return (_TEMPLATES / name).read_text().replace("PACKAGE", package).replace("WRAPPER", wrapper)


def _build_script(package: str, version: str) -> str:
    return f"""// Made by {generator()}. The plugins' versions are those of the project that includes this module.
plugins {{
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}}

android {{
    namespace = {string(package)}
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
        version {{ strictly({string(version)}) }}
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
    metadata_said = (
        "The models are the artifacts' own files."
        if request.options.get("metadata") == "none"
        else "The models\nare the artifacts' own, with TFLite metadata around them: names, and labels if there are any."
    )
    return f"""# {comment(request.name)}

A Gradle library module, made by {generator()} of the model {comment(request.preferred.manifest.model)}. `bundle.json`
lists every file by its sha256. Put it beside the app as `{request.name}/`, add `include(":{request.name}")` to
settings.gradle.kts and `implementation(project(":{request.name}"))` to the app. In Kotlin:

    {package}.{wrapper}.open(context).use {{ model -> model.run(...) }}

| variant, in the order tried | artifact | bytes |
|---|---|---|
{rows}

The first variant that loads is taken; the last is the fallback, and must run on every device. {metadata_said}

- LiteRT is pinned to {version}, with which the models were proven. If Maven has no such version, take the next one
  and run the test.
- The app must not compress models either: `androidResources {{ noCompress += "tflite" }}` in its build script. They are
  then mapped into memory where they lie in the APK; mapping begins at the page that holds the first byte.
- `./gradlew :{request.name}:connectedAndroidTest` runs the golden inputs on the attached device.

Origin: {comment(origin.origin or "not told")}.
Licence: {comment(origin.licence or "not told")}.
{pack_readme(request, package, wrapper) if "ai-pack" in request.options else ""}"""

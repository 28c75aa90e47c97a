"""`--for android`, compiled by the Kotlin compiler against stubs of Android, LiteRT and JUnit, and run on a JVM.

The stubs' interpreter answers with its inputs, so a wrapper's quantization there and back can be held against NumPy's.
What stubs cannot tell is in docs/bundle.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.bundle import write_bundle
from edgekit.specs import Quantization, TensorSpec
from tests.artifacts import handmade
from tests.bundle import kotlin
from tests.bundle.test_android import HOSTILE, PLAIN, _hostile

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.slow

CHANNELS = Quantization((0.5, 0.25), (0, -3), 1)
ONE = Quantization((0.1,), (7,))
ENDS = (
    TensorSpec("real", (1, 6)),
    TensorSpec("int8", (1, 2, 3), "int8", quantization=CHANNELS),
    TensorSpec("uint8", (6,), "uint8", quantization=ONE),
    TensorSpec("int16", (6,), "int16", quantization=ONE),
    TensorSpec("int32", (6,), "int32", quantization=ONE),
    TensorSpec("ids", (2,), "int64"),
    TensorSpec("flags", (2,), "bool"),
    TensorSpec("pixels", (2,), "uint8"),
)
REAL = (0.25, -0.75, 1e30, 0.25, -1e30, 0.1)
MAIN = """
package edgekit.bundles.echo

import android.content.Context
import java.io.File

public fun main() {
    val folder = File(System.getProperty("folder"))
    EchoModel.open(Context(), folder = folder).use { model ->
        val real = floatArrayOf(REAL)
        val given = byteArrayOf(1, -1)
        val out = model.run(real, real, real, real, real, longArrayOf(1, -2), booleanArrayOf(true, false), given)
        for (answer in listOf(out.real, out.int8, out.uint8, out.int16, out.int32)) println(answer.joinToString(" "))
        println("${out.ids.toList()} ${out.flags.toList()} ${out.pixels.toList()} ${model.variant} ${model.passedOver}")
        try {
            model.run(floatArrayOf(1f), real, real, real, real, longArrayOf(1, 2), booleanArrayOf(true, false), given)
        } catch (refused: IllegalArgumentException) {
            println(refused.message)
        }
    }
    try {
        EchoModel.open(Context(), variant = "none", folder = folder)
    } catch (refused: IllegalArgumentException) {
        println(refused.message)
    }
    try {
        EchoModel.open(Context(), folder = File(folder, "nowhere"))
    } catch (refused: NoVariantException) {
        println(refused.message + ": " + refused.cause?.javaClass?.simpleName)
    }
}
"""


@pytest.fixture(scope="module")
def classes(int8: Artifact, float32: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bundles, compiled at once: variants with labels, an AI pack, hostile names, every way to store values."""
    folder = tmp_path_factory.mktemp("kotlin")
    packed = {"ai-pack": "on-demand", "group.tflite-int8": "ram>=8GB"}
    write_bundle([int8, float32], "android", folder / "digits", "digits")
    write_bundle([int8, float32], "android", folder / "packed", "packed", packed)
    for name, tensors in (("fun", tuple(TensorSpec(name, (1, 4)) for name in HOSTILE)), ("echo", ENDS)):
        made = handmade(folder / f"artifact-{name}")
        artifact = _hostile(lambda made=made, **changes: _replaced(made, **changes), tensors)
        write_bundle([artifact], "android", folder / name, name, PLAIN)
    (folder / "Main.kt").write_text(MAIN.replace("REAL", ", ".join(f"{value}f" for value in REAL)))
    sources = [folder / name / "src" for name in ("digits", "packed", "fun", "echo")]
    done = kotlin.compiled([*sources, folder / "Main.kt"], folder / "classes")
    assert done.returncode == 0, done.stderr
    return folder


def _replaced(made: Artifact, **changes: object) -> Artifact:
    import msgspec

    return type(made)(made.id, made.path, msgspec.structs.replace(made.manifest, **changes))


def test_it_compiles_with_every_warning_an_error(classes: Path) -> None:
    there = {file.parent.name for file in (classes / "classes/edgekit/bundles").rglob("GoldenTest.class")}
    assert there == {"digits", "packed", "fun_", "echo"}


def test_its_quantization_is_numpys(classes: Path) -> None:
    folder = classes / "echo/src/main/assets"
    done = kotlin.run(classes / "classes", "edgekit.bundles.echo.MainKt", f"-Dfolder={folder}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    real = np.array(REAL, np.float32)
    assert [float(value) for value in lines[0].split()] == pytest.approx(list(REAL), rel=1e-6)
    for tensor, line in zip(ENDS[1:5], lines[1:5], strict=True):
        assert tensor.quantization is not None
        repeated = 6 // len(tensor.quantization.scale)
        scale = np.repeat(np.array(tensor.quantization.scale, np.float32), repeated)
        zero = np.repeat(np.array(tensor.quantization.zero_point), repeated)
        limits = np.iinfo(tensor.dtype)
        stored = np.clip(np.round((real / scale).astype(np.float64)) + zero, limits.min, limits.max).astype(np.int64)
        wanted = scale * (stored - zero).astype(np.float32)
        np.testing.assert_allclose([float(value) for value in line.split()], wanted, rtol=1e-6, err_msg=tensor.name)
    assert lines[5] == "[1, -2] [true, false] [1, -1] tflite-int8 {}"
    assert lines[6] == "real takes 6 elements, not 1"
    assert lines[7] == "there is no variant none: choose one of [tflite-int8]"
    assert lines[8] == "none of [tflite-int8] can be loaded: FileNotFoundException"


@pytest.mark.parametrize("told", ["runtimeVersion=1.15.0", "schemaVersion=4", "runtimeVersion=unknown"])
def test_another_runtime_is_refused(classes: Path, told: str) -> None:
    done = kotlin.run(classes / "classes", "edgekit.bundles.echo.MainKt", f"-D{told}", "-Dfolder=/")
    assert done.returncode != 0
    assert re.search(r"RuntimeVersionException: LiteRT \S+ \(schema \d\) is here; .* proven with 2\.3\.0", done.stderr)

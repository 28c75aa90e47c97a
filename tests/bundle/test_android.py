"""`--for android`: every Kotlin file parses, whatever the manifest's names are; nothing here compiles or runs it."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.artifact import Bindings
from edgekit.bundle import Request, Variant, write_bundle
from edgekit.bundle.android import Android
from edgekit.errors import BundleError
from edgekit.specs import Quantization, TensorSpec
from tests.bundle.parsing import assert_parses, named, problems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.artifact import Artifact

PLAIN = {"metadata": "none"}
"""For payloads that are no models."""
HOSTILE = ["class", 'a"b', "line\nbreak", "$x${y}", "*/ evil", "größe 数字", "\\", "", "a-b", "a_b", "\u2028\x1b[2J"]


def test_the_parser_tells_what_is_wrong() -> None:
    assert problems(b"fun f() { val x = 1 }\n", ".kt") == []
    assert problems(b"fun f() { val x = }\n", ".kt") != []
    assert problems(b'val x = "a"b"\n', ".kt") != []


@pytest.mark.slow
def test_a_module_of_two_variants(int8: Artifact, float32: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_bundle([int8, float32], "android", out, "digit-reader")
    assert assert_parses(out) == 6
    source = out / "src/main/kotlin/edgekit/bundles/digit_reader"
    wrapper = (source / "DigitReaderModel.kt").read_bytes()
    assert b"public fun run(image: FloatArray): Outputs" in wrapper
    assert b"public val logits: FloatArray" in wrapper
    assert b'public val logitsLabels: List<String> = listOf(\n            "0",\n' in wrapper
    scale, point = int8.manifest.inputs[0].quantization.scale[0], int8.manifest.inputs[0].quantization.zero_point[0]
    assert f'"int8", floatArrayOf({scale!r}f), intArrayOf({point}), 0)'.encode() in wrapper
    assert b"dtype, " not in wrapper
    assert wrapper.index(b'"tflite-int8"') < wrapper.index(b'"tflite-float32"')
    script = (out / "build.gradle.kts").read_text()
    version = float32.manifest.provenance.tools["ai-edge-litert"]
    assert 'implementation("com.google.ai.edge.litert:litert")' in script
    assert f'strictly("{version}")' in script
    assert 'noCompress += listOf("tflite"' in script
    for artifact in (int8, float32):
        variant = f"edgekit/digit-reader/tflite-{artifact.manifest.recipe.precision}"
        payload = out / "src/main/assets" / variant / "model.tflite"
        assert (artifact.path / artifact.manifest.payload).read_bytes() in payload.read_bytes()
        golden = artifact.path / artifact.manifest.golden.outputs[0]
        assert (out / "src/androidTest/assets" / variant / "golden-1.npy").read_bytes() == golden.read_bytes()
        assert f'"tflite-{artifact.manifest.recipe.precision}", {artifact.manifest.golden.min_snr_db!r}, listOf(' in (
            next(out.rglob("Golden.kt")).read_text()
        )
    assert not list((out / "src/main").rglob("*.npy")), "golden files are of the test, not of the app"
    assert "WRAPPER" not in "".join(file.read_text() for file in out.rglob("*.kt"))
    assert "package PACKAGE" not in "".join(file.read_text() for file in out.rglob("*.kt"))


def _hostile(altered: Callable[..., Artifact], tensors: tuple[TensorSpec, ...]) -> Artifact:
    manifest = altered().manifest
    names = tuple(tensor.name for tensor in tensors)
    return altered(
        inputs=tensors,
        outputs=tensors,
        bindings=Bindings(names, names),
        parity=msgspec.structs.replace(manifest.parity, proved_by="litert 2.3.0"),
        provenance=msgspec.structs.replace(manifest.provenance, origin="*/ ``` </x>\n# h", licence='"""\n'),
    )


def test_hostile_names(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    tensors = tuple(TensorSpec(name, (1, 4)) for name in HOSTILE)
    write_bundle([_hostile(altered, tensors)], "android", tmp_path / "out", "fun", PLAIN)
    assert assert_parses(tmp_path / "out") == 6
    wrapper = next((tmp_path / "out").rglob("FunModel.kt")).read_bytes()
    assert wrapper.isascii()
    package = named(wrapper, ".kt", "package_header")
    assert package == ["package edgekit.bundles.fun_"]
    literals = re.findall(rb'TensorInfo\(("[^\n]*?"), "[^\n]*?", intArrayOf', wrapper)
    spoken = [json.loads(text.decode()) for text in literals]
    assert spoken == [*HOSTILE, *HOSTILE], "each name reaches the runtime as it is"
    assert not named(wrapper, ".kt", "interpolation")
    run = next(line for line in wrapper.decode().splitlines() if "public fun run(" in line)
    parameters = re.findall(r"(\w+): FloatArray", run)
    assert len(set(parameters)) == len(HOSTILE)
    assert parameters[0] == "class_"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
def test_any_names(altered: Callable[..., Artifact], names: list[str]) -> None:
    tensors = tuple(TensorSpec(name, (1, 4)) for name in names)
    artifact = _hostile(altered, tensors)
    files = Android().files(Request("tiny", (Variant("tflite-int8", artifact),), PLAIN))
    for path, content in files.items():
        if path.endswith((".kt", ".kts")):
            assert isinstance(content, str)
            assert content.isascii()
            assert problems(content.encode(), ".kt") == []


def test_every_dtype(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    dtypes = ["float32", "int32", "int64", "int16", "int8", "uint8", "bool"]
    plain = [TensorSpec(f"plain_{dtype}", (1, 2), dtype) for dtype in dtypes]
    channels = Quantization((0.5, 3.9e-07), (0, -3), 1)
    quantized = [TensorSpec(f"q_{dtype}", (1, 2), dtype, quantization=channels) for dtype in ("int8", "uint8", "int16")]
    write_bundle([_hostile(altered, (*plain, *quantized))], "android", tmp_path / "out", options=PLAIN)
    assert assert_parses(tmp_path / "out") == 6
    wrapper = next((tmp_path / "out").rglob("TinyModel.kt")).read_text()
    assert "plainInt64: LongArray" in wrapper
    assert "qUint8: FloatArray" in wrapper
    assert "floatArrayOf(0.5f, 3.9e-07f), intArrayOf(0, -3), 1)" in wrapper


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_dtype_that_the_runtime_does_not_take(altered: Callable[..., Artifact], tmp_path: Path, dtype: str) -> None:
    with pytest.raises(BundleError, match=f"'x' is {dtype}.*LiteRT's Java interface does not take"):
        write_bundle([_hostile(altered, (TensorSpec("x", (1, 4), dtype),))], "android", tmp_path / "out")


def test_no_version_to_pin(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not tell with which ai-edge-litert"):
        write_bundle([altered()], "android", tmp_path / "out", options=PLAIN)


def test_a_hostile_version(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    """What goes into the build script is numbers and dots."""
    manifest = altered().manifest
    for told in ('2.3.0") } } evil("', "2.3.0.post1"):
        tools = msgspec.structs.replace(manifest.provenance, tools={"ai-edge-litert": told})
        out = tmp_path / f"out{len(told)}"
        write_bundle([altered(provenance=tools)], "android", out, options=PLAIN)
        assert 'strictly("2.3.0")' in (out / "build.gradle.kts").read_text()
    with pytest.raises(BundleError, match="does not tell"):
        tools = msgspec.structs.replace(manifest.provenance, tools={"ai-edge-litert": "newest"})
        write_bundle([altered(provenance=tools)], "android", tmp_path / "none", options=PLAIN)


def test_what_the_reader_of_npy_files_expects() -> None:
    """Npy.kt reads version 1 in C order: that is what `numpy.save` writes of every golden array."""
    for dtype in ("float32", "float64", "int64", "int32", "int16", "uint8", "int8", "bool"):
        content = io.BytesIO()
        np.save(content, np.zeros((2, 1, 3), dtype))
        raw = content.getvalue()
        assert raw[6] == 1
        header = raw[10 : 10 + int.from_bytes(raw[8:10], "little")].decode()
        assert f"'descr': '{np.dtype(dtype).str}'" in header
        assert "'fortran_order': False, 'shape': (2, 1, 3), " in header

"""`--for ios`: every Swift file parses, whatever the manifest's names are; nothing here compiles or runs it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.artifact import Bindings
from edgekit.bundle import Request, Variant, write_bundle
from edgekit.bundle.ios import Ios
from edgekit.errors import BundleError
from edgekit.recipe import Recipe
from edgekit.specs import Quantization, TensorSpec
from tests.bundle.parsing import assert_parses, named, problems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.artifact import Artifact

HOSTILE = [
    "class",
    'a"b',
    "line\nbreak",
    "\\(evil)",
    "*/ x",
    "größe 数字",
    "\\",
    "",
    "a-b",
    "a_b",
    "\u2028\x1b[2J",
    "😀",
]
NAMES = re.compile(r'TensorInfo\(name: "((?:[^"\\]|\\.)*)", binding')


@pytest.fixture
def package(make_artifact: Callable[..., Artifact], altered: Callable[..., Artifact]) -> Callable[..., Artifact]:
    """An artifact with a folder as its payload, as Core ML's are. It is no model."""
    more = {"payload/model.mlpackage/Manifest.json": b"{}", "payload/model.mlpackage/Data/model.mlmodel": b"\x08"}

    def make(precision: str = "float16", **changes: object) -> Artifact:
        recipe = Recipe("coreml", precision)
        made = make_artifact(more=more, payload=precision.encode())
        return altered(made, recipe=recipe, runtime="coreml", payload="payload/model.mlpackage", **changes)

    return make


def unescaped(text: str) -> str:
    """What Swift makes of a literal's content."""
    return re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), text)


def test_the_parser_tells_what_is_wrong() -> None:
    assert problems(b"func f() { let x = 1 }\n", ".swift") == []
    assert problems(b"func f() { let x = }\n", ".swift") != []


def test_a_package_of_two_variants(package: Callable[..., Artifact], tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_bundle([package("palettized-4bit"), package("float16")], "ios", out, "digit-reader")
    assert assert_parses(out) == 6
    manifest = (out / "Package.swift").read_text()
    assert 'name: "DigitReader"' in manifest
    assert 'resources: [.copy("Models")]' in manifest
    assert ".iOS(.v17)" in manifest
    wrapper = (out / "Sources/DigitReader/DigitReaderModel.swift").read_text()
    assert "public func run(x: [Float]) throws -> Outputs" in wrapper
    assert wrapper.index('"coreml-palettized-4bit"') < wrapper.index('"coreml-float16"')
    model = out / "Sources/DigitReader/Models/coreml-float16.mlpackage"
    assert (model / "Data/model.mlmodel").read_bytes() == b"\x08"
    assert (out / "Tests/DigitReaderTests/Golden/coreml-float16-1.npy").read_bytes() == b"out"
    golden = (out / "Tests/DigitReaderTests/Golden.swift").read_text()
    assert 'variant: "coreml-float16", minimumDecibels: 20.0, inputs: ["Golden/coreml-float16-0.npy"]' in golden
    everything = "".join(file.read_text() for file in out.rglob("*.swift"))
    assert "PACKAGE" not in everything
    assert "WRAPPER" not in everything


def test_four_bits_a_block_need_ios_18(package: Callable[..., Artifact], tmp_path: Path) -> None:
    write_bundle([package("weight-int4"), package("float16")], "ios", tmp_path / "out")
    assert ".iOS(.v18)" in (tmp_path / "out/Package.swift").read_text()
    assert "guard #available(iOS 18, macOS 15, *)" in next((tmp_path / "out").rglob("TinyModel.swift")).read_text()


def test_hostile_names(package: Callable[..., Artifact], tmp_path: Path) -> None:
    tensors = tuple(TensorSpec(name, (1, 4)) for name in HOSTILE)
    names = tuple(HOSTILE)
    told = {"class": ("one", '\\(evil) " \n😀')}
    made = package(inputs=tensors, outputs=tensors, bindings=Bindings(names, names), labels=told)
    write_bundle([made], "ios", tmp_path / "out")
    assert assert_parses(tmp_path / "out") == 6
    wrapper = next((tmp_path / "out").rglob("TinyModel.swift")).read_bytes()
    assert wrapper.isascii()
    spoken = [unescaped(found) for found in NAMES.findall(wrapper.decode())]
    assert spoken == [*HOSTILE, *HOSTILE], "each name reaches Core ML as it is"
    assert not named(wrapper, ".swift", "interpolated_expression"), "no name is run as code"
    run = next(line for line in wrapper.decode().splitlines() if "public func run(" in line)
    parameters = re.findall(r"(\w+): \[Float\]", run)
    assert len(set(parameters)) == len(HOSTILE)
    assert parameters[0] == "class_"
    listed = wrapper.decode().split("public static let classLabels: [String] = [\n")[1].split("    ]\n")[0]
    assert tuple(unescaped(line.strip()[1:-2]) for line in listed.splitlines()) == told["class"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
def test_any_names(package: Callable[..., Artifact], names: list[str]) -> None:
    tensors = tuple(TensorSpec(name, (1, 4)) for name in names)
    artifact = package(inputs=tensors, outputs=tensors, bindings=Bindings(tuple(names), tuple(names)))
    files = Ios().files(Request("tiny", (Variant("coreml-float16", artifact),)))
    for path, content in files.items():
        if path.endswith(".swift"):
            assert isinstance(content, str)
            assert content.isascii()
            assert problems(content.encode(), ".swift") == []


@pytest.mark.parametrize(
    "tensor",
    [TensorSpec("x", (1, 4), "int64"), TensorSpec("x", (1, 4), "int8", quantization=Quantization((0.5,), (0,)))],
)
def test_ends_that_core_ml_has_not(package: Callable[..., Artifact], tmp_path: Path, tensor: TensorSpec) -> None:
    with pytest.raises(BundleError, match="which Core ML's arrays do not hold"):
        write_bundle([package(inputs=(tensor,))], "ios", tmp_path / "out")


def test_tflite_is_refused(tiny_artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="ios cannot hold tiny tflite:int8: it holds coreml.*--to coreml:float32"):
        write_bundle([tiny_artifact], "ios", tmp_path / "out")

"""What a web bundle says in TypeScript, held by the TypeScript compiler itself."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from edgekit.artifact import Bindings
from edgekit.bundle import write_bundle
from edgekit.errors import BundleError
from edgekit.specs import Quantization, TensorSpec
from tests.typescript import compiled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.artifact import Artifact

HOSTILE = 'it\'s a "tensor" */ ${x} `y` \u2028 </script> \\'


APPLICATION = """\
import { load } from "./index.js";
import { checkGolden } from "./golden.js";
const model = await load({ runtime: "/litert/" });
await checkGolden(model, "./");
export const answer: Float32Array = (await model.run({ x: new Float32Array(4) })).x;
// What is wrong, a line each:
await model.run({ y: new Float32Array(4) });
await model.run({ x: [1, 2, 3, 4] });
export const other = (await model.run({ x: new Float32Array(4) })).y;
"""


@pytest.fixture
def many_tensors(altered: Callable[..., Artifact]) -> Artifact:
    """Every dtype that a browser has an array for, and names that end strings and comments."""
    plain = [TensorSpec(dtype, (1, 4), dtype) for dtype in ("float32", "float64", "int8", "uint8", "int16", "int32")]
    plain += [
        TensorSpec("int64", (2,), "int64"),
        TensorSpec("bool", (3, 1), "bool"),
        TensorSpec(HOSTILE, (1, 4), layout="NC*/"),
    ]
    quantized = TensorSpec("quantized", (1, 4), "uint8", None, Quantization((1e-05,), (7,)))
    names = tuple(tensor.name for tensor in plain)
    return altered(inputs=tuple(plain), outputs=(quantized,), bindings=Bindings(names, ("quantized",)))


@pytest.mark.slow
def test_the_javascript_is_what_the_compiler_makes_of_the_typescript(
    many_tensors: Artifact, tmp_path: Path, node_modules: Path
) -> None:
    bundle, built = tmp_path / "bundle", tmp_path / "built"
    write_bundle([many_tensors], "web", bundle)
    built.mkdir()
    for name in ("index.ts", "litert.ts", "tensors.ts", "golden.ts"):
        shutil.copy(bundle / name, built)
    assert compiled(built, node_modules) == ""
    emitted = sorted(file.name for file in (built / "out").iterdir())
    assert emitted == sorted(
        f"{name}.{ending}" for name in ("index", "litert", "tensors", "golden") for ending in ("js", "d.ts")
    )
    for name in emitted:
        assert (bundle / name).read_text() == (built / "out" / name).read_text(), name


@pytest.mark.slow
@pytest.mark.parametrize("form", ["typescript", "declarations"])
def test_an_application_is_type_checked(
    make_artifact: Callable[..., Artifact], tmp_path: Path, node_modules: Path, form: str
) -> None:
    bundle = tmp_path / "bundle"
    write_bundle([make_artifact()], "web", bundle)
    for file in bundle.iterdir():
        if (form == "declarations") == (file.suffix == ".ts" and not file.name.endswith(".d.ts")):
            file.unlink() if file.is_file() else shutil.rmtree(file)
    (bundle / "app.ts").write_text(APPLICATION)
    said = compiled(bundle, node_modules, noEmit=True).splitlines()
    assert [int(line.split("app.ts(")[1].split(",")[0]) for line in said] == [7, 8, 9], said
    assert "'y' does not exist in type 'Inputs'" in said[0]
    assert "Type 'number[]'" in said[1]
    assert "Property 'y' does not exist on type 'Outputs'" in said[2]


def test_a_bundle_names_its_parts(make_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    artifact = make_artifact(model="Tiny.Model")
    document = write_bundle([artifact], "web", tmp_path / "bundle")
    package = json.loads((tmp_path / "bundle" / "package.json").read_text())
    assert package["name"] == "tiny.model"
    assert package["version"] == f"0.0.0-artifact.{artifact.short_id}x"
    assert package["peerDependencies"] == {"@litertjs/core": "~2.5.3"}
    assert (tmp_path / "bundle" / "model.tflite").read_bytes() == (artifact.path / "payload/model.tflite").read_bytes()
    assert {"check.html", "golden/input-0.npy", "index.d.ts", "litert.js"} <= {file.path for file in document.files}


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (TensorSpec("half", (1, 4), "float16"), "half (float16[1, 4]) has no typed array in browsers"),
        (
            TensorSpec("channels", (1, 2), "int8", None, Quantization((0.1, 0.2), (0, 0), 1)),
            "channels (int8[1, 2]) is quantized by channels",
        ),
    ],
)
def test_what_a_browser_cannot_take_is_refused(
    altered: Callable[..., Artifact], tmp_path: Path, tensor: TensorSpec, says: str
) -> None:
    with pytest.raises(BundleError) as caught:
        write_bundle([altered(inputs=(tensor,))], "web", tmp_path / "bundle")
    assert says in str(caught.value)
    assert not (tmp_path / "bundle").exists()

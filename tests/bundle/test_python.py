"""`--for python`: the folder works in a fresh interpreter that sees no EdgeKit, and says what is wrong otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.bundle import write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.slow

NO_EDGEKIT = """
import sys
class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "edgekit":
            raise AssertionError("the bundle imports " + name)
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture
def bundle(int8: Artifact, float32: Artifact, tmp_path: Path) -> Path:
    """int8, with float32 as its fallback."""
    write_bundle([int8, float32], "python", tmp_path / "out", "reader")
    return tmp_path / "out"


def _run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = NO_EDGEKIT + "sys.path.insert(0, '')\n" + code
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120, env=env
    )


def _program(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    return _run(folder, f"import runpy; runpy.run_path({name!r}, run_name='__main__')")


def test_real_values_in_and_out(bundle: Path, int8: Artifact) -> None:
    done = _run(bundle, """
import json, numpy as np
from reader import Model, Outputs
model = Model.open()
images = np.load(model.folder + "/golden/input-0.npy")
answers = [model(image) for image in images]
assert isinstance(answers[0], Outputs)
from reader import LABELS
assert LABELS == {"logits": tuple("0123456789")}
print(json.dumps([model.variant, np.stack([a.logits for a in answers]).tolist(), str(answers[0].logits.dtype)]))
""")  # fmt: skip
    assert done.returncode == 0, done.stderr
    variant, logits, dtype = json.loads(done.stdout)
    assert (variant, dtype) == ("tflite-int8", "float32")
    np.testing.assert_allclose(logits, np.load(int8.path / int8.manifest.golden.outputs[0]), rtol=0, atol=1e-6)


def test_the_check_and_the_example(bundle: Path) -> None:
    checked = _program(bundle, "check.py")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert [line.split(":")[0] for line in checked.stdout.splitlines()] == ["tflite-int8", "tflite-float32"]
    example = _program(bundle, "example.py")
    assert example.returncode == 0, example.stdout + example.stderr
    assert "variant tflite-int8" in example.stdout
    assert "logits: (1, 10)" in example.stdout


def test_the_fallback_takes_over(bundle: Path) -> None:
    """A preferred variant that cannot be loaded, and one that answers wrongly."""
    (bundle / "reader/artifacts/tflite-int8/payload/model.tflite").write_bytes(b"no model")
    code = "from reader import Model; m = Model.open(); print(m.variant, m.passed_over)"
    damaged = _run(bundle, code)
    assert damaged.stdout.startswith("tflite-float32 [('tflite-int8',"), damaged.stderr
    golden = bundle / "reader/artifacts/tflite-float32/golden/output-0.npy"
    np.save(golden, -np.load(golden))
    wrong = _run(bundle, code)
    assert wrong.returncode != 0
    assert "WrongAnswerError: tflite-float32: output 'logits' has an SNR of" in wrong.stderr
    checked = _program(bundle, "check.py")
    assert checked.returncode == 3
    assert "WrongAnswerError" in checked.stdout


def test_an_older_runtime_is_refused(bundle: Path) -> None:
    for variant in ("tflite-int8", "tflite-float32"):
        file = bundle / f"reader/artifacts/{variant}/manifest.json"
        manifest = json.loads(file.read_text())
        manifest["provenance"]["tools"]["ai-edge-litert"] = "99.1"
        file.write_text(json.dumps(manifest))
    refused = _run(bundle, "from reader import Model; Model.open()")
    assert "RuntimeVersionError: ai-edge-litert" in refused.stderr
    assert "pip install 'ai-edge-litert>=99.1'" in refused.stderr
    taken = _run(bundle, "from reader import Model; print(Model.open(any_version=True).variant)")
    assert taken.stdout.strip() == "tflite-int8", taken.stderr


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("Model.open()(np.zeros((8, 8), 'float32'))", "input 'image' takes shape (1, 1, 8, 8), not (8, 8)"),
        ("Model.open('tflite-float32')(np.zeros((1, 1, 8, 8), 'complex64'))", "takes float32, not complex64"),
        ("Model.open('nothing')", "there is no variant 'nothing'"),
    ],
)
def test_what_it_refuses(bundle: Path, call: str, says: str) -> None:
    done = _run(bundle, f"import numpy as np; from reader import Model; {call}")
    assert done.returncode != 0
    assert says in done.stderr


def test_integers_beyond_their_range_are_refused(bundle: Path) -> None:
    """Integers that are not quantized, such as token ids, do not wrap."""
    done = _run(bundle, """
import numpy as np
from reader._model import _stored
spec = {"name": "ids", "shape": [1, 2], "dtype": "int32", "varies": [], "quantization": None}
print(_stored(spec, np.array([[1, 2]])).dtype)
_stored(spec, np.array([[1, 2**40]]))
""")  # fmt: skip
    assert done.stdout.strip() == "int32"
    assert "ValueError: input 'ids' takes int32, and holds values beyond its range" in done.stderr


def test_beyond_the_range_saturates(bundle: Path) -> None:
    """A quantized input clips to its range, and does not wrap."""
    done = _run(bundle, """
import numpy as np
from reader import Model
model = Model.open("tflite-int8")
white, beyond = (model(np.full((1, 1, 8, 8), v, "float32")).logits for v in (1.0, 1e6))
print(np.array_equal(white, beyond))
""")  # fmt: skip
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("name", ["json", "numpy", "class", "2nd", "a.b-c", "example"])
def test_the_package_shadows_nothing(
    float32: Artifact, tmp_path: Path, name: str, altered: Callable[..., object]
) -> None:
    made = write_bundle([float32], "python", tmp_path / "out", name)
    package = next(f.path.split("/")[0] for f in made.files if f.path.endswith("/_model.py"))
    assert package != name
    done = _run(tmp_path / "out", f"import {package} as p; print(p.Model.open().variant)")
    assert done.stdout.strip() == "tflite-float32", done.stderr

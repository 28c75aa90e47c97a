"""Sizes that vary, through the chain and the command line: declared, asked for, fixed, refused, proven, verified."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgekit.artifact import open_artifact
from edgekit.bench.verify import verify
from edgekit.convert import convert, find_model
from edgekit.convert.load import import_model
from edgekit.convert.prepare import fixed
from edgekit.devices import connect, load_target
from edgekit.dimensions import Axis, Range
from edgekit.errors import ModelError, RefusedError
from edgekit.files import sha256_of
from edgekit.recipe import parse_recipe
from tests.convert.conftest import REPOSITORY, make

pytestmark = pytest.mark.slow

MODEL = """
import numpy as np
from edgekit.dimensions import Dim
from edgekit.model import Model
from edgekit.specs import TensorSpec


def build():
    import torch

    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = torch.nn.Embedding(30, 8), torch.nn.Linear(8, 4)

        def forward(self, tokens):
            return self.head(self.embedding(tokens).reshape(1, {length}, 8))

    return Net()


def calibration():
    return {{"tokens": np.random.default_rng(0).integers(0, 30, (20, 6))}}


inputs = (TensorSpec("tokens", (1, Dim("length", 2, 9, nominal=6)), "int64"),)
model = Model(name="tagger", source="pytorch", build=build, inputs=inputs, calibration=calibration)
"""


def folder(where: Path, length: str = "tokens.shape[1]") -> Path:
    made = where / "tagger"
    made.mkdir()
    (made / "model.py").write_text(MODEL.format(length=length))
    return made


def command(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Exception | None]:
    """The model's folder, its onnx:float32 artifact, and what came of tvm:float32."""
    where = tmp_path_factory.mktemp("tagger")
    model = folder(where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE", str(where / "cache"))
        onnx, tvm = make(model, "onnx:float32", "tvm:float32", out=where / "out")
    assert onnx.artifact is not None, onnx.error
    return model, onnx.artifact.path, tvm.error


def test_the_manifest_says_what_varies_and_where_it_was_proven(tagger: tuple[Path, Path, Exception]) -> None:
    manifest = open_artifact(tagger[1]).manifest
    (tokens,), (output,) = manifest.inputs, manifest.outputs
    assert (tokens.shape, tokens.varies) == ((1, 6), (Axis(1, "length", 2, 9),))
    assert (output.shape, output.varies) == ((1, 6, 4), (Axis(1, "length", 2, 9),))
    assert [size.sizes["length"] for size in manifest.parity.sizes] == [2, 9, 5]
    assert all(o.exact or o.snr_db > 100 for size in manifest.parity.sizes for o in size.outputs)
    for size in manifest.golden.sizes:
        given, answered = (np.load(tagger[1] / names[0]) for names in (size.inputs, size.outputs))
        assert given.shape == (2, 1, size.sizes["length"])
        assert answered.shape == (2, 1, size.sizes["length"], 4)


def test_a_format_that_would_fix_the_size_is_refused(tagger: tuple[Path, Path, Exception]) -> None:
    error = tagger[2]
    assert isinstance(error, RefusedError)
    assert "tokens is int64[1, length 2..9]" in error.what
    assert "--shape tokens=1,6" in error.remedy
    assert "coreml, executorch, onnx, torchscript" in error.remedy


def test_inspect_verify_and_bench_say_at_which_sizes(tagger: tuple[Path, Path, Exception], tmp_path: Path) -> None:
    artifact = str(tagger[1])
    shown = command("inspect", artifact)
    assert "tokens int64[1, length 2..9]" in shown
    assert "length 6 nominally" in shown
    assert "at length 9" in shown
    verified = command("verify", artifact)
    assert all(f"output at length {size}" in verified for size in (2, 9, 5))
    (tmp_path / "quick.toml").write_text(
        'schema = 1\ntransport = "local"\n\n[bench]\nmin_s = 0.02\nmax_s = 0.1\nmax_warmup_s = 0.1\nmin_samples = 20\n'
    )
    measured = command(
        "bench", artifact, "--on", "quick", "--targets", str(tmp_path), "--blocks", "1", "--out", str(tmp_path / "runs")
    )
    assert "takes length 2..9; measured at length 6, its nominal size" in measured


def test_a_wrong_answer_at_one_size_alone_fails_the_check(tagger: tuple[Path, Path, Exception], tmp_path: Path) -> None:
    shutil.copytree(tagger[1], tmp_path / "edited")
    manifest = open_artifact(tmp_path / "edited").manifest
    wrong = manifest.golden.sizes[1].outputs[0]
    np.save(tmp_path / "edited" / wrong, np.load(tmp_path / "edited" / wrong)[::-1].copy())
    files = tuple(
        msgspec.structs.replace(f, sha256=sha256_of(tmp_path / "edited" / wrong)) if f.path == wrong else f
        for f in manifest.files
    )
    (tmp_path / "edited" / "manifest.json").write_bytes(msgspec.structs.replace(manifest, files=files).encode())
    with connect(load_target("local")) as device:
        assert verify(device, open_artifact(tagger[1])).passed
        result = verify(device, open_artifact(tmp_path / "edited"))
    assert not result.passed
    assert all(o.exact for o in result.outputs)


def test_shape_fixes_what_a_folder_declares(cache: Path, tagger: tuple[Path, Path, Exception], tmp_path: Path) -> None:
    ref = find_model(str(tagger[0]), shapes={"tokens": (1, 6)})
    (outcome,) = convert(ref, [parse_recipe("torchscript:float32")], out=tmp_path / "out")
    assert outcome.artifact is not None, outcome.error
    assert not outcome.artifact.manifest.inputs[0].varies
    assert outcome.artifact.manifest.golden.sizes == ()


@pytest.mark.parametrize("shape", [{"tokens": (1, 10)}, {"tokens": (2, 6)}, {"tokens": (6,)}, {"other": (1, 6)}])
def test_shape_beyond_what_a_folder_declares(
    tagger: tuple[Path, Path, Exception], shape: dict[str, tuple[int, ...]]
) -> None:
    with pytest.raises(ModelError, match="does not fit model 'tagger'"):
        fixed(import_model(tagger[0]), shape)


def test_a_model_that_works_at_one_size_only_is_told_so(cache: Path, tmp_path: Path) -> None:
    (outcome,) = make(folder(tmp_path, length="6"), "torchscript:float32", out=tmp_path / "out")
    assert isinstance(outcome.error, ModelError)
    assert "length 2..9" in outcome.error.what
    assert "tensor.shape" in outcome.error.remedy


def test_an_onnx_file_varies_within_the_bounds_that_are_given(
    cache: Path, tagger: tuple[Path, Path, Exception], tmp_path: Path
) -> None:
    """The artifact's own graph as a source. Without bounds it wants a size, as ever."""
    source = tagger[1] / "payload" / "model.onnx"
    np.savez(tmp_path / "data.npz", tokens=np.random.default_rng(1).integers(0, 30, (10, 4)))
    wanted = [parse_recipe(text) for text in ("onnx:float32", "executorch:float32")]
    ref = find_model(str(source), shapes={"tokens": (1, Range(3, 8, 4))}, calibration=tmp_path / "data.npz")
    onnx, executorch = convert(ref, wanted, out=tmp_path / "out")
    assert onnx.artifact is not None, onnx.error
    assert onnx.artifact.manifest.inputs[0].varies == (Axis(1, "length", 3, 8),)
    assert onnx.artifact.manifest.outputs[0].varies == (Axis(1, "length", 3, 8),)
    assert isinstance(executorch.error, RefusedError)
    assert "the route from onnx models to executorch (torch-export) fixes every size" in executorch.error.what
    (plain,) = convert(find_model(str(source), calibration=tmp_path / "data.npz"), wanted[:1], out=tmp_path / "out")
    assert isinstance(plain.error, ModelError)
    assert "dynamic axis: 1 (length)" in plain.error.what

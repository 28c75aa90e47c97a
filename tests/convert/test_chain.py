"""The chain: five precisions proven, the cache, and each way to fail, with the real converter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit import plugins
from edgekit.artifact import check_files, open_artifact
from edgekit.convert import Bounds, find_model
from edgekit.errors import ConversionError, DataError, ModelError, ParityError, RecipeError, StorageError
from tests.convert.conftest import REPOSITORY, make
from tests.convert.flatbuffers import weights, write_dense
from tests.machine import processes_with, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow

ALL = ("float32", "float16", "dynamic-int8", "weight-int8", "int8")


def nothing_half_written(*folders: Path) -> bool:
    return not [p for folder in folders for p in folder.rglob(".tmp-*")]


def test_five_precisions_of_a_real_model(cache: Path, digits: Path, tmp_path: Path) -> None:
    """Two of them were made before by `digits`, under another cache: the same input gives the same artifact."""
    outcomes = make(REPOSITORY / "models/digits_cnn", *(f"tflite:{p}" for p in ALL), out=tmp_path / "out")
    assert [o.error for o in outcomes] == [None] * 5
    manifests = {o.recipe.precision: o.artifact.manifest for o in outcomes if o.artifact}
    sizes = {name: manifest.payload_bytes for name, manifest in manifests.items()}
    assert sizes["float32"] > 1.8 * sizes["float16"] > 3 * sizes["int8"]
    assert manifests["float32"].parity.worst_snr_db > 100
    for outcome in outcomes:
        assert outcome.artifact is not None
        check_files(outcome.artifact)
        manifest = outcome.artifact.manifest
        assert manifest.accuracy.source > 0.95
        assert abs(manifest.accuracy.drop) <= 0.01
        assert manifest.parity.outputs[0].samples == 360
        golden = np.load(outcome.artifact.path / manifest.golden.outputs[0])
        assert golden.shape == (manifest.golden.samples, 1, 10)
        assert (outcome.artifact.path / "convert.log").exists()
        assert outcome.link.resolve() == outcome.artifact.path
    assert manifests["int8"].inputs[0].dtype == "int8"
    assert manifests["int8"].inputs[0].quantization is not None
    assert manifests["int8"].provenance.calibration_samples == 200
    assert manifests["float16"].stored_dtypes["float16"] > 0
    assert "float32" not in manifests["int8"].stored_dtypes
    ids = {o.recipe.precision: o.artifact.id for o in outcomes if o.artifact}
    for precision in ("float32", "int8"):
        assert ids[precision] == open_artifact(digits / f"tflite-{precision}").id


def test_the_cache_hits_misses_and_mends(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    model, out = dense_folder, tmp_path / "out"
    (first,) = make(model, "tflite:float32", out=out)
    (again,) = make(model, "tflite:float32", out=tmp_path / "elsewhere")
    assert not first.cached
    assert again.cached
    assert again.artifact.id == first.artifact.id

    for folder in (cache / "artifacts", out / ".store"):
        payload = next(folder.rglob("model.tflite"))
        payload.chmod(0o644)
        payload.write_bytes(b"damaged")
    (mended,) = make(model, "tflite:float32", out=out)
    assert not mended.cached
    check_files(open_artifact(out / "dense" / "tflite-float32"))

    write_dense(model / "net.tflite", seed=1)
    (changed,) = make(model, "tflite:float32", out=out)
    assert not changed.cached
    assert changed.artifact.id != first.artifact.id


def test_a_file_without_code_around_it(
    cache: Path, program: Path, samples: Callable[..., Path], tmp_path: Path
) -> None:
    data = samples(np.random.default_rng(0).standard_normal((30, 16)).astype("float32"))
    outcomes = make(program, "tflite:int8", "tflite:float32", out=tmp_path / "out", calibration=data)
    assert [o.error for o in outcomes] == [None, None]
    manifest = outcomes[0].artifact.manifest
    assert manifest.provenance.calibration_samples == 24, "the last fifth is held out"
    assert manifest.accuracy.artifact is None
    assert manifest.accuracy.because


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((5, 17), "float32"), r"\(5, 17\).*float32\[1, 16\].*\(n, 1, 16\) or \(n, 16\)"),
        (np.full((5, 16), np.nan, "float32"), "NaN"),
        (np.zeros((5, 16), "complex64"), "complex64"),
        (np.zeros((0, 16), "float32"), "no samples"),
    ],
)
def test_calibration_data_that_do_not_fit(
    cache: Path, dense: Path, samples: Callable[..., Path], tmp_path: Path, array: np.ndarray, says: str
) -> None:
    (outcome,) = make(dense, "tflite:int8", out=tmp_path / "out", calibration=samples(array, "x"))
    assert isinstance(outcome.error, DataError)
    with pytest.raises(DataError, match=says):
        raise outcome.error
    assert not (tmp_path / "out").exists()


def test_int8_without_calibration_data_is_refused(cache: Path, dense: Path, tmp_path: Path) -> None:
    bad, good = make(dense, "tflite:int8", "tflite:float32", out=tmp_path / "out")
    assert isinstance(bad.error, DataError)
    assert "--calibration" in bad.error.remedy
    assert good.artifact is not None


@pytest.mark.parametrize(
    ("forward", "size", "says"),
    [
        ("self.second(torch.relu(self.first(x)))", 17, "forward pass.*float32"),
        ("self.second(self.first(x)) / 0 * 0", 16, "NaN or infinity"),
        ("self.second(self.first(x)) if x.sum() > 0 else x", 16, "torch.export cannot trace"),
    ],
)
def test_a_model_that_cannot_be_used(
    cache: Path, tiny: Callable[..., Path], tmp_path: Path, forward: str, size: int, says: str
) -> None:
    folder = tiny(forward, size)
    if size != 16:
        code = (folder / "model.py").read_text().replace("(20, 16)", f"(20, {size})")
        (folder / "model.py").write_text(code)
    (outcome,) = make(folder, "tflite:float32", out=tmp_path / "out")
    with pytest.raises(ModelError, match=says):
        raise outcome.error
    assert nothing_half_written(cache)


def test_a_file_that_is_no_program_is_called_what_the_user_calls_it(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.pt2"
    file.write_bytes(bytes(range(100)))
    (outcome,) = make(file, "tflite:float32", out=tmp_path / "out")
    assert isinstance(outcome.error, ModelError)
    assert outcome.error.what.startswith(f"{file} cannot be read as a torch.export program")
    assert ".tmp-" not in str(outcome.error)


def test_nothing_runs_for_a_bad_recipe(cache: Path, dense: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="weight-int8"):
        make(dense, "tflite:float32", "tflite:int3", out=tmp_path / "out")
    assert not cache.exists()


BAD_FORMAT = """
import os, signal, time
from edgekit.convert.formats.base import Precision
from edgekit.convert.formats.tflite import TFLite


class Bad(TFLite):
    name = "bad"
    precisions = {p: Precision("", 60.0, must_store=("int8",) if p == "lies" else ()) for p in
                  ("honest", "raises", "aborts", "killed", "hangs", "swells", "garbage", "lies", "nan")}
    precisions["near"] = Precision("", 60.0, must_store=("int8",), nearest=("raises", "honest"))

    def convert(self, exported, lowered, recipe, calibration, payload):
        from dataclasses import dataclass
        import msgspec

        what = recipe.precision
        plain = msgspec.structs.replace(recipe, precision="float32")
        converted = super().convert(exported, lowered, plain, {}, payload)
        if what == "raises":
            raise ValueError("no kernel for that")
        if what == "aborts":
            os.abort()
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hangs":
            time.sleep(600)
        if what == "swells":
            held = []
            while True:
                held.append(bytes(range(256)) * (1 << 16))
                time.sleep(0.005)
        if what in ("garbage", "nan"):
            content = bytearray(payload.read_bytes())
            import numpy as np

            weights = np.load(os.environ["EDGEKIT_TEST_WEIGHTS"])
            at = bytes(content).index(weights.tobytes())
            new = np.full_like(weights, np.nan) if what == "nan" else -weights
            content[at : at + weights.nbytes] = new.tobytes()
            payload.write_bytes(content)
        return converted
"""


@pytest.fixture
def bad_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A format from outside the package, registered by metadata alone, that misbehaves by its precision."""
    site = tmp_path / "site"
    metadata = site / "bad_format-1.dist-info"
    metadata.mkdir(parents=True)
    (site / "bad_format.py").write_text(BAD_FORMAT)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-format\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[edgekit.formats]\nbad = bad_format:Bad\n")
    np.save(tmp_path / "weights.npy", weights()[-1][0])
    monkeypatch.setenv("EDGEKIT_TEST_WEIGHTS", str(tmp_path / "weights.npy"))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(site))
    sys.modules.pop("bad_format", None)  # an earlier test's copy
    plugins._registered.cache_clear()
    plugins.load.cache_clear()
    yield
    plugins._registered.cache_clear()
    plugins.load.cache_clear()


@pytest.mark.parametrize(
    ("precision", "kind", "says"),
    [
        ("raises", ConversionError, "ValueError: no kernel for that"),
        ("aborts", ConversionError, "SIGABRT"),
        ("killed", ConversionError, "SIGKILL.*memory"),
        ("hangs", ConversionError, "did not end within"),
        ("garbage", ParityError, "does not compute what its source computes"),
        ("nan", ParityError, "NaN or infinity"),
        ("lies", ConversionError, "not what it is called.*no int8"),
    ],
)
def test_one_bad_recipe_costs_only_itself(
    cache: Path, bad_format: None, dense: Path, tmp_path: Path, precision: str, kind: type[Exception], says: str
) -> None:
    out, bounds = tmp_path / "out", Bounds(timeout_s=15 if precision == "hangs" else 120, jobs=2)
    bad, good = make(dense, f"bad:{precision}", "bad:honest", out=out, bounds=bounds)
    assert good.artifact is not None, good.error
    with pytest.raises(kind, match=says) as failure:
        raise bad.error
    log = failure.value.remedy.rpartition("log is ")[2].rstrip(".")
    assert Path(log).is_file()
    assert not (out / "net" / f"bad-{precision}").exists()
    assert nothing_half_written(cache, out)


def test_a_failed_precision_names_the_nearest_that_works(
    cache: Path, bad_format: None, dense: Path, tmp_path: Path
) -> None:
    (outcome,) = make(dense, "bad:near", out=tmp_path / "out")
    assert isinstance(outcome.error, ConversionError)
    assert outcome.error.remedy.startswith("The nearest precision that works is bad:honest (")
    assert not (tmp_path / "out").exists(), "what was not asked for is not published"


def test_a_worker_that_takes_too_much_memory(cache: Path, bad_format: None, dense: Path, tmp_path: Path) -> None:
    bounds = Bounds(timeout_s=120, memory_bytes=2 << 30)
    bad, good = make(dense, "bad:swells", "bad:honest", out=tmp_path / "out", bounds=bounds)
    assert good.artifact is not None, good.error
    assert isinstance(bad.error, ConversionError)
    assert "GiB of memory, where 2.0 GiB are allowed" in bad.error.what
    assert nothing_half_written(cache, tmp_path / "out")


def test_a_change_of_a_format_from_elsewhere_is_a_change(
    cache: Path, bad_format: None, dense: Path, tmp_path: Path
) -> None:
    """No version tells that a module under development has changed; its content does."""
    (first,) = make(dense, "bad:honest", out=tmp_path / "out")
    (again,) = make(dense, "bad:honest", out=tmp_path / "out")
    assert (first.cached, again.cached) == (False, True)
    with (tmp_path / "site" / "bad_format.py").open("a") as module:
        module.write("# another comment\n")
    (changed,) = make(dense, "bad:honest", out=tmp_path / "out")
    assert not changed.cached


def test_what_is_executed_is_said_before_it_is(tiny: Callable[..., Path]) -> None:
    folder = tiny()
    (folder / "model.py").write_text("raise SystemError('executed')")
    said: list[str] = []
    with pytest.raises(ModelError, match="executed"):
        find_model(str(folder), announce=said.append)
    assert said == [f"executes {folder / 'model.py'}"]


def test_two_packages_with_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [EntryPoint("same", f"{package}:X", "edgekit.formats") for package in ("a", "b")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: twice)
    plugins._registered.cache_clear()
    with pytest.raises(plugins.PluginError, match="a:X and b:X"):
        plugins.names("format")
    plugins._registered.cache_clear()


def workers_of(cache: Path) -> list[int]:
    return processes_with("edgekit.convert.worker", str(cache))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_at_work(cache: Path, dense: Path, tmp_path: Path, sent: signal.Signals) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edgekit", "convert", str(dense), "--to", "tflite:float32", "--out", str(out)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not workers_of(cache) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workers_of(cache)
    process.send_signal(sent)
    _, said = process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while workers_of(cache) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers_of(cache) == [], "no worker outlives the chain"
    assert not out.exists()
    if sent is not signal.SIGKILL:
        assert process.returncode == 130
        assert "Traceback" not in said
        assert nothing_half_written(cache)
    (after,) = make(dense, "tflite:float32", out=out)
    assert after.artifact is not None


def test_a_full_disk(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "12k") as disk:
        (outcome,) = make(dense_folder, "tflite:float32", out=disk / "out")
        assert isinstance(outcome.error, StorageError)
        assert "No space is left" in outcome.error.what
        assert not list(disk.rglob("manifest.json"))
        assert nothing_half_written(disk)
    (after,) = make(dense_folder, "tflite:float32", out=disk / "out")
    assert after.artifact is not None


def test_a_full_disk_under_the_cache(dense_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "32k") as disk:
        monkeypatch.setenv("EDGEKIT_CACHE", str(disk / "cache"))
        (outcome,) = make(dense_folder, "tflite:float32", out=tmp_path / "out")
        assert isinstance(outcome.error, StorageError), outcome.error
        assert nothing_half_written(disk)
        assert not (tmp_path / "out").exists()


def test_the_json_of_a_failed_recipe(cache: Path, dense: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "convert", str(dense), "--to", "tflite:int8", "--json",
         "--out", str(tmp_path / "out")],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["results"][0]["error"]["error"] == "DataError"


def test_declared_files_belong_to_the_model(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    """A change of the weights is a change of the model; a file that is not there is an error, not an empty one."""
    folder = dense_folder
    code = (folder / "model.py").read_text().replace('("net.tflite",)', '("net.tflite", "weights.bin")')
    (folder / "model.py").write_text(code)
    with pytest.raises(ModelError, match=r"declares the file 'weights\.bin'"):
        make(folder, "tflite:float32", out=tmp_path / "out")
    (folder / "weights.bin").write_bytes(b"one")
    (first,) = make(folder, "tflite:float32", out=tmp_path / "out")
    (folder / "weights.bin").write_bytes(b"two")
    (second,) = make(folder, "tflite:float32", out=tmp_path / "out")
    assert (first.error, second.error) == (None, None)
    assert not second.cached

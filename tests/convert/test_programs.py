"""A program that is handed on in memory makes what the same program makes when it is read from its file."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edgekit import plugins
from edgekit.convert import Bounds
from edgekit.convert.formats.base import Exported
from edgekit.convert.programs import hold_program, holds_program, load_program, save_program, torch_put_back
from edgekit.convert.sources.base import PROGRAM
from edgekit.files import digest_of_tree
from edgekit.recipe import parse_recipe
from edgekit.specs import TensorSpec
from tests.convert.conftest import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def network() -> Any:
    """A convolution with its batch normalisation, a weight that two layers share, a buffer, a constant."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
            self.there, self.back = nn.Linear(8, 8), nn.Linear(8, 8)
            self.back.weight = self.there.weight
            self.register_buffer("shift", torch.linspace(-1, 1, 8))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            pooled = self.stem(image).mean(dim=(2, 3)) + self.shift
            back: torch.Tensor = self.back(torch.relu(self.there(pooled))) * torch.tensor(0.5)
            return back

    torch.manual_seed(0)
    return Net().eval()


def program_of(module: Any) -> Any:
    import torch

    return torch.export.export(module, (torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)),))


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ["tflite:float32", "onnx:float32", "coreml:float16", "executorch:float32", "tvm:float32"]
)
def test_the_payload_is_the_same_whichever_way_the_program_came(recipe: str, tmp_path: Path) -> None:
    """TorchScript, which counts per process, is compared in processes of its own, below."""
    wanted = parse_recipe(recipe)
    inputs, outputs = (TensorSpec("image", (1, 3, 16, 16), layout="NCHW"),), (TensorSpec("output", (1, 8)),)
    exported = Exported("torch-export", tmp_path, inputs, outputs)
    save_program(program_of(network()), tmp_path / PROGRAM)
    made = []
    for way in ("held", "read"):
        assert holds_program() is (way == "held")
        form = plugins.load("format", wanted.format)()
        folder = tmp_path / way
        (folder / "lowered").mkdir(parents=True)
        form.lower(exported, folder / "lowered")
        lowered = folder / "lowered" if any((folder / "lowered").iterdir()) else tmp_path
        (folder / "payload").mkdir()
        form.convert(exported, lowered, wanted, {}, folder / "payload" / form.payload)
        made.append(digest_of_tree([folder / "payload"]))
    assert made[0] == made[1]


def test_a_program_is_given_away_once_and_for_its_own_file_only(tmp_path: Path) -> None:
    import torch

    module = network()
    held, other = tmp_path / "a" / PROGRAM, tmp_path / "other.pt2"
    held.parent.mkdir()
    torch.export.save(program_of(module), other)
    program = program_of(module)
    save_program(program, held)
    held.parent.rename(tmp_path / "b")  # as the cache does when a step is done
    assert load_program(tmp_path / "b" / PROGRAM) is program
    again = load_program(tmp_path / "b" / PROGRAM)
    assert again is not program
    hold_program(again, tmp_path / "b" / PROGRAM)
    assert load_program(other) is not again
    assert not holds_program()


def test_a_program_whose_sizes_vary_is_read_from_its_file(tmp_path: Path) -> None:
    import torch

    sizes = ({0: torch.export.Dim("batch", min=1, max=8)},)
    save_program(torch.export.export(torch.nn.ReLU(), (torch.zeros(4, 3),), dynamic_shapes=sizes), tmp_path / PROGRAM)
    assert not holds_program()
    assert load_program(tmp_path / PROGRAM).range_constraints


def test_what_a_model_sets_for_the_whole_process_is_put_back() -> None:
    import torch

    def state() -> tuple[Any, ...]:
        return (
            torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_device(),
            torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist(),
        )  # fmt: skip

    before = state()
    with torch_put_back():
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(before[1] + 1)
        torch.set_grad_enabled(not before[2])
        torch.set_default_device("meta")
        torch.use_deterministic_algorithms(not before[4])
        torch.manual_seed(before[5][0] + 1)
    assert state() == before


PROBE = """
import json, os, time
from edgekit.convert.formats.base import Precision
from edgekit.convert.formats.torchscript import TorchScript
from edgekit.convert.programs import holds_program


class Probe(TorchScript):
    name = "probe"
    precisions = {p: Precision("", 60.0) for p in ("plain", "twin", "aborts", "swells")}

    def convert(self, exported, lowered, recipe, calibration, payload):
        import msgspec
        import torch

        goes_on = holds_program()
        seen = {"goes_on": goes_on, "dtype": str(torch.get_default_dtype()), "threads": torch.get_num_threads()}
        with open(os.environ["EDGEKIT_TEST_SEEN"], "a") as file:
            file.write(json.dumps(seen) + "\\n")
        if goes_on and recipe.precision == "aborts":
            (payload.parent / "half").write_text("written")
            os.abort()
        held = []
        while goes_on and recipe.precision == "swells":
            held.append(bytes(range(256)) * (1 << 16))
            time.sleep(0.005)
        return super().convert(exported, lowered, msgspec.structs.replace(recipe, precision="float32"), {}, payload)
"""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A format from outside the package, which notes what the process is like that it runs in; returns the notes."""
    site, seen = tmp_path / "site", tmp_path / "seen.jsonl"
    metadata = site / "probe_format-1.dist-info"
    metadata.mkdir(parents=True)
    (site / "probe_format.py").write_text(PROBE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: probe-format\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[edgekit.formats]\nprobe = probe_format:Probe\n")
    monkeypatch.setenv("EDGEKIT_TEST_SEEN", str(seen))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(site))
    sys.modules.pop("probe_format", None)  # an earlier test's copy
    plugins._registered.cache_clear()
    plugins.load.cache_clear()
    yield lambda: [json.loads(line) for line in seen.read_text().splitlines()]
    plugins._registered.cache_clear()
    plugins.load.cache_clear()


@pytest.mark.slow
def test_one_step_goes_on_where_the_export_was_written(
    cache: Path, probe: Callable[[], list[dict[str, Any]]], tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """The model sets float64 and another number of threads for its whole process: the step after it must not see it."""
    folder = tiny()
    text = (folder / "model.py").read_text()
    sets = "net = Net()\n    torch.set_default_dtype(torch.float64)\n    torch.set_num_threads(7)\n    return net"
    (folder / "model.py").write_text(text.replace("return Net()", sets))
    outcomes = make(folder, "probe:plain", "probe:twin", out=tmp_path / "out", bounds=Bounds(jobs=1))
    assert [o.error for o in outcomes] == [None, None]
    goes_on, fresh = sorted(probe(), key=lambda row: not row["goes_on"])
    assert (goes_on.pop("goes_on"), fresh.pop("goes_on")) == (True, False)
    assert goes_on == fresh
    payloads = [o.artifact.path / o.artifact.manifest.payload for o in outcomes if o.artifact]
    assert payloads[0].read_bytes() == payloads[1].read_bytes()


@pytest.mark.slow
def test_none_goes_on_where_torchscript_has_counted(
    cache: Path, probe: Callable[[], list[dict[str, Any]]], tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny()
    text = (folder / "model.py").read_text()
    scripts = "torch.jit.script(torch.nn.Linear(1, 1))\n    return Net()"
    (folder / "model.py").write_text(text.replace("return Net()", scripts))
    (outcome,) = make(folder, "probe:plain", out=tmp_path / "out")
    assert outcome.error is None
    assert [row["goes_on"] for row in probe()] == [False]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["aborts", "swells"])
def test_what_goes_down_while_going_on_is_run_again_by_itself(
    cache: Path, probe: Callable[[], list[dict[str, Any]]], tiny: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    """A step has the memory that it is allowed to itself, and a process that nothing has disturbed."""
    bounds = Bounds(memory_bytes=2 << 30)
    (outcome,) = make(tiny(), f"probe:{how}", out=tmp_path / "out", bounds=bounds)
    assert outcome.error is None
    assert [row["goes_on"] for row in probe()] == [True, False]
    assert outcome.artifact is not None
    names = [entry.path for entry in outcome.artifact.manifest.files]
    assert not [name for name in names if name.endswith("half")], "what went down leaves nothing behind"

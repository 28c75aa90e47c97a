"""A device whose temperature, clocks and counters tests set, and a model that it measures in no time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_sysfs import Sysfs

from edgekit.artifact import Artifact, open_artifact
from edgekit.convert import convert, find_model
from edgekit.devices import Device, connect, load_target
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.recipe import parse_recipe
from tests.bench.doubling import brief, doubling, with_doubling

if TYPE_CHECKING:
    from edgekit.devices import Target

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def _board() -> Iterator[tuple[Sysfs, ThrowawaySshd]]:
    with Sysfs() as sysfs:
        if subprocess.run([*sysfs.enter, "true"], capture_output=True).returncode:
            pytest.skip("nothing can be mounted over /sys here: it takes root")
        with ThrowawaySshd(enter=sysfs.enter) as sshd:
            yield sysfs, sshd


@pytest.fixture
def sysfs(_board: tuple[Sysfs, ThrowawaySshd]) -> Sysfs:
    """What the board finds at /sys: cool, with fixed clocks, until a test says otherwise."""
    _board[0].reset()
    return _board[0]


@pytest.fixture
def board_target(_board: tuple[Sysfs, ThrowawaySshd], sysfs: Sysfs, tmp_path: Path) -> Target:
    """This machine through a real sshd whose sessions find `sysfs` at /sys."""
    return load_target(str(_board[1].write_target(tmp_path / "cool.toml", "cool", str(tmp_path / "root"))))


@pytest.fixture
def board(board_target: Target, tmp_path: Path) -> Iterator[Callable[..., Device]]:
    """Connects to it: `board(max_temperature_c=70)` with these limits."""
    with ExitStack() as stack:
        yield lambda **limits: with_doubling(stack.enter_context(connect(brief(board_target, **limits))), tmp_path)


@pytest.fixture(scope="session")
def profiled_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Artifact]:
    """digits_cnn, really converted, by the name of its folder."""
    recipes = ["tflite:int8", "onnx:float32", "tvm:float32@x86_64-linux-gnu"]
    out = tmp_path_factory.mktemp("artifacts")
    outcomes = convert(find_model(str(REPOSITORY / "models/digits_cnn")), [parse_recipe(r) for r in recipes], out=out)
    assert [outcome.error for outcome in outcomes] == [None] * len(recipes)
    return lambda name: open_artifact(out / "digits_cnn" / name)


@pytest.fixture
def twice(tmp_path: Path) -> Artifact:
    """An artifact that doubles."""
    return doubling(tmp_path / "artifacts")

"""Devices that take a while to make, shared by all tests of this folder, and real artifacts for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from board import Board
from link import Link

from edgekit.convert import convert, find_model
from edgekit.devices import connect, load_target
from edgekit.recipe import parse_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices import Device, Target

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def aarch64_board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """An emulated aarch64 board with an SSH server, Python and every runtime that there are wheels of."""
    with Link() as link, Board(link, tmp_path_factory.mktemp("board"), adb=True) as board:
        yield board


@pytest.fixture(scope="session")
def aarch64_file(aarch64_board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target file that reaches it. Its store is one for all tests: under emulation each push takes a while."""
    return aarch64_board.write_target(tmp_path_factory.mktemp("target") / "arm.toml", "arm", root="/data/store")


@pytest.fixture(scope="session")
def aarch64_target(aarch64_file: Path) -> Target:
    """A target that reaches it."""
    return load_target(str(aarch64_file))


@pytest.fixture
def aarch64_device(aarch64_target: Target) -> Iterator[Device]:
    """The board, connected."""
    with connect(aarch64_target) as device:
        yield device


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with nothing but the standard library."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return str(folder / "bin" / "python")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with digits_cnn, really converted: by TFLite, ONNX, and TVM for the board and for this machine."""
    out = tmp_path_factory.mktemp("artifacts")
    recipes = ["tflite:float32", "tflite:int8", "tvm:float32@aarch64-linux-gnu", "tvm:float32@x86_64-linux-gnu",
               "onnx:float32"]  # fmt: skip
    outcomes = convert(
        find_model(str(REPOSITORY / "models" / "digits_cnn")), [parse_recipe(r) for r in recipes], out=out
    )
    assert [outcome.error for outcome in outcomes] == [None] * len(recipes)
    return out / "digits_cnn"

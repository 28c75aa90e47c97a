"""Tuning: tiles are measured within a bound, remembered by machine, and change speed only."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert.formats.tvm import TVM
from edgekit.convert.tvm import compile_module
from edgekit.convert.tvm.importing import from_torch_export
from edgekit.convert.tvm.linking import link
from edgekit.convert.tvm.machine import machine_for
from edgekit.convert.tvm.tiles import COLUMNS_OUTSIDE, Product, Tile
from edgekit.convert.tvm.tuning import Database, Tuned, tiles_to_try, tune
from edgekit.errors import ConversionError, RecipeError
from edgekit.recipe import Recipe
from edgekit.runner.runtimes import tvm as runtime

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="measures this machine's own code"),
]

HERE = machine_for()
SMALL, OTHER = Product(16, 24, 48, "float32"), Product(8, 32, 16, "int8")
PRODUCTS = Counter({SMALL: 2, OTHER: 1})


def silent(_: str) -> None:
    """Progress that nobody sees."""


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    told: list[str] = []
    database = Database(HERE, tmp_path / "tiles.json")
    first = tune(PRODUCTS, HERE, 5.0, database, told.append)
    assert (first.products, first.known, first.measured) == (2, 0, 2)
    assert [line.split(",")[:2] for line in told] == [["tuning", f" product {i} of 2"] for i in (1, 2)]
    again = tune(PRODUCTS, HERE, 5.0, Database(HERE, tmp_path / "tiles.json"), told.append)
    assert (again.known, again.measured) == (2, 0)
    assert again.tiles == first.tiles
    assert len(told) == 2
    for tile in first.tiles.values():
        assert tile in [tile for product in PRODUCTS for tile in tiles_to_try(product, HERE)[1:]]


def test_the_search_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """Within a second nothing can be measured: TVM's import alone takes longer."""
    began = time.monotonic()
    found = tune(PRODUCTS, HERE, 0.2 / 60, Database(HERE, tmp_path / "tiles.json"), silent)
    assert time.monotonic() - began < 10
    assert (found.tiles, found.known, found.measured) == ({}, 0, 0)
    assert "2 not for want of time" in found.note


def test_a_search_that_goes_down_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.convert.tvm.tuning.sys.executable", "/bin/false")
    with pytest.raises(ConversionError, match="ended with status 1"):
        tune(PRODUCTS, HERE, 5.0, Database(HERE, tmp_path / "tiles.json"), silent)


def test_records_are_of_one_machine_and_survive_each_other(tmp_path: Path) -> None:
    path = tmp_path / "tiles.json"
    wide, here = Database(machine_for(cpu="skylake-avx512"), path), Database(HERE, path)
    wide.note(SMALL, Tile(2, 1, 16), 0.8, whole=True)
    wide.save()
    here.note(OTHER, None, 0.99, whole=True)
    here.note(SMALL, None, 1.0, whole=False)
    here.save()
    fresh = Database(HERE, path)
    assert (fresh.knows(OTHER), fresh.tile(OTHER), fresh.knows(SMALL)) == (True, None, False)
    assert Database(machine_for(cpu="skylake-avx512"), path).tile(SMALL) == Tile(2, 1, 16)
    path.write_text(json.dumps({"schema": 1, "machines": 3}))
    assert not Database(HERE, path).knows(OTHER)


def test_a_tuned_product_answers_as_the_usual_one(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    net, x = torch.nn.Linear(24, 70).eval(), torch.randn(13, 24)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "program.pt2")
    asked: list[Any] = []

    def tuning(products: Counter[Product], machine: Any) -> Tuned:
        asked.append((dict(products), machine))
        return Tuned({Product(13, 24, 70, "float32"): Tile(5, 2, 8, COLUMNS_OUTSIDE)}, 1, 1, 0)

    module = from_torch_export(tmp_path / "program.pt2")
    compiled = compile_module(module, HERE, tuning=tuning)
    link(compiled.build(HERE), HERE.triple, tmp_path / "model.so")
    assert asked == [({Product(13, 24, 70, "float32"): 1}, HERE)]
    session = runtime.load(str(tmp_path / "model.so"), 1, {"inputs": [], "outputs": []})
    session.set_input(0, x.numpy())
    session.invoke()
    np.testing.assert_allclose(session.get_output(0), net(x).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (Recipe("tvm", "float32", options={"tune_minutes": -1}), "0 to 120"),
        (Recipe("tvm", "float32", options={"tune_minutes": True}), "0 to 120"),
        (Recipe("tvm", "float32", "armv7", options={"tune_minutes": 1}), "on such a machine"),
        (Recipe("tvm", "int8", options={"tune_minutes": 1}), "on such a machine"),
        (Recipe("tvm", "float32", options={"tune_minutes": 1, "cpu": "skylake-avx512"}), "on such a machine"),
    ],
)
def test_what_cannot_be_tuned(recipe: Recipe, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        TVM().validate(recipe)
    assert says in caught.value.remedy

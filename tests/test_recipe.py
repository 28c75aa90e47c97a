"""Recipes, as text and as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import RecipeError
from edgekit.recipe import Recipe, parse_recipe

WORD = st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True)


@given(WORD, WORD, st.none() | WORD)
def test_text_and_back(name: str, precision: str, triple: str | None) -> None:
    recipe = Recipe(name, precision, triple)
    assert parse_recipe(str(recipe)) == recipe


@pytest.mark.parametrize("text", ["", "tflite", "tflite:", ":int8", "tflite:int8@", "tflite: int8", "tflite:int8@a/b"])
def test_what_is_no_recipe_is_shown_one(text: str) -> None:
    with pytest.raises(RecipeError, match="FORMAT:PRECISION"):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.toml", 'format = "tvm"\nprecision = "float32"\ntriple = "aarch64"\n[options]\nopt_level = 3\n'),
        ("r.json", '{"format":"tvm","precision":"float32","triple":"aarch64","options":{"opt_level":3}}'),
    ],
)
def test_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    recipe = parse_recipe(str(tmp_path / name))
    assert recipe == Recipe("tvm", "float32", "aarch64", {"opt_level": 3})
    assert recipe.slug == "tvm-float32-aarch64"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.toml", 'format = "tflite"\nprecison = "int8"\n', "precison.*format, precision, triple"),
        ("r.toml", 'format = "tflite"\n', "precision"),
        ("r.toml", 'format = "tflite"\nprecision = 8\n', "str"),
        ("r.toml", "format = \n", "cannot be read"),
        ("r.json", "{", "cannot be read"),
        ("r.json", '{"format":"a","precision":"b","schema":2}', "schema 2"),
        ("r.toml", "\udcff", "cannot be read"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(RecipeError, match=says):
        parse_recipe(str(tmp_path / name))


def test_a_file_that_is_not_there_and_one_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe file"):
        parse_recipe(str(tmp_path / "x.toml"))
    (tmp_path / "y.toml").mkdir()
    with pytest.raises(RecipeError, match="cannot be read"):
        parse_recipe(str(tmp_path / "y.toml"))

"""Names of manifests as identifiers and literals: nothing in them is trusted."""

from __future__ import annotations

import ast
import keyword
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.bundle.names import comment, distinct, literal, lower_camel, snake, upper_camel

IDENTIFIER = re.compile("[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@pytest.mark.parametrize(
    ("name", "lower", "upper", "snaked"),
    [
        ("digits_cnn", "digitsCnn", "DigitsCnn", "digits_cnn"),
        ("serving_default:0", "servingDefault0", "ServingDefault0", "serving_default_0"),
        ("RGBImage", "rgbImage", "RgbImage", "rgb_image"),
        ("2nd", "tensor2Nd", "Model2Nd", "tensor2_nd"),
        ("größe", "groe", "Groe", "groe"),
        ("数字", "tensor", "Model", "tensor"),
        ("", "tensor", "Model", "tensor"),
    ],
)
def test_styles(name: str, lower: str, upper: str, snaked: str) -> None:
    assert (lower_camel(name), upper_camel(name), snake(name)) == (lower, upper, snaked)


@given(st.lists(st.text(), max_size=6), st.sampled_from([lower_camel, upper_camel, snake]))
def test_identifiers_are_safe_and_distinct(names: list[str], style: object) -> None:
    found = distinct(names, style, keyword.kwlist, ["taken"])
    assert len(set(found)) == len(names)
    assert all(IDENTIFIER.fullmatch(one) for one in found)
    assert not set(found) & {*keyword.kwlist, "taken"}


def test_keywords_and_neighbours() -> None:
    assert distinct(["class", "a-b", "a_b", "a.b"], snake, ["class"]) == ["class_", "a_b", "a_b_2", "a_b_3"]
    assert distinct(["x"], snake, ["x", "x_"], ["x_2"]) == ["x_3"]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_literal_is_what_it_was(text: str) -> None:
    """Python's own escapes of UTF-16 units, joined again, are the text."""
    shown = literal(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert ast.literal_eval(shown).encode("utf-16", "surrogatepass").decode("utf-16") == text


@given(st.text() | st.text('*/\\"', max_size=8))
@example("*\\")  # a backslash is shown as a slash
def test_a_comment_ends_nothing(text: str) -> None:
    shown = comment(text)
    assert shown.isascii()
    assert not {"\n", "\r"} & set(shown)
    assert not any(ending in shown for ending in ("*/", "/*", '"""', "\\"))

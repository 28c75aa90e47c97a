"""Dimensions that vary: how they are written, at which sizes they are proven, with which samples."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.dimensions import (
    Axis,
    Dim,
    Range,
    dimensions,
    parse_size,
    resized,
    sizes_to_prove,
    varying_outputs,
)
from edgekit.errors import DataError
from edgekit.model import Model
from edgekit.specs import TensorSpec

TOKENS = TensorSpec("tokens", (1, Dim("length", 8, 128, nominal=48)), "int64")


def test_a_spec_keeps_plain_numbers_and_says_what_varies() -> None:
    assert TOKENS.shape == (1, 48)
    assert type(TOKENS.shape[1]) is int
    assert TOKENS.varies == (Axis(1, "length", 8, 128),)
    assert TOKENS.describe() == "int64[1, length 8..128]"
    assert msgspec.json.decode(msgspec.json.encode(TOKENS), type=TensorSpec) == TOKENS
    assert msgspec.structs.replace(TOKENS, name="other").varies == TOKENS.varies


def test_without_a_nominal_size_it_is_the_largest() -> None:
    assert TensorSpec("x", (Dim("batch", 1, 8), 3)).shape == (8, 3)


@pytest.mark.parametrize("given_", [("length", 8, 8), ("length", 9, 8), ("length", 0, 8), ("a b", 1, 8), ("", 1, 8)])
def test_what_does_not_vary_is_no_dimension(given_: tuple[str, int, int]) -> None:
    with pytest.raises(DataError, match="none that varies"):
        Dim(*given_)


def test_a_nominal_size_lies_between_the_bounds() -> None:
    with pytest.raises(DataError, match="nominally 7"):
        Dim("length", 8, 16, nominal=7)
    with pytest.raises(DataError, match="varies as"):
        TensorSpec("x", (1, 7), varies=(Axis(1, "length", 8, 16),))
    with pytest.raises(DataError, match="varies as"):
        TensorSpec("x", (1, 8), varies=(Axis(2, "length", 8, 16),))


def test_axes_of_one_name_have_the_same_bounds() -> None:
    mask = TensorSpec("mask", (1, Dim("length", 8, 128, nominal=48)), "int64")
    assert list(dimensions([TOKENS, mask])) == ["length"]
    other = TensorSpec("mask", (1, Dim("length", 8, 64, nominal=48)), "int64")
    with pytest.raises(DataError, match=r"'length' is 8..128, nominally 48, in one input, and 8..64"):
        Model("net", "pytorch", build=object, inputs=(TOKENS, other))


def test_the_bounds_the_middle_and_the_corners_are_proven() -> None:
    assert sizes_to_prove([TensorSpec("x", (1, 4))]) == []
    assert sizes_to_prove([TOKENS]) == [{"length": 8}, {"length": 128}, {"length": 68}]
    image = TensorSpec("image", (1, 3, Dim("height", 10, 20), Dim("width", 10, 30)))
    assert sizes_to_prove([image]) == [
        {"height": 10, "width": 10},
        {"height": 15, "width": 20},
        {"height": 10, "width": 30},
        {"height": 20, "width": 10},
    ]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
def test_samples_are_cut_or_repeated_and_stay_aligned(nominal: int, wanted: int, n: int) -> None:
    specs = [TensorSpec(name, (1, Dim("length", 1, 41, nominal=nominal))) for name in ("ids", "mask")]
    ids = np.arange(n * nominal).reshape(n, 1, nominal)
    cut, mask = (resized(array, spec, {"length": wanted}) for array, spec in zip((ids, ids % 3), specs, strict=True))
    assert cut.shape == (n, 1, wanted)
    np.testing.assert_array_equal(cut[..., : min(nominal, wanted)], ids[..., : min(nominal, wanted)])
    np.testing.assert_array_equal(mask, cut % 3)


def test_axes_of_outputs_are_found_from_their_shapes() -> None:
    others = [({"length": 8}, (1, 8, 5, 4)), ({"length": 128}, (1, 128, 5, 64))]
    assert varying_outputs((1, 48, 5, 24), others, "out") == (Axis(1, "length", 8, 128), Axis(3, "out_3", 4, 64))
    assert varying_outputs((1, 5), [], "out") == ()
    with pytest.raises(DataError, match="another number of axes"):
        varying_outputs((1, 5), [({"length": 8}, (5,))], "out")


def test_ranges_on_the_command_line() -> None:
    assert parse_size("48") == 48
    assert parse_size("8..128") == Range(8, 128)
    assert parse_size("length:8..128@48") == Range(8, 128, 48, "length")
    dim = Range(1, 8).dim("2*s0")
    assert (dim.name, int(dim)) == ("d_2_s0", 8)
    for text in ("", "x", "8..", "..8", "8...9", "8..9@"):
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            parse_size(text)
    with pytest.raises(DataError, match=r"9\.\.8"):
        parse_size("9..8")

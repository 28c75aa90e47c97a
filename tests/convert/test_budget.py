"""The accuracy budget: how it is written, and the search for the fewest layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.budget import fewest, parse_max_drop
from edgekit.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "unit", "source", "allowed", "refused"),
    [
        ("1%", "%", 0.97, 0.01, 0.0101),
        ("0.02", "%", 0.97, 0.02, 0.0201),
        ("2 %", "", 50.0, 1.0, 1.01),
        ("3", "", 50.0, 3.0, 3.1),
        ("0", "%", 0.5, -0.1, 0.001),
    ],
)
def test_what_a_budget_allows(text: str, unit: str, source: float, allowed: float, refused: float) -> None:
    budget = parse_max_drop(text, unit)
    assert budget.allows(allowed, source)
    assert not budget.allows(refused, source)


@pytest.mark.parametrize("text", ["", "%", "one", "-1%", "nan", "inf", "1%%"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(RecipeError, match="no accuracy budget"):
        parse_max_drop(text, "%")


@given(limit=st.integers(1, 200), needed=st.integers(0, 220))
def test_the_fewest_are_found_in_few_attempts(limit: int, needed: int) -> None:
    asked: list[int] = []

    def inside(count: int) -> bool:
        asked.append(count)
        return count >= needed

    found = fewest(limit, inside)
    assert found == (needed if needed < limit else None)
    assert len(asked) <= 2 * limit.bit_length() + 2
    assert max(asked) < limit


@given(limit=st.integers(1, 60), data=st.data())
def test_what_is_found_was_inside_even_if_more_layers_are_not_better(limit: int, data: st.DataObject) -> None:
    answers = data.draw(st.lists(st.booleans(), min_size=limit, max_size=limit))
    found = fewest(limit, answers.__getitem__)
    if found is not None:
        assert answers[found]

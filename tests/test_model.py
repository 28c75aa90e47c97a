"""A model says early what it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import ModelError
from edgekit.model import Metric, Model
from edgekit.specs import TensorSpec

X = TensorSpec("x", (1,))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "../up"}, "cannot be used in paths"),
        ({"name": ""}, "cannot be used in paths"),
        ({"inputs": ()}, "declares the inputs"),
        ({"inputs": (X, X)}, "declares the inputs"),
        ({"labels": {"other": ("a", "b")}}, "labels for 'other', which is none of its outputs"),
        ({"labels": {"output": ("a", "b\nc")}}, "not texts of one line each"),
        ({"labels": {"output": ("a", " ")}}, "not texts of one line each"),
        ({"labels": {"output": "ab"}}, "not texts of one line each"),
        ({"metric": Metric("accuracy", lambda _outputs, _targets: 0.0)}, "no evaluation data"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Model(**{"name": "m", "source": "pytorch", "build": object, "inputs": (X,), **fields})

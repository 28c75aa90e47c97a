"""language_id_any_length: the encoder of language_id, with its weights, for texts of 8 to 48 bytes as they are.

language_id pads every text to 48 tokens; this one takes as many as the text has. Data have the nominal length, 48, so
that their metric is that of language_id; the proof cuts them to others.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.convert.load import import_model
from edgekit.dimensions import Dim
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from torch import nn

SHORTEST = 8
"""Tokens: a text of fewer bytes says little, and is to be padded with 0 to this length."""

_fixed = import_model(Path(__file__).resolve().parent.parent / "language_id")
_language_id = sys.modules[_fixed.build.__module__]


def build() -> nn.Module:
    """language_id's trained encoder, for any length up to 48."""
    encoder: nn.Module = _language_id.build(any_length=True)
    return encoder


model = replace(
    _fixed,
    name="language_id_any_length",
    build=build,
    inputs=(TensorSpec("tokens", (1, Dim("length", SHORTEST, _language_id.LENGTH)), "int64"),),
    files=("../language_id/model.py", "../language_id/weights.npz"),
)

"""language_id_any_length: the answers of language_id, whatever the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit.convert.load import find_model, import_model

MODELS = Path(__file__).parents[2] / "models"
ANY_LENGTH = "language_id_any_length"


def test_it_is_language_id_at_48_tokens_and_agrees_with_it_without_padding() -> None:
    """Agrees, but is not equal: the convolution sees zeros beyond a text where language_id has embedded padding."""
    import torch

    fixed, open_ = (import_model(MODELS / name) for name in ("language_id", ANY_LENGTH))
    assert open_.inputs[0].describe() == "int64[1, length 8..48]"
    tokens = np.asarray(fixed.evaluation().inputs["tokens"])[:120]
    padded, any_length = fixed.build(), open_.build()
    same = []
    with torch.no_grad():
        for sample in map(torch.from_numpy, tokens):
            expected = padded(sample)
            assert torch.equal(any_length(sample), expected)
            text = sample[:, : int((sample != 0).sum())]
            same.append(bool(any_length(text).argmax() == expected.argmax()))
    assert np.mean(same) >= 0.95


def test_what_it_takes_from_language_id_belongs_to_its_source() -> None:
    names = {file.resolve().relative_to(MODELS).as_posix() for file in find_model(str(MODELS / ANY_LENGTH)).files}
    assert {"language_id/model.py", "language_id/weights.npz", f"{ANY_LENGTH}/model.py"} <= names

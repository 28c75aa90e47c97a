"""language_id: its texts do not leak, its tokens are the text's bytes, and its weights are what the README says."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekit.convert.load import import_model
from edgekit.errors import ModelError

FOLDER = Path(__file__).parents[2] / "models" / "language_id"


@pytest.fixture(scope="module")
def language_id() -> ModuleType:
    """The module that model.py is."""
    return sys.modules[import_model(FOLDER).build.__module__]


def names(side: dict[str, dict[str, tuple[str, ...]]]) -> set[str]:
    """All names of one side of the split, without regard to case."""
    return {name.casefold() for keys in side.values() for forms in keys.values() for name in forms}


def test_no_entry_and_no_name_is_on_both_sides(language_id: ModuleType) -> None:
    for train, held_out in language_id._names().values():
        for kind in held_out:
            assert all(language_id.is_held_out(kind, key) for key in held_out[kind])
            assert not any(language_id.is_held_out(kind, key) for key in train.get(kind, ()))
        assert len(names(train)) > 500
        assert len(names(held_out)) > 100
        assert not names(train) & names(held_out)


def test_an_entry_is_held_out_in_every_language_or_in_none(language_id: ModuleType) -> None:
    sides = language_id._names()
    train = {(kind, key) for side, _ in sides.values() for kind in side for key in side[kind]}
    held_out = {(kind, key) for _, side in sides.values() for kind in side for key in side[kind]}
    assert not train & held_out
    assert language_id.is_held_out("languages", "pt_BR") == language_id.is_held_out("languages", "pt")


def test_no_name_belongs_to_two_languages(language_id: ModuleType) -> None:
    seen: dict[str, str] = {}
    for language, sides in language_id._names().items():
        for name in names(sides[0]) | names(sides[1]):
            assert seen.setdefault(name, language) == language


def test_the_texts_are_as_many_of_each_language_and_fit(language_id: ModuleType) -> None:
    texts, labels = language_id.texts(5, 120, held_out=True)
    assert np.bincount(labels).tolist() == [10] * 12
    assert all(12 <= len(text.encode()) <= 48 for text in texts)
    assert len(set(texts)) == 120
    assert language_id.texts(5, 120, held_out=True)[0] == texts
    assert language_id.texts(6, 120, held_out=True)[0] != texts


def test_tokens_are_the_bytes_and_padding(language_id: ModuleType) -> None:
    tokens = language_id.encode("één")
    assert tokens.dtype == np.int64
    assert bytes((tokens[tokens > 0] - 1).astype(np.uint8)).decode() == "één"
    assert tokens[5:].tolist() == [0] * 43
    assert not language_id.encode("").any()


def test_a_long_text_is_cut_after_a_whole_character(language_id: ModuleType) -> None:
    tokens = language_id.encode("a" + "é" * 40)  # byte 48 would be the first half of a letter
    assert np.count_nonzero(tokens) == 47
    assert bytes((tokens[:47] - 1).astype(np.uint8)).decode() == "a" + "é" * 23


def test_calibration_and_evaluation_have_the_model_s_shape(language_id: ModuleType) -> None:
    calibration = language_id.calibration()["tokens"]
    evaluation = language_id.evaluation()
    assert calibration.shape == (204, 1, 48)
    assert evaluation.inputs["tokens"].shape == (504, 1, 48)
    assert calibration.min() == 0
    assert calibration.max() <= 256


def test_accuracy_counts_the_largest_logit(language_id: ModuleType) -> None:
    logits = np.eye(12, dtype=np.float32)[[0, 1, 2, 2]][:, None]
    assert language_id.accuracy({"logits": logits}, np.array([0, 1, 2, 3])) == 0.75


@pytest.mark.slow
def test_the_weights_reach_the_accuracy_that_the_readme_gives(language_id: ModuleType) -> None:
    import torch

    held_out = language_id.evaluation()
    encoder = language_id.build()
    logits = encoder(torch.from_numpy(held_out.inputs["tokens"][:, 0])).numpy()
    figure = f"{100 * language_id.accuracy({'logits': logits}, held_out.targets):.1f} %"
    assert figure in (FOLDER / "README.md").read_text()
    assert f"{sum(p.numel() for p in encoder.parameters()):,} parameters" in (FOLDER / "README.md").read_text()


@pytest.mark.slow
def test_a_text_in_a_larger_batch_gets_the_same_logits(language_id: ModuleType) -> None:
    import torch

    encoder = language_id.build()
    tokens = torch.from_numpy(np.stack([language_id.encode("Nouvelle-Zélande"), language_id.encode("")]))
    together = encoder(tokens)
    assert torch.isfinite(together).all()  # an empty text has no tokens to take the mean of
    torch.testing.assert_close(together[:1], encoder(tokens[:1]))


@pytest.mark.slow
def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "language_id"
    shutil.copytree(FOLDER, copy)
    np.savez(copy / "weights.npz", position=np.zeros((3, 3), np.float32))
    with pytest.raises(ModelError, match=r"weights\.npz cannot be used"):
        import_model(copy).build()
    (copy / "weights.npz").write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"weights\.npz cannot be used"):
        import_model(copy).build()

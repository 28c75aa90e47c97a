"""Errors are part of the interface: one paragraph, a remedy, the right exit status."""

from __future__ import annotations

import inspect

import pytest

from edgekit import errors

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.EdgeKitError)]
FAILED_CHECKS = {
    "ActivationRefusedError", "CorruptArtifactError", "ParityError", "TransferError", "WheelError", "WrongAnswerError",
}  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_each(kind: type[errors.EdgeKitError]) -> None:
    error = kind("  It broke. ", remedy=" Mend it. ")
    assert str(error) == "It broke. Mend it."
    assert error.as_dict() == {"error": kind.__name__, "what": "It broke.", "remedy": "Mend it."}
    assert kind.__doc__
    assert error.exit_status == (3 if kind.__name__ in FAILED_CHECKS else 1)


def test_without_a_remedy() -> None:
    assert str(errors.ModelError("It broke.")) == "It broke."

"""digits_cnn, really converted once, with its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.artifact import open_artifact
from edgekit.bench.evaluation import Collected, Evaluated, collect, kept
from edgekit.convert import convert, find_model
from edgekit.devices import Device, Target, connect
from edgekit.recipe import parse_recipe
from edgekit.workflows.evaluate import Options, Subject, evaluate, subject_of

if TYPE_CHECKING:
    from edgekit.artifact import Artifact

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def digits_int8(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """digits_cnn as tflite:int8."""
    out = tmp_path_factory.mktemp("artifacts")
    (outcome,) = convert(find_model(str(REPOSITORY / "models" / "digits_cnn")), [parse_recipe("tflite:int8")], out=out)
    assert outcome.artifact is not None, outcome.error
    return open_artifact(outcome.artifact.path)


@pytest.fixture(scope="session")
def subject(digits_int8: Artifact) -> Subject:
    """Its model, with 360 images."""
    return subject_of(digits_int8, str(REPOSITORY / "models" / "digits_cnn"))


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kept answers, a test's own."""
    monkeypatch.setattr(kept, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "answers"


def opener(target: Target) -> Callable[[], Any]:
    """Connects and locks, as the command does."""

    @contextmanager
    def opened() -> Iterator[Device]:
        with connect(target) as device, device.lock("evaluate"):
            yield device

    return opened


def evaluated(target: Target, artifact: Artifact, subject: Subject, **options: Any) -> Evaluated:
    """One evaluation; its answers are not kept."""
    made, answers = evaluate(opener(target), artifact, subject, Options(**options))
    answers.kept.remove()
    return made


def quick(target: Target) -> Target:
    """With bounds that suit a test."""
    return msgspec.structs.replace(target, bench=msgspec.structs.replace(target.bench, idle_timeout_s=3.0))


__all__ = ["Collected", "collect", "evaluated", "opener", "quick"]

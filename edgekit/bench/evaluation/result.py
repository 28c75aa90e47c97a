"""Evaluated: what an evaluation found, and its file `OUT/TARGET/TIME-MODEL-RECIPE-ID.eval.json`, beside the runs.

A file of its own, not a part of a run: accuracy does not change from one measurement of latency to the next, so it is
measured once and joined to every run of the same artifact on the same target (`accuracy_on_device`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import OutputParity
from edgekit.bench.evaluation.judge import Interval, Outcome
from edgekit.bench.run import Context, Facts, Run
from edgekit.errors import ArtifactError
from edgekit.files import write_file
from edgekit.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = 1
SUFFIX = ".eval.json"


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it was evaluated on: the first `samples` of `of`; a sha256 over all of them and their targets; in words; and
    in what the model's data or code differ from what the artifact was made with."""

    sha256: str
    samples: int
    of: int
    said: str
    changed: tuple[str, ...] = ()


class OnDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model's metric of the device's answers, beside others of the same artifact.

    source, manifest: of the source's and of the artifact's answers on all samples, as the manifest has them.
    here: of this machine's answers on the same samples; `here_by` is "computed", or "manifest" where this machine
    cannot run the artifact.
    drop: how much worse the device is than `here`, in the metric's unit, and its interval; `allowed` is what it may be.
    A value that is None is so `because` of something.
    """

    metric: str | None
    unit: str
    higher_is_better: bool
    source: float | None
    manifest: float | None
    here: float | None
    here_by: str
    device: float | None
    drop: float | None
    interval: Interval | None
    allowed: float | None
    because: str = ""

    @property
    def lost(self) -> float | None:
        """How much worse the device is than the model's source, in the metric's unit; negative where it is better.

        What the artifact loses is known of all samples, and what the device loses beside that of those that it saw.
        """
        if self.source is None or self.manifest is None or self.drop is None:
            return None
        return (self.source - self.manifest if self.higher_is_better else self.manifest - self.source) + self.drop


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The device's answers against this machine's on `samples` of them; `agreed` if every output reaches `min_snr_db`.

    Where this machine cannot run the artifact, they are compared with the artifact's golden ones.
    """

    samples: int
    outputs: tuple[OutputParity, ...]
    min_snr_db: float
    agreed: bool | None

    @property
    def worst_snr_db(self) -> float | None:
        """The lowest SNR; None where all are equal to the bit."""
        return min((row.snr_db for row in self.outputs if row.snr_db is not None), default=None)


class Evaluated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One evaluation of one artifact on one target. `resumed` samples had been answered by an earlier call."""

    id: str
    started_at: str
    artifact: str
    model: str
    recipe: Recipe
    context: Context
    facts: Facts
    data: Data
    accuracy: OnDevice
    agreement: Agreement
    outcome: Outcome
    because: str
    max_drop: str
    resumed: int
    connections: int
    schema: int = SCHEMA


def write_evaluated(made: Evaluated, folder: Path) -> Path:
    """Writes it under `folder/TARGET/` and returns its file.

    Raises:
        StorageError: it cannot be written; then nothing is.
    """
    stamp = made.started_at.replace("-", "").replace(":", "")
    path = folder / made.context.target / f"{stamp}-{made.model}-{made.recipe.slug}-{made.id[:6]}{SUFFIX}"
    write_file(path, msgspec.json.encode(made) + b"\n")
    return path


def read_evaluated(path: Path) -> Evaluated:
    """Reads a file of `write_evaluated`.

    Raises:
        ArtifactError: it is none, or of another schema.
    """
    try:
        return decode_evaluated(path.read_bytes(), str(path))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}.", remedy="Check the path.") from error


def decode_evaluated(content: bytes, name: str) -> Evaluated:
    """Reads an evaluation from its file's content; `name` is told in errors.

    Raises:
        ArtifactError: it is none, or of another schema.
    """
    try:
        made = msgspec.json.decode(content, type=Evaluated)
    except msgspec.MsgspecError as error:
        raise ArtifactError(
            f"{name} is not what `edgekit evaluate` wrote: {error}.", remedy="Evaluate again."
        ) from error
    if made.schema != SCHEMA:
        raise ArtifactError(f"{name} has schema {made.schema}.", remedy=f"This version reads schema {SCHEMA}.")
    return made


def evaluated_of(run: Run, found: Iterable[Evaluated]) -> Evaluated | None:
    """The latest evaluation that a run may be shown with: same artifact, target, runtime, version, kind of runner."""
    fields = ("target", "runtime", "package", "version", "runner")
    same = [
        made
        for made in found
        if made.artifact == run.artifact
        and all(getattr(made.context, name) == getattr(run.context, name) for name in fields)
    ]
    return max(same, key=lambda made: (made.started_at, made.id), default=None)

"""The values that travel between steps: jobs for workers, and what the source step leaves for the others.

A step's results lie in a folder of the cache, named by the hash of all that went into it:

    source-KEY/       source.json, exported/ (what formats read), calibration-I.npy, heldout-I.npy, reference-J.npy,
                      targets.npy; reference.json (what was normal, for drift);
                      sizes-K/ with heldout-I.npy and reference-J.npy at the K-th of `SourceFacts.sizes`
    derive-KEY/       exported/ as another kind, which Source.derive wrote
    lower-KEY/        what Format.lower wrote
    explain-KEY/      explanation.json
    sensitivity-KEY/  sensitivity.json
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.artifact import Budget, Cost
from edgekit.dimensions import Range
from edgekit.recipe import Recipe
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

SOURCE_JSON = "source.json"
EXPORTED = "exported"
COST = "cost.json"
"""In a shared step's folder: what it cost."""
CALIBRATION, HELD_OUT, REFERENCE = "calibration", "heldout", "reference"
SIZES = "sizes"
TARGETS = "targets.npy"
EXPLANATION, SENSITIVITY = "explanation.json", "sensitivity.json"


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker is asked to do: fill the empty folder `work`.

    `source_folder`, `exported_folder`, `lower_folder` and `artifact` are earlier steps' results, where the step needs
    them; `kind` is the kind of export in `exported_folder` (or to derive). `shared` are the costs of earlier steps.
    `log` is where a worker prints that goes on with this step after another one; a new one prints there anyway.
    """

    step: Literal["source", "derive", "lower", "recipe", "explain", "sensitivity"]
    work: str
    model_path: str
    model_name: str
    source: str
    shapes: dict[str, tuple[int | Range, ...]] = {}
    calibration: str | None = None
    recipe: Recipe | None = None
    format: str | None = None
    kind: str = ""
    source_folder: str | None = None
    exported_folder: str | None = None
    lower_folder: str | None = None
    artifact: str | None = None
    source_sha256: str = ""
    trust: bool = False
    max_drop: str | None = None
    budget: Budget | None = None
    shared: dict[str, Cost] = {}
    log: str = ""

    @property
    def reads_export(self) -> str | None:
        """The folder of the export, if the step starts from that rather than from what a format lowered."""
        reads = self.step != "derive" and self.lower_folder in (None, self.exported_folder)
        return self.exported_folder if reads else None


class SourceFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """source.json: what the source step found out.

    `sizes` are the sizes, besides the nominal ones, at which what varies is proven. `drift_reference` is the id of
    the drift reference in `reference.json`, made of `drift_samples`; without one, `no_drift_because` of something.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    held_out: str
    calibration_samples: int
    calibration_sha256: str | None
    metric: str | None
    metric_unit: str
    higher_is_better: bool
    metric_value: float | None
    no_metric_because: str | None
    samples: int
    origin: str
    licence: str
    sizes: tuple[dict[str, int], ...] = ()
    held_out_sha256: str = ""
    drift_reference: str | None = None
    drift_samples: int = 0
    no_drift_because: str | None = None
    labels: dict[str, tuple[str, ...]] = {}


def save_arrays(folder: Path, stem: str, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Writes `STEM-0.npy`, `STEM-1.npy`, … and returns their names."""
    import numpy as np

    names = tuple(f"{stem}-{i}.npy" for i in range(len(arrays)))
    for name, array in zip(names, arrays, strict=True):
        np.save(folder / name, array, allow_pickle=False)
    return names


def load_arrays(folder: Path, stem: str, count: int) -> list[np.ndarray]:
    """Reads what `save_arrays` wrote."""
    import numpy as np

    return [np.load(folder / f"{stem}-{i}.npy", allow_pickle=False) for i in range(count)]


_FACTS = msgspec.json.Decoder(SourceFacts)
"""Made here: msgspec 0.22 crashes when two threads look at a type for the first time at once."""


def read_facts(folder: Path) -> SourceFacts:
    """The source step's source.json."""
    return _FACTS.decode((folder / SOURCE_JSON).read_bytes())

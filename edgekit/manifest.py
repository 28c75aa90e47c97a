"""Manifest: what an artifact is, how good it is and what it was made from; its sha256 is the artifact's id.

It lists every file of payload/ and golden/, and the reference, with its size and sha256, so one hash vouches for all of
them. docs/formats/artifact.md describes every field.
"""

from __future__ import annotations

import msgspec

from edgekit.errors import ArtifactError
from edgekit.files import canonical_json
from edgekit.recipe import Recipe
from edgekit.specs import TensorSpec, is_model_name

SCHEMA = 6
READS = (1, 2, 3, 4, 5, 6)
"""1: without `parity.proved_by`, `provenance.route`, `notes` and `budget`, which a reader takes as empty.
2: nothing varies, so without `varies` of tensors and `sizes` of parity and golden, which are empty likewise.
3: without `provenance.evaluation_sha256`, empty as well.
4: without `reference`, which a reader takes as none.
5: without `labels`, which a reader takes as empty."""
MANIFEST = "manifest.json"


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: path relative to the artifact (with `/`), size, sha256 in hex."""

    path: str
    bytes: int
    sha256: str


class OutputParity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One output against the source's, over the held-out samples (`edgekit.runner.compare`)."""

    output: str
    samples: int
    finite: bool
    exact: bool
    snr_db: float | None
    max_abs_error: float | None
    cosine: float | None
    top1_agreement: float | None


class SizeParity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same at other than the nominal sizes of the dimensions that vary: `sizes` by name, one row an output."""

    sizes: dict[str, int]
    outputs: tuple[OutputParity, ...]


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How closely the artifact computes what its source computes.

    `data` says what was held out; `min_snr_db` is the precision's floor: an artifact below it is not published;
    `proved_by` is what computed the answers: the format's runtime and its version, or what stood in for it. `outputs`
    are at the nominal sizes, `sizes` at others, where dimensions vary; the floor holds at each.
    """

    data: str
    min_snr_db: float
    outputs: tuple[OutputParity, ...]
    proved_by: str = ""
    sizes: tuple[SizeParity, ...] = ()

    @property
    def worst_snr_db(self) -> float | None:
        """The lowest SNR of all outputs at all sizes; None where all are equal to the bit."""
        rows = [*self.outputs, *(output for size in self.sizes for output in size.outputs)]
        return min((o.snr_db for o in rows if o.snr_db is not None), default=None)


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model's own metric for source and artifact on the evaluation data; `None`, `because` of something."""

    metric: str | None
    unit: str
    higher_is_better: bool
    source: float | None
    artifact: float | None
    samples: int
    because: str | None = None

    @property
    def drop(self) -> float | None:
        """How much worse the artifact is than its source, in the metric's unit; negative where it is better."""
        if self.source is None or self.artifact is None:
            return None
        return self.source - self.artifact if self.higher_is_better else self.artifact - self.source


class GoldenSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Golden files at other than the nominal sizes of the dimensions that vary."""

    sizes: dict[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source_outputs: tuple[str, ...]


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Inputs and answers that travel along. A device must answer `outputs` with at least `min_snr_db`, and those of
    `sizes` likewise."""

    samples: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source_outputs: tuple[str, ...]
    min_snr_db: float
    sizes: tuple[GoldenSize, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All of its files, at all sizes."""
        every: tuple[Golden | GoldenSize, ...] = (self, *self.sizes)
        return tuple(name for one in every for name in (*one.inputs, *one.outputs, *one.source_outputs))


class DriftReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was normal, as counts (docs/formats/reference.md): its file, id and number of samples; or none, `because`
    of something."""

    file: str | None
    id: str | None
    samples: int
    because: str | None = None


NO_REFERENCE = DriftReference(None, None, 0, "it was made by an EdgeKit that wrote none")


class Bindings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the payload itself calls the model's inputs and outputs, in the model's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class LayerSensitivity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer: how far the outputs are from the source when this layer alone is quantized. None: no difference."""

    layer: str
    snr_db: float | None


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One attempt to stay inside the budget: a recipe, how many layers it keeps, and what that costs and gives.

    `metric` is None where the attempt failed, `because` of something.
    """

    recipe: str
    kept: int
    payload_bytes: int | None
    snr_db: float | None
    metric: float | None
    drop: float | None
    inside: bool
    because: str = ""


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an accuracy budget was met: the layers by blame, the worst first, and what was tried."""

    max_drop: str
    wanted: str
    layers: tuple[LayerSensitivity, ...]
    trials: tuple[Trial, ...]


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it was made from, and with which tools; `route` is the kind of export that the format read.

    `evaluation_sha256` is over what was held out and the metric's targets, as `edgekit evaluate` computes it again.
    """

    source_kind: str
    source_sha256: str
    calibration_sha256: str | None
    calibration_samples: int
    tools: dict[str, str]
    origin: str = ""
    licence: str = ""
    route: str = ""
    evaluation_sha256: str = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything there is to know of an artifact. `labels` name the entries of an output's last axis, by output."""

    model: str
    recipe: Recipe
    runtime: str
    payload: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    bindings: Bindings
    stored_dtypes: dict[str, int]
    files: tuple[FileEntry, ...]
    parity: Parity
    accuracy: Accuracy
    golden: Golden
    provenance: Provenance
    notes: tuple[str, ...] = ()
    budget: Budget | None = None
    reference: DriftReference = NO_REFERENCE
    labels: dict[str, tuple[str, ...]] = {}
    schema: int = SCHEMA

    @property
    def payload_bytes(self) -> int:
        """Size of all payload files."""
        return sum(file.bytes for file in self.files if file.path.startswith("payload/"))

    def encode(self) -> bytes:
        """The bytes of manifest.json, always the same for equal manifests."""
        return canonical_json(msgspec.to_builtins(self)) + b"\n"


_MANIFEST = msgspec.json.Decoder(Manifest)
"""Made here, not at the first use: two threads that make msgspec look at a type at once crash it."""


def read_manifest(content: bytes, *, where: str) -> Manifest:
    """Decodes and validates a manifest; `where` names it in an error.

    Raises:
        ArtifactError: no manifest, one of another schema, or one whose names leave the artifact.
    """
    try:
        schema = msgspec.json.decode(content, type=dict).get("schema")
        if schema not in READS:
            raise ArtifactError(
                f"{where} has schema {schema}.",
                remedy=f"This version of EdgeKit reads schemas {', '.join(map(str, READS))}: upgrade it, or convert "
                "the model again.",
            )
        manifest = _MANIFEST.decode(content)
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"{where} is not a manifest: {error}.", remedy="Convert the model again.") from error
    _refuse_strange_names(manifest, where)
    return manifest


def _refuse_strange_names(manifest: Manifest, where: str) -> None:
    """An artifact may come from anybody, and its names become paths, here and on devices."""
    remedy = "Do not use it."
    if not is_model_name(manifest.model):
        raise ArtifactError(
            f"{where} names the model {manifest.model!r}, which is no name for a folder.", remedy=remedy
        )
    drift = manifest.reference.file
    used = (manifest.payload, *manifest.golden.files, *(() if drift is None else (drift,)))
    listed = [file.path for file in manifest.files]
    for path in (*listed, *used):
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise ArtifactError(f"{where} names the file {path!r}, outside of the artifact.", remedy=remedy)
    for path in used:  # a payload may be a folder
        if path not in listed and not any(entry.startswith(f"{path}/") for entry in listed):
            raise ArtifactError(f"{where} uses the file {path!r}, which it does not list.", remedy=remedy)

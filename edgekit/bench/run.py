"""Run: everything that one benchmark recorded, and its file.

One immutable JSON file a run, `bench_results/TARGET/TIME-MODEL-RECIPE-ID.json`, with the raw samples in ns. The fields
are described in docs/formats/run.md. Nothing is ever parsed out of the file's name. Files of older schemas are read.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import msgspec

from edgekit.artifact import Accuracy, OutputParity
from edgekit.bench.delegation import Delegation
from edgekit.bench.energy import Energy
from edgekit.bench.facts import Facts
from edgekit.bench.guards import Guard
from edgekit.bench.profile import Profile
from edgekit.bench.samples import Samples, pack
from edgekit.bench.statistics import Summary
from edgekit.bench.sustained import Sustained
from edgekit.errors import ArtifactError
from edgekit.files import write_file
from edgekit.recipe import Recipe

__all__ = ["Block", "Context", "Facts", "GivenUp", "Run", "decode_run", "new_run_id", "read_run", "write_run"]

SCHEMA = 5


class PageMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page takes by the browser's count: after sampling, and before the model was loaded.

    wasm_bytes: the wasm's memory after sampling, which is reserved ahead and only ever grows. Chromium counts it as the
    page's only where it is shared between threads. because: why the browser did not count.
    """

    bytes: int | None
    before_load_bytes: int | None
    wasm_bytes: int | None
    because: str | None = None


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fresh process on the device. Times in ns.

    invokes_per_sample: a clock that is coarse times so many in a row, and a sample is their mean.
    page_memory: a browser's, of whose processes none is counted.
    guard: what the host saw around it. attempts: how often it was measured until nothing disturbed it.
    disturbed: what did, in a block that counts for nothing; empty in those that count.
    turns: how many samples each turn has, of a process that took turns with another one's (`edgekit.bench.turns`).
    """

    init_ns: int
    first_ns: int
    input_ns: int
    output_ns: int
    golden: tuple[OutputParity, ...]
    warmup: Samples
    steady: bool
    samples: Samples
    stop: str
    median_half_width: float | None
    peak_rss_bytes: int | None
    before_load_bytes: int | None
    before: Facts
    after: Facts
    guard: Guard | None = None
    delegation: Delegation | None = None
    energy: Energy | None = None
    attempts: int = 1
    disturbed: str = ""
    invokes_per_sample: int = 1
    page_memory: PageMemory | None = None
    turns: tuple[int, ...] = ()

    @property
    def median_ns(self) -> float:
        """The median of its samples, by which it counts in a comparison; 0 of none, which no comparison takes."""
        return self.samples.median_ns or 0.0

    @property
    def model_rss_bytes(self) -> int | None:
        """Peak memory less the same process's before loading the model."""
        if self.peak_rss_bytes is None or self.before_load_bytes is None:
            return None
        return self.peak_rss_bytes - self.before_load_bytes


class GivenUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A block that counts for nothing: its number from 0, how often it was tried, why it was given up.

    block: the last attempt's figures; None if the device never came within its limits.
    """

    number: int
    attempts: int
    because: str
    block: Block | None = None


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be equal for two runs to be comparable. `runner` is `python`, `native` or `browser`.

    delegate: what the runtime was asked to execute with; None: its own choice.
    """

    target: str
    transport: str
    runtime: str
    package: str
    version: str | None
    threads: int
    runner_sha256: str
    execution: str = "process"
    runner: str = "python"
    delegate: str | None = None


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One benchmark of one artifact on one target.

    given_up: blocks that no statistic counts. sustained, profile: extra runs, if they were asked for.
    shipped_bytes: the payload as it travels, compressed.
    """

    id: str
    started_at: str
    artifact: str
    model: str
    recipe: Recipe
    payload_bytes: int
    context: Context
    blocks: tuple[Block, ...]
    summary: Summary
    accuracy: Accuracy | None = None
    given_up: tuple[GivenUp, ...] = ()
    sustained: Sustained | None = None
    profile: Profile | None = None
    shipped_bytes: int | None = None
    schema: int = SCHEMA

    @property
    def steady(self) -> bool:
        """Whether every block reached a steady state; if not, the run is no ground for a verdict."""
        return all(block.steady for block in self.blocks)

    @property
    def worst_golden_snr_db(self) -> float | None:
        """Device against host on the golden inputs: the lowest SNR; None where all answers are equal to the bit."""
        found = [output.snr_db for block in self.blocks for output in block.golden if output.snr_db is not None]
        return min(found, default=None)

    @property
    def delegation(self) -> Delegation | None:
        """What executed the model, in the last block; None of an old file."""
        return self.blocks[-1].delegation if self.blocks else None


_RUN = msgspec.json.Decoder(Run)
"""Made here, with all that is in a run, not at the first use: devices are measured in threads, and two of them that
make msgspec look at a type at once crash it."""


def new_run_id() -> str:
    """Random, 12 hex digits."""
    return secrets.token_hex(6)


def write_run(run: Run, folder: Path) -> Path:
    """Writes the run under `folder/TARGET/` and returns its file.

    Raises:
        StorageError: it cannot be written; then nothing is.
    """
    stamp = run.started_at.replace("-", "").replace(":", "")
    path = folder / run.context.target / f"{stamp}-{run.model}-{run.recipe.slug}-{run.id[:6]}.json"
    write_file(path, msgspec.json.encode(run) + b"\n")
    return path


def read_run(path: Path) -> Run:
    """Reads a run's file.

    Raises:
        ArtifactError: it is none, or of another schema.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _no_run(path, error) from error
    return decode_run(content, str(path))


def decode_run(content: bytes, name: str) -> Run:
    """Reads a run from its file's content; `name` is told in errors.

    Raises:
        ArtifactError: it is none, or of another schema.
    """
    try:
        schema = msgspec.json.decode(content, type=_Head).schema
        if schema == SCHEMA:
            return _RUN.decode(content)
        if schema in (2, 3, 4):  # everything that is new has a default
            return msgspec.structs.replace(_RUN.decode(content), schema=SCHEMA)
        if schema == 1:
            return msgspec.convert(_from_schema_1(msgspec.json.decode(content)), Run)
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        raise _no_run(name, error) from error
    raise ArtifactError(f"{name} has schema {schema}.", remedy=f"This version reads schemas 1 to {SCHEMA}.")


def _from_schema_1(run: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 had samples as lists, and neither accuracy nor the kind of runner."""
    for block in run["blocks"]:
        for old, new in (("warmup_ns", "warmup"), ("samples_ns", "samples")):
            block[new] = msgspec.to_builtins(pack(block.pop(old)))
    return {**run, "schema": SCHEMA}


class _Head(msgspec.Struct):
    """What is read before the rest: a file with a million samples is parsed once."""

    schema: int | None = None


def _no_run(name: Path | str, error: Exception) -> ArtifactError:
    return ArtifactError(f"{name} is not a run: {error}.", remedy="Give a file that `edgekit bench` wrote.")

"""A run's file: written whole, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekit.artifact import OutputParity
from edgekit.bench.run import Block, Context, Facts, Run, new_run_id, read_run, write_run
from edgekit.bench.samples import pack
from edgekit.bench.statistics import summarise
from edgekit.errors import ArtifactError, StorageError
from edgekit.recipe import Recipe


def block(**changes: Any) -> Block:
    samples = (5, 6, 7)
    answer = OutputParity(
        "y", 8, finite=True, exact=False, snr_db=71.5, max_abs_error=0.1, cosine=1.0, top1_agreement=None
    )
    made = Block(
        init_ns=1, first_ns=2, input_ns=3, output_ns=4, golden=(answer,), warmup=pack((9, 8)), steady=True,
        samples=pack(samples), stop="precise", median_half_width=0.01, peak_rss_bytes=100, before_load_bytes=60,
        before=Facts({"cores": 2, "governor": None}, {"governor": "no cpufreq in sysfs"}), after=Facts({}, {}),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def run(*blocks: Block) -> Run:
    return Run(
        id=new_run_id(),
        started_at="2026-11-24T16:00:00Z",
        artifact="ab" * 32,
        model="digits_cnn",
        recipe=Recipe("tflite", "int8"),
        payload_bytes=46_200,
        context=Context("board", "ssh", "litert", "ai_edge_litert", "2.1.0", 1, "cd" * 32),
        blocks=blocks,
        summary=summarise([s for b in blocks for s in b.samples.unpack().tolist()]),
    )


def test_round_trip(tmp_path: Path) -> None:
    written = run(block(), block(steady=False))
    path = write_run(written, tmp_path)
    assert path.parent == tmp_path / "board"
    assert read_run(path) == written
    assert list(path.parent.iterdir()) == [path]


def test_what_a_run_concludes_from_its_blocks() -> None:
    assert run(block(), block()).steady
    assert not run(block(), block(steady=False)).steady
    worse = msgspec.structs.replace(block().golden[0], snr_db=30.0)
    assert run(block(), block(golden=(worse,))).worst_golden_snr_db == 30.0
    assert run(block(golden=())).worst_golden_snr_db is None
    assert block().model_rss_bytes == 40
    assert block(peak_rss_bytes=None).model_rss_bytes is None


def damaged(path: Path, change: str) -> bytes:
    content = json.loads(path.read_bytes())
    if change == "schema":
        content["schema"] = 99
    elif change == "no schema":
        del content["schema"]
    elif change == "unknown field":
        content["blocks"][0]["mean_ns"] = 3
    elif change == "missing field":
        del content["artifact"]
    elif change == "wrong type":
        content["blocks"][0]["samples"]["n"] = "fast"
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("schema", "schema 99"),
        ("no schema", "schema None"),
        ("unknown field", "mean_ns"),
        ("missing field", "artifact"),
        ("wrong type", "samples.n"),
    ],
)
def test_what_is_not_a_run_is_refused(tmp_path: Path, change: str, says: str) -> None:
    path = write_run(run(block()), tmp_path)
    path.write_bytes(damaged(path, change))
    with pytest.raises(ArtifactError, match=says):
        read_run(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"schema":1', b"null"])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ArtifactError):
        read_run(tmp_path / "x.json")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "board").write_text("")
    with pytest.raises(StorageError, match="board"):
        write_run(run(block()), tmp_path)


def test_ids_are_told_apart() -> None:
    assert len({new_run_id() for _ in range(100)}) == 100


def test_a_file_of_schema_1_is_read(tmp_path: Path) -> None:
    written = run(block(), block(steady=False))
    path = write_run(written, tmp_path)
    old = json.loads(path.read_bytes())
    old["schema"] = 1
    del old["accuracy"], old["context"]["runner"]
    for one in old["blocks"]:
        del one["warmup"], one["samples"]
        one["warmup_ns"], one["samples_ns"] = [9, 8], [5, 6, 7]
    path.write_text(json.dumps(old))
    assert read_run(path) == written
    del old["blocks"][0]["samples_ns"]
    path.write_text(json.dumps(old))
    with pytest.raises(ArtifactError, match="is not a run"):
        read_run(path)


def test_a_file_of_schema_2_is_read(tmp_path: Path) -> None:
    written = run(block(), block(steady=False))
    path = write_run(written, tmp_path)
    old = json.loads(path.read_bytes())
    old["schema"] = 2
    for name in ("given_up", "sustained", "profile", "shipped_bytes"):
        del old[name]
    del old["context"]["delegate"]
    for one in old["blocks"]:
        for name in ("guard", "delegation", "energy", "attempts", "disturbed"):
            del one[name]
    path.write_text(json.dumps(old))
    assert read_run(path) == written
    old["blocks"][0]["temperature"] = 3
    path.write_text(json.dumps(old))
    with pytest.raises(ArtifactError, match="temperature"):
        read_run(path)

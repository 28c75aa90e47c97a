"""Artifacts: opened strictly, believed only after their files were hashed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.artifact import Accuracy, Artifact, OutputParity, Parity, check_files, open_artifact, read_manifest
from edgekit.errors import EXIT_FAILED_CHECK, ArtifactError, CorruptArtifactError

Make = Callable[..., Artifact]


def test_round_trip(tiny_artifact: Artifact) -> None:
    opened = open_artifact(tiny_artifact.path)
    assert opened == tiny_artifact
    assert opened.id == hashlib.sha256((opened.path / "manifest.json").read_bytes()).hexdigest()
    assert read_manifest(opened.manifest.encode(), where="x") == opened.manifest
    check_files(opened)
    assert opened.shipped_files()[0].path == "manifest.json"
    assert opened.title == "tiny tflite:int8"


def test_a_link_opens_what_it_points_to(tiny_artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tiny_artifact.path)
    assert open_artifact(tmp_path / "link").path == tiny_artifact.path


def damage(path: Path, how: str) -> None:
    file = path / "payload" / "model.tflite"
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(content[:-1])
    elif how == "one bit":
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "a folder":
        file.unlink()
        file.mkdir()
    elif how == "golden":
        (path / "golden" / "output-0.npy").write_bytes(b"OUT")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "is missing"),
        ("truncated", "6999 bytes instead of 7000"),
        ("one bit", "differs from its sha256"),
        ("empty", "0 bytes instead of"),
        ("a folder", "is missing"),
        ("golden", "output-0.npy.*differs"),
    ],
)
def test_damage_is_found(make_artifact: Make, how: str, says: str) -> None:
    artifact = make_artifact()
    damage(artifact.path, how)
    with pytest.raises(CorruptArtifactError, match=says) as failure:
        check_files(open_artifact(artifact.path))
    assert failure.value.exit_status == EXIT_FAILED_CHECK


def test_another_manifest_under_the_name_of_the_first(make_artifact: Make) -> None:
    """Consistent in itself, but not what was published under this id."""
    first, second = make_artifact(), make_artifact(payload=b"other")
    shutil.rmtree(first.path)
    shutil.copytree(second.path, first.path)
    with pytest.raises(CorruptArtifactError, match="not the one it was published with"):
        check_files(open_artifact(first.path))


def changed(artifact: Artifact, change: Callable[[dict[str, Any]], None]) -> bytes:
    content = json.loads(artifact.manifest.encode())
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "payload/../../secret", "a\0b", ".."])
@pytest.mark.parametrize("where", ["files", "payload", "golden"])
def test_paths_that_leave_the_artifact(make_artifact: Make, path: str, where: str) -> None:
    def change(manifest: dict[str, Any]) -> None:
        if where == "files":
            manifest["files"][0]["path"] = path
        elif where == "payload":
            manifest["payload"] = path
        else:
            manifest["golden"]["inputs"] = [path]

    with pytest.raises(ArtifactError, match="outside of the artifact"):
        read_manifest(changed(make_artifact(), change), where="it")


@pytest.mark.parametrize("name", ["../../.ssh", "a/b", "", ".store"])
def test_a_model_name_that_leaves_the_folder(make_artifact: Make, name: str) -> None:
    with pytest.raises(ArtifactError, match="no name for a folder"):
        read_manifest(changed(make_artifact(), lambda m: m.update(model=name)), where="it")


def test_the_first_schema_is_read(make_artifact: Make) -> None:
    """What schemas 2 and 3 added is taken as empty."""

    def change(manifest: dict[str, Any]) -> None:
        without_sizes(manifest)
        manifest["schema"] = 1
        for name in ("notes", "budget"):
            manifest.pop(name)
        manifest["parity"].pop("proved_by")
        manifest["provenance"].pop("route")

    old = read_manifest(changed(make_artifact(), change), where="it")
    assert (old.notes, old.budget, old.parity.proved_by, old.provenance.route) == ((), None, "", "")


def without_sizes(manifest: dict[str, Any]) -> None:
    """As schema 2 had it."""
    without_reference(manifest)
    manifest["schema"] = 2
    for tensor in (*manifest["inputs"], *manifest["outputs"]):
        tensor.pop("varies")
    manifest["parity"].pop("sizes")
    manifest["golden"].pop("sizes")


def without_labels(manifest: dict[str, Any]) -> None:
    """As schema 5 had it."""
    manifest["schema"] = 5
    manifest.pop("labels")


def test_the_fifth_schema_is_read(make_artifact: Make) -> None:
    """What schema 6 added is taken as empty."""
    old = read_manifest(changed(make_artifact(), without_labels), where="it")
    assert (old.schema, old.labels) == (5, {})


def without_reference(manifest: dict[str, Any]) -> None:
    """As schema 4 had it."""
    without_labels(manifest)
    manifest["schema"] = 4
    manifest.pop("reference")


def test_the_fourth_schema_is_read(make_artifact: Make) -> None:
    """What schema 5 added is taken as none, and says why."""
    old = read_manifest(changed(make_artifact(), without_reference), where="it")
    assert (old.schema, old.reference.file) == (4, None)
    assert "wrote none" in str(old.reference.because)


def test_the_second_schema_is_read(make_artifact: Make) -> None:
    """What schema 3 added is taken as empty: nothing varies."""
    old = read_manifest(changed(make_artifact(), without_sizes), where="it")
    assert (old.schema, old.golden.sizes, old.parity.sizes) == (2, (), ())
    assert not any(spec.varies for spec in (*old.inputs, *old.outputs))


def test_golden_files_of_other_sizes_are_listed_too(make_artifact: Make) -> None:
    def change(manifest: dict[str, Any], file: str) -> None:
        size = {"sizes": {"length": 8}, "inputs": [file], "outputs": [], "source_outputs": []}
        manifest["golden"]["sizes"] = [size]

    listed = make_artifact().manifest.golden.inputs[0]
    read_manifest(changed(make_artifact(), lambda m: change(m, listed)), where="it")
    for file, says in (("golden/size-0/input-0.npy", "does not list"), ("../x.npy", "outside of the artifact")):
        with pytest.raises(ArtifactError, match=says):
            read_manifest(changed(make_artifact(), lambda m, f=file: change(m, f)), where="it")


def test_files_in_use_are_listed(make_artifact: Make) -> None:
    """Else nothing would vouch for their content."""
    with pytest.raises(ArtifactError, match="does not list"):
        read_manifest(changed(make_artifact(), lambda m: m.update(payload="payload/other")), where="it")
    read_manifest(changed(make_artifact(), lambda m: m.update(payload="payload")), where="it")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(schema=7), "schema 7.*upgrade"),
        (lambda m: m.pop("schema"), "schema None"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m.pop("golden"), "golden"),
        (lambda m: m.update(files="all"), "files"),
    ],
)
def test_manifests_of_another_form(make_artifact: Make, change: Callable[[dict[str, Any]], None], says: str) -> None:
    with pytest.raises(ArtifactError, match=says):
        read_manifest(changed(make_artifact(), change), where="it")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_what_is_no_manifest(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="is not a manifest"):
        read_manifest(content, where="it")


def test_a_folder_above_is_told_where_to_look(tiny_artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"Did you mean .*artifacts/[0-9a-f]{64}"):
        open_artifact(tiny_artifact.path.parent)
    with pytest.raises(ArtifactError, match="edgekit convert"):
        open_artifact(tmp_path / "nowhere")


def parity_of(*snrs: float | None) -> Parity:
    outputs = tuple(OutputParity(str(i), 1, True, snr is None, snr, 0.0, 1.0, None) for i, snr in enumerate(snrs))
    return Parity("held out", 6.0, outputs)


def test_the_worst_output_counts() -> None:
    assert parity_of(40.0, None, 30.0).worst_snr_db == 30.0
    assert parity_of(None).worst_snr_db is None


@pytest.mark.parametrize(("higher", "drop"), [(True, 0.1), (False, -0.1)])
def test_a_drop_is_a_loss_whichever_way_the_metric_points(*, higher: bool, drop: float) -> None:
    assert Accuracy("m", "", higher, 0.9, 0.8, 10).drop == pytest.approx(drop)
    assert Accuracy(None, "", higher, None, None, 0, "why").drop is None

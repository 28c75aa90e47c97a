"""The values between the stages: specs, recipes, artifacts, runs; and files written whole or not at all."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.artifact import MANIFEST, Artifact, check_files, open_artifact
from edgekit.errors import ArtifactError, CorruptArtifactError, DataError, EdgeKitError, RecipeError
from edgekit.files import canonical_json, digest_of_tree, point_to, publishing_folder, write_file
from edgekit.recipe import Recipe, parse_recipe
from edgekit.specs import TensorSpec, stack_all, stack_samples


@given(st.lists(st.integers(1, 4), max_size=3), st.integers(1, 5))
def test_samples_come_with_or_without_the_batch_axis(rest: list[int], n: int) -> None:
    spec = TensorSpec("x", (1, *rest))
    whole = np.zeros((n, 1, *rest), "float32")
    assert stack_samples(spec, whole, what="data").shape == (n, 1, *rest)
    assert stack_samples(spec, whole[:, 0], what="data").shape == (n, 1, *rest)


def test_inputs_must_be_named_and_aligned() -> None:
    specs = [TensorSpec("a", (1, 2)), TensorSpec("b", (1, 3))]
    a, b = np.zeros((4, 2), "float32"), np.zeros((4, 3), "float32")
    assert list(stack_all(specs, {"b": b, "a": a}, what="data")) == ["a", "b"]
    with pytest.raises(DataError, match="a, c.*inputs are a, b"):
        stack_all(specs, {"a": a, "c": b}, what="data")
    with pytest.raises(DataError, match="a: 4, b: 3"):
        stack_all(specs, {"a": a, "b": b[:3]}, what="data")


@pytest.mark.parametrize("text", ["tflite:int8", "tvm:float32@aarch64-linux-gnu"])
def test_a_recipe_reads_as_it_is_written(text: str) -> None:
    assert str(parse_recipe(text)) == text


@pytest.mark.parametrize("text", ["tflite", "tflite:", ":int8", "tflite:int8@", "a b:c", "../x:int8", ""])
def test_what_is_no_recipe(text: str) -> None:
    with pytest.raises(RecipeError, match="not a recipe"):
        parse_recipe(text)


def test_recipe_files(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('format = "tflite"\nprecision = "int8"\n')
    assert parse_recipe(str(tmp_path / "r.toml")) == Recipe("tflite", "int8")
    (tmp_path / "r.json").write_text('{"format": "tflite", "precision": "int8", "precison": 1}')
    with pytest.raises(RecipeError, match="precison"):
        parse_recipe(str(tmp_path / "r.json"))
    with pytest.raises(RecipeError, match="no recipe file"):
        parse_recipe(str(tmp_path / "none.toml"))


def rewrite(artifact: Artifact, **fields: object) -> Path:
    manifest = artifact.path / MANIFEST
    manifest.chmod(0o644)
    manifest.write_bytes(canonical_json({**json.loads(manifest.read_bytes()), **fields}))
    return artifact.path


def test_an_artifact_is_checked_to_the_last_byte(tiny_artifact: Artifact) -> None:
    check_files(open_artifact(tiny_artifact.path))
    for entry in tiny_artifact.manifest.files:
        file = tiny_artifact.path / entry.path
        content = file.read_bytes()
        file.chmod(0o644)
        for damage in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
            file.write_bytes(damage)
            with pytest.raises(CorruptArtifactError, match=re.escape(entry.path)):
                check_files(tiny_artifact)
        file.unlink()
        with pytest.raises(CorruptArtifactError, match="is missing"):
            check_files(tiny_artifact)
        file.write_bytes(content)
    check_files(tiny_artifact)


@pytest.mark.parametrize("payload", ["../../etc/passwd", "/etc/passwd", "payload/../../x"])
def test_a_manifest_cannot_lead_outside(tiny_artifact: Artifact, payload: str) -> None:
    with pytest.raises(ArtifactError, match="outside of the artifact"):
        open_artifact(rewrite(tiny_artifact, payload=payload))


def test_other_schemas_and_unknown_fields_are_refused(tiny_artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="schema 99"):
        open_artifact(rewrite(tiny_artifact, schema=99))
    with pytest.raises(ArtifactError, match="surprise"):
        open_artifact(rewrite(tiny_artifact, schema=1, surprise=True))


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_file(file, b"old")
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from edgekit import files
        files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        files.write_file(Path({str(file)!r}), b"new" * 100000)
    """)
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    write_file(file, b"new")
    assert file.read_bytes() == b"new"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill() -> None:
        with publishing_folder(tmp_path / "folder") as folder:
            (folder / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert list(tmp_path.iterdir()) == []
    with publishing_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / "folder" / "a").stat().st_mode & 0o222 == 0, "published files are read-only"


def test_a_link_moves_in_one_step_and_replaces_nothing_else(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point_to(tmp_path / "link", tmp_path / name)
        assert (tmp_path / "link").readlink() == Path(name)
    (tmp_path / "real").mkdir()
    with pytest.raises(EdgeKitError, match="is in the way"):
        point_to(tmp_path / "real", tmp_path / "one")


def test_a_tree_is_its_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a").write_text("1")
    first = digest_of_tree([tmp_path / "t"])
    (tmp_path / "t" / ".hidden").write_text("x")
    assert digest_of_tree([tmp_path / "t"]) == first
    (tmp_path / "t" / "a").rename(tmp_path / "t" / "b")
    assert digest_of_tree([tmp_path / "t"]) != first

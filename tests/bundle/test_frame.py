"""What holds for bundles of every kind: what is refused, how they are written, what bundle.json says."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit import plugins
from edgekit.artifact import Artifact, Bindings, open_artifact
from edgekit.bundle import Request, read_bundle, write_bundle
from edgekit.errors import BundleError, CorruptArtifactError, PluginError, StorageError
from edgekit.recipe import Recipe
from edgekit.specs import Dim, Quantization, TensorSpec
from tests import machine

if TYPE_CHECKING:
    from collections.abc import Callable


class Plain:
    """A kind that holds one TFLite artifact, and makes the files that a test tells it to."""

    formats = ("tflite",)
    variants = False
    varying = False
    made: dict[str, bytes | str | Path] | Exception

    def files(self, request: Request) -> dict[str, bytes | str | Path]:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> type[Plain]:
    """`Plain`, registered as the kind `plain`."""
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: Plain if name == "plain" else load(kind, name))
    Plain.made = {"a.txt": "text\n", "b/c.bin": b"\0"}
    return Plain


TAKES_TFLITE = [name for name in plugins.names("bundle") if "tflite" in plugins.load("bundle", name).formats]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TAKES_TFLITE)
def test_every_kind_lists_its_files_by_their_sha256(kind: str, float32: Artifact, tmp_path: Path) -> None:
    made = write_bundle([float32], kind, tmp_path / "out")
    assert read_bundle(tmp_path / "out") == made
    assert [(one.id, one.role) for one in made.artifacts] == [(float32.id, "only")]
    there = {file for file in (tmp_path / "out").rglob("*") if file.is_file()} - {tmp_path / "out" / "bundle.json"}
    listed = {tmp_path / "out" / file.path: file.sha256 for file in made.files}
    assert listed == {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in there}
    assert made.generator.startswith("edgekit ")
    payload = (float32.path / float32.manifest.payload).read_bytes()
    assert any(payload in file.read_bytes() for file in there), "the model itself is in it, to the bit"


@pytest.mark.slow
@pytest.mark.parametrize("kind", TAKES_TFLITE)
def test_every_kind_gives_equal_bytes_for_equal_artifacts(kind: str, int8: Artifact, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_bundle([int8], kind, tmp_path / name)
    assert (tmp_path / "one/bundle.json").read_bytes() == (tmp_path / "two/bundle.json").read_bytes()


def test_what_is_there_stays(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(BundleError, match="there already.*Name another folder"):
        write_bundle([tiny_artifact], "plain", out)
    assert [file.name for file in out.iterdir()] == ["mine"]
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="there already"):
        write_bundle([tiny_artifact], "plain", dangling)


def test_what_appears_while_it_is_made_stays(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path) -> None:
    """The rename, and not the look before it, is what decides."""
    out = tmp_path / "out"

    def files(self: Plain, request: Request) -> dict[str, bytes | str | Path]:
        out.mkdir()
        (out / "mine").write_text("mine")
        return {"a": "a"}

    with pytest.MonkeyPatch.context() as patch, pytest.raises(BundleError, match="there already"):
        patch.setattr(Plain, "files", files)
        write_bundle([tiny_artifact], "plain", out)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".tmp-")] == []
    assert [file.name for file in out.iterdir()] == ["mine"]


def test_a_full_disk_leaves_nothing(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path) -> None:
    plain.made = {"large": b"x" * (2 << 20)}
    with machine.small_disk(tmp_path / "disk", "1m"):
        with pytest.raises(StorageError, match="No space"):
            write_bundle([tiny_artifact], "plain", tmp_path / "disk" / "out")
        assert list((tmp_path / "disk").iterdir()) == []


def test_a_file_in_the_place_of_a_folder(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_bundle([tiny_artifact], "plain", tmp_path / "file" / "out")


def test_an_unknown_kind_lists_the_known(tiny_artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"no bundle 'fridge'.*python"):
        write_bundle([tiny_artifact], "fridge", tmp_path / "out")


def test_one_model_a_bundle(plain: type[Plain], make_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    both = [make_artifact(model="first"), make_artifact(model="second")]
    with pytest.raises(BundleError, match=r"these artifacts are of 2: first, second\. Make one bundle for each"):
        write_bundle(both, "plain", tmp_path / "out")


def test_a_kind_without_variants(plain: type[Plain], make_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    both = [make_artifact(), make_artifact(payload=b"other")]
    with pytest.raises(BundleError, match="for plain holds one artifact, not 2"):
        write_bundle(both, "plain", tmp_path / "out")


def test_an_artifact_twice(tiny_artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="named twice"):
        write_bundle([tiny_artifact, tiny_artifact], "python", tmp_path / "out")


def test_a_format_that_the_kind_cannot_hold(
    plain: type[Plain], altered: Callable[..., Artifact], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="plain cannot hold tiny tvm:float32@x86_64: it holds tflite"):
        write_bundle([altered(recipe=Recipe("tvm", "float32", "x86_64"))], "plain", tmp_path / "out")


def test_sizes_that_vary(plain: type[Plain], altered: Callable[..., Artifact], tmp_path: Path) -> None:
    varying = altered(inputs=(TensorSpec("tokens", (1, Dim("length", 8, 128, 32)), "int64"),))
    with pytest.raises(BundleError, match=r"fixed sizes only.*'tokens' as int64\[1, length 8\.\.128\]"):
        write_bundle([varying], "plain", tmp_path / "out")


def test_variants_with_other_ends(altered: Callable[..., Artifact], make_artifact: Callable[..., Artifact]) -> None:
    """Quantized ends are the same interface; another shape is another one."""
    one = make_artifact()
    ends = TensorSpec("x", (1, 5), "int8", quantization=Quantization((0.5,), (0,)))
    other = altered(make_artifact(payload=b"other"), inputs=(ends,))
    with pytest.raises(BundleError, match=r"cannot be variants.*x float32\[1, 4\].*x float32\[1, 5\]"):
        write_bundle([one, other], "python", Path("never"))


def test_two_inputs_of_one_name(plain: type[Plain], altered: Callable[..., Artifact], tmp_path: Path) -> None:
    twice = altered(inputs=(TensorSpec("x", (1, 4)), TensorSpec("x", (1, 4))), bindings=Bindings(("a", "b"), ("x",)))
    with pytest.raises(BundleError, match="inputs of the same name"):
        write_bundle([twice], "plain", tmp_path / "out")


@pytest.mark.parametrize("name", ["", "../up", "a b", "a\nb", "-rf", "é"])
def test_a_name_that_is_none(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="no name for a bundle"):
        write_bundle([tiny_artifact], "plain", tmp_path / "out", name)


def test_a_damaged_artifact(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path) -> None:
    (tiny_artifact.path / "payload/model.tflite").write_bytes(b"shorter")
    with pytest.raises(CorruptArtifactError, match="has 7 bytes"):
        write_bundle([tiny_artifact], "plain", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "", "bundle.json", "a\\b"])
def test_a_kind_that_writes_elsewhere(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path, path: str) -> None:
    plain.made = {path: "x"}
    with pytest.raises(BundleError, match="makes a file"):
        write_bundle([tiny_artifact], "plain", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_kind_that_fails(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path) -> None:
    plain.made = ZeroDivisionError("division by zero")
    with pytest.raises(BundleError, match="kind plain failed on tiny tflite:int8: ZeroDivisionError"):
        write_bundle([tiny_artifact], "plain", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is no bundle document"),
        (b'{"schema":9}', "has schema 9; this version reads 1, 2"),
        (None, "is no bundle"),
    ],
)
def test_what_is_no_bundle(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=says):
        read_bundle(tmp_path)


@pytest.mark.slow
def test_the_command(int8: Artifact, float32: Artifact, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "edgekit", "bundle"]
    arguments = [str(int8.path), str(float32.path), "--for", "python", "--out", "out", "--name", "reader", "--json"]
    done = subprocess.run([*run, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [one["role"] for one in said["bundle"]["artifacts"]] == ["preferred", "fallback"]
    assert (tmp_path / "out" / "reader" / "__init__.py").is_file()
    again = subprocess.run([*run, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 1
    assert "there already" in json.loads(again.stdout)["what"]


@pytest.mark.slow
def test_the_artifact_need_not_stay(float32: Artifact, tmp_path: Path) -> None:
    """A bundle is copies, no links."""
    shutil.copytree(float32.path, tmp_path / "copy")
    write_bundle([open_artifact(tmp_path / "copy")], "python", tmp_path / "out")
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_symlink()]


def test_options_are_the_kinds_own_and_are_told(
    plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleError, match="plain has no option 'a'. It has none"):
        write_bundle([tiny_artifact], "plain", tmp_path / "out", options={"a": "b"})
    monkeypatch.setattr(Plain, "options", {"one": "is one", "more.": "begins a family"}, raising=False)
    for wrong in ("more", "ones", ""):
        with pytest.raises(BundleError, match=r"no option .*one: is one; more\.: begins a family"):
            write_bundle([tiny_artifact], "plain", tmp_path / "out", options={wrong: "b"})
    made = write_bundle([tiny_artifact], "plain", tmp_path / "out", options={"more.x=y": "b", "one": ""})
    assert made.options == {"more.x=y": "b", "one": ""}
    assert read_bundle(tmp_path / "out") == made


def test_the_first_schema_is_read(plain: type[Plain], tiny_artifact: Artifact, tmp_path: Path) -> None:
    write_bundle([tiny_artifact], "plain", tmp_path / "out")
    file = tmp_path / "out/bundle.json"
    document = json.loads(file.read_text())
    document.pop("options")
    file.write_text(json.dumps({**document, "schema": 1}))
    assert (read_bundle(tmp_path / "out").schema, read_bundle(tmp_path / "out").options) == (1, {})

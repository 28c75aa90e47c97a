"""The program as a whole: what it imports, how it says no, what --json promises."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgekit.cli import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

HEAVY = ("torch", "tensorflow", "numpy", "scipy", "paramiko", "rich", "msgspec", "litert_torch", "coremltools", "tvm")


def test_help_imports_no_heavy_package() -> None:
    code = (
        "import sys\nsys.argv = ['edgekit', '--help']\nfrom edgekit.cli import main\n"
        f"try: main()\nexcept SystemExit: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"
    assert "convert" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_takes_json(edgekit: Callable[..., Answer], command: str) -> None:
    answer = edgekit(command, "--help")
    assert answer.code == 0
    assert "--json" in answer.out


def test_an_unknown_command_is_wrong_usage_and_names_the_nearest(edgekit: Callable[..., Answer]) -> None:
    answer = edgekit("convrt")
    assert answer.code == 2
    assert "'convert'" in answer.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("convert", "digit_cnn", "--to", "tflite:int8"), "Did you mean models/digits_cnn?"),
        (
            ("convert", "digits_cnn", "--to", "tflite:int9"),
            "float32, float16, dynamic-int8, weight-int8, weight-int4, int8, int16x8, as-is",
        ),
        (("convert", "digits_cnn", "--to", "tflight:int8"), "no format 'tflight'"),
        (("convert", "digits_cnn", "--to", "int8"), "is not a recipe"),
        (("convert", "digits_cnn", "--to", "tflite:int8", "--to", "tflite:int8"), "given twice"),
        (("inspect", "models"), "is not an artifact"),
        (("doctor", "nowhere"), "There is no target 'nowhere'"),
        (("deploy", "README.md", "--to", "local"), "is not an artifact"),
    ],
)
def test_bad_input_is_one_paragraph_with_a_remedy(
    edgekit: Callable[..., Answer], arguments: tuple[str, ...], says: str
) -> None:
    answer = edgekit(*arguments)
    assert answer.code == 1
    assert answer.out == ""
    said = [line for line in answer.err.splitlines() if not line.startswith("note: executes ")]
    assert len(said) == 1, "one paragraph, not broken when piped"
    assert said[0].startswith("Error: ")
    assert "Traceback" not in answer.err
    assert says in answer.err


def test_an_error_with_json_is_a_document_too(edgekit: Callable[..., Answer]) -> None:
    answer = edgekit("inspect", "models", "--json")
    assert answer.code == 1
    assert answer.document["error"] == "ArtifactError"
    assert answer.document["remedy"]


def test_a_target_with_a_wrong_key_names_the_line(edgekit: Callable[..., Answer], tmp_path: Path) -> None:
    target = tmp_path / "t.toml"
    target.write_text('schema = 1\ntransport = "ssh"\n\n[ssh]\nhost = "x"\nprot = 22\n')
    answer = edgekit("doctor", target)
    assert answer.code == 1
    assert "line 6" in answer.err
    assert "'port'" in answer.err


def test_devices_lists_reachable_unreachable_and_invalid_targets(
    edgekit: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "here.toml").write_text(f'schema = 1\ntransport = "local"\nroot = "{tmp_path}/root"\n')
    (tmp_path / "gone.toml").write_text('schema = 1\ntransport = "ssh"\n[ssh]\nhost = "127.0.0.1"\nport = 9\n')
    (tmp_path / "wrong.toml").write_text("schema = 1\ntransprt = 1\n")
    answer = edgekit("devices", "--targets", tmp_path, "--json")
    found = answer.document["targets"]
    states = {target["name"]: target["state"] for target in found if target["state"] != "unclaimed"}
    assert answer.code == 0
    assert states == {"here": "reachable", "gone": "unreachable", "wrong": "invalid"}

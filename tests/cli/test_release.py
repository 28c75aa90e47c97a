"""`edgekit release`, from keys to a device that updates itself: the real program, model, web server and device."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.artifact import open_artifact
from edgekit.deploy.releases import Roles, create_repository, generate_key, open_repository, read_key
from edgekit.deploy.releases.changes import stage_release
from tests.deploy.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer, Board

pytestmark = [pytest.mark.slow, pytest.mark.device]

PASSPHRASE = {"EDGEKIT_KEY_PASSPHRASE": "correct horse"}
TITLE = "digits_cnn tflite:{}"


class Project:
    """A repository and its keys, which lie beside it."""

    def __init__(self, edgekit: Callable[..., Answer], folder: Path) -> None:
        self.folder = folder
        self.path = folder / "repository"
        self._edgekit = edgekit

    def run(self, *arguments: object, code: int = 0) -> Answer:
        answer = self._edgekit("release", *arguments, **PASSPHRASE)
        assert answer.code == code, answer.err
        return answer

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def release(self, *artifacts: Path) -> None:
        repository = open_repository(self.path)
        stage_release(repository, "beta", [open_artifact(path) for path in artifacts])
        keys = [read_key(self.key(name), PASSPHRASE["EDGEKIT_KEY_PASSPHRASE"].encode()) for name in ("team", "ci")]
        repository.sign(keys[:1])
        repository.publish(keys[1:])


ROLES = {
    "root": "offline",
    "targets": "offline",
    "snapshot": "ci",
    "timestamp": "ci",
    "beta": "team",
    "stable": "team",
}


@pytest.fixture
def project(edgekit: Callable[..., Answer], tmp_path: Path) -> Project:
    """Published, with nothing in it."""
    made = Project(edgekit, tmp_path)
    passphrase = PASSPHRASE["EDGEKIT_KEY_PASSPHRASE"].encode()
    keys = {name: generate_key(made.key(name), passphrase) for name in ("offline", "team", "ci")}
    repository = create_repository(made.path, {role: Roles((keys[name],)) for role, name in ROLES.items()})
    repository.sign([read_key(made.key(name), passphrase) for name in ("offline", "team")])
    repository.publish([read_key(made.key("ci"), passphrase)])
    return made


@pytest.fixture
def server(project: Project) -> Iterator[WebServer]:
    with WebServer(project.path, ranges=True).running() as running:
        yield running


def pull(board: Board, code: int = 0) -> Any:
    """As a timer on the device runs it."""
    program = board.root / "bin/edgekit-device.pyz"
    done = subprocess.run([sys.executable, program, "pull", "digits_cnn"], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def current(board: Board) -> str:
    return (board.root / "models/digits_cnn/current").resolve().name


def test_a_device_follows_a_channel_and_proves_what_it_pulls(
    project: Project, server: WebServer, digits: Path, board: Board, liar: Path
) -> None:
    first, second = (open_artifact(digits / f"tflite-{precision}").id for precision in ("float32", "int8"))
    project.release(digits / "tflite-float32")
    project.run("follow", board.target, "--repository", project.path, "--url", server.url, "--channel", "beta")
    done = pull(board)
    assert (done["artifact_id"], done["changed"], done["number"]) == (first, True, 1)
    assert current(board) == first
    assert not pull(board)["changed"]

    project.release(digits / "tflite-int8")
    assert pull(board)["title"] == TITLE.format("int8")
    assert (board.root / "models/digits_cnn/previous").resolve().name == first

    project.release(liar)  # signed by the right key, and wrong
    assert "does not answer here as it did on the host" in pull(board, code=1)
    assert current(board) == second

    server.sent.clear()
    project.release(digits / "tflite-int8")
    assert not pull(board)["changed"], "the same artifact again"
    assert server.sent_bytes("/objects/") == 0


def test_a_device_without_internet_gets_what_checks_releases(
    edgekit: Callable[..., Answer], project: Project, server: WebServer, digits: Path, board: Board, tmp_path: Path
) -> None:
    """Its Python has nothing but the standard library. python-tuf comes as wheels from here, and goes again."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python, root, target = tmp_path / "bare/bin/python", tmp_path / "root", tmp_path / "bare.toml"
    text = board.target.read_text().replace(str(board.root), str(root)).replace(sys.executable, str(python))
    target.write_text(text.replace('name = "board"', 'name = "bare"'))

    def pull_there() -> str:
        argv = [python, root / "bin/edgekit-device.pyz", "pull", "digits_cnn"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        assert done.returncode == 1
        return done.stderr

    project.release(digits / "tflite-float32")
    project.run("follow", target, "--repository", project.path, "--url", server.url, "--channel", "beta")
    assert "`edgekit provision TARGET --for releases` brings it" in pull_there()
    environment = edgekit("provision", target, "--for", "releases", "--json").document["environment"]
    assert environment["runtimes"] == ["releases"]
    names = {package["name"] for package in environment["packages"]}
    assert names >= {"tuf", "cryptography", "securesystemslib"}
    assert "numpy" not in names, "which is for runtimes"
    assert "no runtime is here for release 1" in pull_there(), "the signatures were checked"
    assert edgekit("provision", target, "--for", "releases", "--json").document["environment"]["already_there"]
    assert edgekit("provision", target, "--remove").code == 0
    assert "--for releases" in pull_there()


def test_what_the_device_fell_back_from_is_not_pulled_again(
    project: Project, server: WebServer, digits: Path, board: Board
) -> None:
    project.release(digits / "tflite-float32")
    project.run("follow", board.target, "--repository", project.path, "--url", server.url, "--channel", "beta")
    pull(board)
    project.release(digits / "tflite-int8")
    pull(board)
    program = board.root / "bin/edgekit-device.pyz"
    failed = [sys.executable, program, "failed", "digits_cnn", "crashed", "--max-failures", "1"]
    assert subprocess.run(failed, timeout=60).returncode == 0
    assert current(board) == open_artifact(digits / "tflite-float32").id
    assert "was fallen back from on this device" in pull(board, code=1)
    assert current(board) == open_artifact(digits / "tflite-float32").id


def test_the_host_pushes_by_the_same_signatures_and_every_step_is_a_command(
    edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path
) -> None:
    project = Project(edgekit, tmp_path)
    for name in ("offline", "team", "ci"):
        project.run("key", project.key(name))
    keys = [option for role, name in ROLES.items() for option in ("--key", f"{role}={project.key(name)}")]
    project.run("init", project.path, *keys)
    project.run("create", project.path, digits / "tflite-float32", digits / "tflite-int8", "--channel", "beta")
    project.run("sign", project.path, "--key", project.key("offline"), "--key", project.key("team"))
    project.run("publish", project.path, "--key", project.key("ci"))
    root = project.path / "metadata/1.root.json"
    push = ("push", project.path, "digits_cnn", "--root", root, "--to", board.target)
    document = project.run(*push, "--channel", "beta", "--recipe", "tflite:int8", "--json").document
    assert document["deployment"]["proof"] is not None
    assert current(board) == open_artifact(digits / "tflite-int8").id
    refused = project.run(*push, "--channel", "stable", code=1)
    assert "no release of digits_cnn in the channel stable" in " ".join(refused.err.split())
    project.run("promote", project.path, "digits_cnn", "--from", "beta", "--to", "stable")
    project.run("sign", project.path, "--key", project.key("team"))
    shown = project.run("publish", project.path, "--key", project.key("ci"), "--json").document
    assert {role["role"]: role["version"] for role in shown["roles"]} == {
        "root": 1, "targets": 1, "beta": 1, "stable": 2, "snapshot": 2, "timestamp": 2,
    }  # fmt: skip
    project.run(*push, "--channel", "stable")
    assert current(board) == open_artifact(digits / "tflite-float32").id, "the first that fits"


def test_mistakes_on_the_command_line(project: Project, digits: Path, edgekit: Callable[..., Answer]) -> None:
    int8 = digits / "tflite-int8"
    assert "is no release repository" in project.run("create", project.folder / "x", int8, "--channel", "a", code=1).err
    assert "release role CHANNEL" in " ".join(
        project.run("create", project.path, int8, "--channel", "nightly", code=1).err.split()
    )
    wrong = edgekit("release", "sign", project.path, "--key", project.key("team"), EDGEKIT_KEY_PASSPHRASE="wrong")
    assert wrong.code == 1
    assert "cannot be opened" in wrong.err
    assert edgekit("release", "sign", project.path, "--key", project.key("team")).code == 2, "nobody to ask"
    assert "of the form" in project.run("init", project.folder / "y", "--key", "root", code=2).err
    assert (
        "is no number"
        in project.run(
            "init", project.folder / "y", "--key", f"root={project.key('team')}", "--threshold", "root=x", code=2
        ).err
    )

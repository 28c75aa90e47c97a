"""What tests share: a real sshd, targets that reach it, and artifacts made by hand (no converter needed)."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent / "devices"))  # cut_proxy, for tests of every folder

from adb_network import Adbd, AdbNetwork, phone_root, strange_root
from cut_proxy import CutProxy

from edgekit.devices import Device, Target, connect, load_target
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.errors import EdgeKitError
from tests import machine, npm
from tests.artifacts import handmade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.artifact import Artifact

HOSTILE_NAME = 'it\'s a "root" $(touch pwned) `id`; & <x>'
"""A folder name that would run commands wherever a string became shell."""


@pytest.fixture(scope="session", autouse=True)
def _no_adb_server() -> None:
    """No test sees the phones of whoever runs it, and none leaves a server behind: one elsewhere is never started."""
    os.environ["ADB_SERVER_SOCKET"] = "tcp:127.0.0.2:9"


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ.setdefault("EDGEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def sshd() -> Iterator[ThrowawaySshd]:
    """A real sshd on loopback."""
    server = ThrowawaySshd()
    try:
        server.start()
    except EdgeKitError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder on the "device" in which EdgeKit keeps everything."""
    return tmp_path / HOSTILE_NAME


@pytest.fixture
def ssh_target(sshd: ThrowawaySshd, tmp_path: Path, root: Path) -> Target:
    """A target that reaches the sshd."""
    return load_target(str(sshd.write_target(tmp_path / "board.toml", "board", str(root))))


@pytest.fixture
def local_target(root: Path) -> Target:
    """This machine as a target, with a root of its own."""
    return Target(name="here", transport="local", root=str(root), python=sys.executable)


@pytest.fixture(scope="session")
def adb_network() -> Iterator[AdbNetwork]:
    """A genuine adb server that sees the devices started in it, and nothing else."""
    with AdbNetwork() as network, network.server():
        yield network


@pytest.fixture(scope="session")
def adbd(adb_network: AdbNetwork) -> Adbd:
    """A real adbd that shows this machine's own files and shell."""
    return adb_network.adbd(15660)


@pytest.fixture(scope="session")
def phone(adb_network: AdbNetwork) -> Adbd:
    """A real adbd in a root like a phone's, with this environment's Python shown in it."""
    shown = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix, *sys.path) if Path(path).is_dir()}
    tops = sorted(path for path in shown if not any(path.is_relative_to(other) for other in shown - {path}))
    return adb_network.adbd(15670, root=phone_root(), shown=tops)


@pytest.fixture(scope="session")
def strange(adb_network: AdbNetwork) -> Callable[[str], Adbd]:
    """Real adbds in roots without Python, with `bionic` or `musl` and no glibc where programs look for one."""
    return functools.cache(
        lambda libc: adb_network.adbd({"bionic": 15680, "musl": 15681}[libc], root=strange_root(libc))
    )


@pytest.fixture
def adb_target(adbd: Adbd, root: Path) -> Target:
    """A target that reaches the adbd."""
    return adbd.target("shown", root=str(root), python=sys.executable)


@pytest.fixture(params=["local", "ssh", "adb"])
def target(request: pytest.FixtureRequest) -> Target:
    """Every transport: what holds for one holds for all."""
    return request.getfixturevalue(f"{request.param}_target")


@pytest.fixture
def device(target: Target) -> Iterator[Device]:
    """A connected device, by every transport."""
    with connect(target) as connected:
        yield connected


@pytest.fixture
def proxy(sshd: ThrowawaySshd) -> Iterator[CutProxy]:
    """A link to the sshd that can be cut or frozen."""
    with CutProxy(sshd.port) as between:
        yield between


@pytest.fixture
def proxied_target(sshd: ThrowawaySshd, proxy: CutProxy, tmp_path: Path, root: Path) -> Target:
    """A target that reaches the sshd through `proxy`."""
    return load_target(str(sshd.write_target(tmp_path / "far.toml", "far", str(root), port=proxy.port)))


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """A file system of 1 MB at the root, so that a full disk is a real one."""
    with machine.small_disk(root, "1m"):
        yield root


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with digits_cnn as tflite-float32 and tflite-int8, really converted."""
    from edgekit.convert import convert, find_model
    from edgekit.recipe import parse_recipe

    out = tmp_path_factory.mktemp("artifacts")
    outcomes = convert(
        find_model(str(Path(__file__).parents[1] / "models" / "digits_cnn")),
        [parse_recipe("tflite:float32"), parse_recipe("tflite:int8")],
        out=out,
    )
    assert [outcome.error for outcome in outcomes] == [None, None]
    return out / "digits_cnn"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """LiteRT.js and TypeScript, as npm lays them."""
    return npm.node_modules()


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[..., Artifact]:
    """Makes valid artifacts: `make_artifact(model="tiny", payload=b"...")`. Their payload is no model."""

    def make(
        *, model: str = "tiny", payload: bytes = b"payload" * 1000, more: dict[str, bytes] | None = None
    ) -> Artifact:
        return handmade(tmp_path / "artifacts", model=model, payload=payload, more=more)

    return make


@pytest.fixture
def tiny_artifact(make_artifact: Callable[..., Artifact]) -> Artifact:
    """A small valid artifact with a file name that is hostile to shells."""
    return make_artifact(more={f"golden/{HOSTILE_NAME}": b"odd"})

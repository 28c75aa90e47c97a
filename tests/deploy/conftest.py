"""Fixtures of releases: keys, a published repository, a web server, and a device that trusts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgekit.deploy.releases import Key, Roles, create_repository, generate_key, read_key
from edgekit.deploy.releases.changes import stage_release
from tests.deploy.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.deploy.releases import Repository

NAMES = ("root-1", "root-2", "root-3", "targets", "online", "beta", "stable-1", "stable-2")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Key]:
    """Private keys by name."""
    for name in NAMES:
        generate_key(tmp_path / "keys" / f"{name}.pem", None)
    return {name: read_key(tmp_path / "keys" / f"{name}.pem", None) for name in NAMES}


class Releases:
    """A repository with the keys at hand: `release` stages, signs and publishes."""

    def __init__(self, repository: Repository, keys: dict[str, Key]) -> None:
        self.repository = repository
        self.keys = keys

    def sign(self, *names: str) -> None:
        self.repository.sign([self.keys[name] for name in names])

    def publish(self) -> None:
        self.repository.publish([self.keys["online"]])

    def release(self, artifacts: Sequence[Artifact], channel: str = "beta") -> None:
        stage_release(self.repository, channel, artifacts)
        self.sign(*(["beta"] if channel == "beta" else ["stable-1", "stable-2"]))
        self.publish()


@pytest.fixture
def releases(tmp_path: Path, keys: dict[str, Key]) -> Releases:
    """Published: root by two of three keys, the channels beta (one key) and stable (two of two)."""

    def of(*names: str, threshold: int = 1) -> Roles:
        return Roles(tuple(keys[name].public for name in names), threshold)

    made = Releases(
        create_repository(
            tmp_path / "repository",
            {
                "root": of("root-1", "root-2", "root-3", threshold=2),
                "targets": of("targets"),
                "snapshot": of("online"),
                "timestamp": of("online"),
                "beta": of("beta"),
                "stable": of("stable-1", "stable-2", threshold=2),
            },
        ),
        keys,
    )
    made.sign("root-1", "root-3", "targets", "beta", "stable-1", "stable-2")
    made.publish()
    return made


@pytest.fixture
def server(releases: Releases) -> Iterator[WebServer]:
    with WebServer(releases.repository.path, ranges=True).running() as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], str]:
    """Gives roots of new, empty stores."""
    count = iter(range(100))
    return lambda: str(tmp_path / f"store-{next(count)}")

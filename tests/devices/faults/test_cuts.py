"""Links cut at random points of push, rollback and bench. `EDGEKIT_CUTS=220` makes more of them (docs/faults.md)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cut_proxy import CutProxy

from edgekit.devices.target import AdbSettings
from tests.devices.faults.cuts import Cutter

if TYPE_CHECKING:
    from adb_network import Adbd

    from edgekit.devices import Target

pytestmark = [pytest.mark.device, pytest.mark.slow]

CUTS = int(os.environ.get("EDGEKIT_CUTS", "42"))


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A folder in memory: hundreds of artifacts are flushed to it."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as name:
        yield Path(name)


def survives(cutter: Cutter, seeds: range) -> None:
    outcomes = [cutter.cut(seed) for seed in seeds]
    assert sum(one.raised is not None for one in outcomes) > 0.6 * len(outcomes), "hardly any cut hit anything"
    assert {one.operation for one in outcomes} == {"push", "rollback", "bench"}


def test_ssh(proxied_target: Target, proxy: CutProxy, disk: Path) -> None:
    survives(Cutter(proxied_target, proxy, disk / "ssh"), range(CUTS * 2 // 3))


def test_adb(adbd: Adbd, adb_target: Target, disk: Path) -> None:
    with CutProxy(adbd.port, namespace=f"/proc/{adbd.pid}/ns/net") as proxy:
        far = msgspec.structs.replace(adb_target, adb=AdbSettings(host="127.0.0.1", port=proxy.port))
        survives(Cutter(far, proxy, disk / "adb"), range(1000, 1000 + CUTS // 3))

"""The host's switch of a model's links, killed before every line of its script, and the next attempt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.deploy import deploy, rollback, status
from edgekit.deploy import scripts as deploy_scripts
from edgekit.deploy.on_device import Links, links
from edgekit.devices import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from edgekit.devices import Target

pytestmark = pytest.mark.device


def killed_scripts(script: str) -> list[str]:
    """The script with `kill -9 $$` before one of its lines, for every line where the shell can still read it."""
    lines = script.split("\n")
    every = ["\n".join([*lines[:at], "kill -9 $$", *lines[at:]]) for at in range(1, len(lines))]
    return [one for one in every if subprocess.run(["sh", "-n", "-c", one], capture_output=True).returncode == 0]


def test_killed_before_every_line(local_target: Target, make_artifact: Callable[..., Artifact]) -> None:
    old, new = make_artifact(payload=b"old" * 100), make_artifact(payload=b"new" * 100)
    with connect(local_target) as device:
        deploy(device, old)
        deploy(device, new)
        before, after = Links(new.id, old.id), Links(old.id, new.id)
        arguments = [device.root, "tiny", old.id, new.id, "rolled-back", "by a test"]
        found_states, kills = [], 0
        for script in killed_scripts(deploy_scripts.SWITCH):
            code = subprocess.run(
                ["sh", "-c", script, "edgekit", *arguments], capture_output=True, timeout=60
            ).returncode
            kills += code == -9
            found = links.read(device.root, "tiny")
            assert found in (before, after)
            assert [(m.current_id, m.previous_id, m.whole) for m in status(device)] == [(*found, True)]
            assert Path(device.path("models/tiny/current")).is_dir(), "an application finds a model at any time"
            found_states.append(found)
            mark = Path(device.path("models/tiny/switching"))
            if mark.exists():
                os.utime(mark, (0, 0))  # a minute has passed
            if found == after:
                rollback(device, "tiny")
            else:
                assert deploy(device, new).already_there
            assert links.read(device.root, "tiny") == before
        assert set(found_states) == {before, after}
        assert kills > 15, kills
        told = f"{found_states.count(before)} times before the switch, {found_states.count(after)} times after it"
        print(f"host's switch: {kills} kills in {len(found_states)} runs; found {told}")  # noqa: T201 - the figures of the docs: pytest -s

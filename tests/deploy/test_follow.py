"""What a device follows is replaced as a whole, or it follows nothing and somebody is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edgekit.deploy.scripts import FOLLOW


def test_a_folder_that_a_pull_makes_again_in_between_is_noticed(tmp_path: Path) -> None:
    """Renaming the new metadata would put it below that folder, and the device would follow without a root."""
    programs, root = tmp_path / "bin", tmp_path / "root"
    programs.mkdir()
    (programs / "rm").write_text('#!/bin/sh\n/bin/rm "$@"\n[ "$3" != ./metadata ] || mkdir ./metadata\n')
    (programs / "rm").chmod(0o755)

    def follow(path: str) -> subprocess.CompletedProcess[bytes]:
        command = ["sh", "-c", FOLLOW, "edgekit", str(root), "4"]
        return subprocess.run(command, input=b"root{}", capture_output=True, env={"PATH": path}, check=False)

    path = os.environ["PATH"]
    done = follow(f"{programs}:{path}")
    assert done.returncode == 1
    assert b"a pull made the folder metadata again" in done.stderr
    assert not (root / "releases/config.json").exists()
    assert follow(path).returncode == 0
    assert (root / "releases/metadata/root.json").read_bytes() == b"root"
    assert (root / "releases/config.json").read_bytes() == b"{}"
    assert sorted(entry.name for entry in (root / "releases").iterdir()) == ["config.json", "metadata"]

"""Roots of test devices: built whole or not at all, and once."""

from __future__ import annotations

from pathlib import Path

import pytest
from debian_root import debian_root, mirror

pytestmark = [pytest.mark.device, pytest.mark.slow]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    return tmp_path


def test_a_root_holds_what_was_asked_for_and_is_built_once(own_cache: Path) -> None:
    ask = {"files": {"system/bin/hello": "#!/bin/sh\necho hello\n"}, "links": {"bin/sh": "busybox"}}
    root = debian_root(["busybox-static"], **ask)
    assert (root / "bin/busybox").stat().st_mode & 0o111
    assert (root / "system/bin/hello").stat().st_mode & 0o111
    assert (root / "bin/sh").resolve().name == "busybox"
    assert "root:x:0" in (root / "etc/passwd").read_text()
    made = root.stat().st_ino
    assert debian_root(["busybox-static"], **ask) == root
    assert root.stat().st_ino == made
    assert [path for path in (own_cache / "test-devices").iterdir() if path.name.startswith("building")] == []


def test_what_cannot_be_built_leaves_nothing_behind(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import debian_root as module

    monkeypatch.setattr(module, "mirror", lambda: f"file://{own_cache}/no-archive")
    with pytest.raises(RuntimeError, match=r"(?s)made no amd64 root.*no-archive"):
        debian_root(["busybox-static"])
    assert [path for path in (own_cache / "test-devices").iterdir() if path.is_dir()] == []


def test_the_mirror_is_the_one_of_this_machine() -> None:
    assert mirror().startswith(("http", "file:", "mirror", "cdrom:"))

"""The shells and tools that devices have, each as a folder that can be the whole PATH of a test.

    coreutils    dash and GNU coreutils, and of them only what `scripts` says that it needs
    bash         the same tools under bash: Fedora, and macOS's shell
    busybox      its own shell and applets: routers, Yocto and Alpine
    toybox       mksh and toybox: Android
    old-toybox   the same without what older Android lacks: `mv -T` and `sync FILE`

The binaries are real. `sh` of the folder is what a transport starts; nothing outside of the folder is found.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from adb_network import NOT_IN_TOYBOX, TOYBOX

if TYPE_CHECKING:
    from pathlib import Path

COREUTILS = (
    "mkdir mv rm ln cat sync df date find ls sed wc dd head tail uname od tr chmod rmdir readlink sleep sha256sum gzip"
)
BOXES = ("coreutils", "bash", "busybox", "toybox", "old-toybox")
_REFUSING_MV = """#!/bin/mksh
for argument do case $argument in
  --) break ;;
  -*[Th]*) echo "mv: Unknown option 'T'" >&2; exit 1 ;;
esac; done
exec toybox mv "$@"
"""
_REFUSING_SYNC = """#!/bin/mksh
[ $# -eq 0 ] || { echo "sync: Max 0 arguments" >&2; exit 1; }
exec toybox sync
"""


def make_box(name: str, folder: Path) -> Path:
    """Fills a folder with the commands of a box.

    Raises:
        RuntimeError: a program that it is made of is not installed.
    """
    folder.mkdir()
    if name in ("coreutils", "bash"):
        _link(folder, "sh", "bash" if name == "bash" else "dash")
        for command in COREUTILS.split():
            _link(folder, command, command)
    elif name == "busybox":
        subprocess.run([_found("busybox"), "--install", "-s", str(folder)], check=True)
    else:
        _link(folder, "sh", "mksh")
        for command in TOYBOX.split():
            _link(folder, command, "toybox")
        for command in NOT_IN_TOYBOX:
            _link(folder, command, "busybox")
    if name == "old-toybox":
        _link(folder, "toybox", "toybox")
        for command, script in {"mv": _REFUSING_MV, "sync": _REFUSING_SYNC}.items():
            (folder / command).unlink()
            (folder / command).write_text(script)
            (folder / command).chmod(0o755)
    return folder


def _link(folder: Path, command: str, program: str) -> None:
    (folder / command).symlink_to(_found(program))


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise RuntimeError(f"{program} is not on this machine: apt-get install what .ci/run names")
    return path

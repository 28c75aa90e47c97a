"""Root folders of test devices, made of Debian's packages: a few seconds of unpacking, once, then cached.

Packages are unpacked by mmdebstrap and nothing of them is run, so a root of a foreign architecture is made as fast as
one of this machine's, and without emulation. What maintainer scripts would have done (the links of a merged /usr, the
users) is done here. The mirror is the one that this machine's own apt uses.

A root lies in the cache and is shared by every test that asks for the same: mount what has to be written over it in a
mount namespace of your own, and leave the root alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.files import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUITE = "trixie"
BUILD_S = 600
_LAYOUT = 1
"""Counts up when this module makes other roots of the same request."""

_FOLDERS = ("proc", "sys", "dev", "run", "tmp", "root", "data/local/tmp", "data/misc/adb", "system/bin", "home")
_USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/shells": "/bin/sh\n",
}


def debian_root(
    packages: Sequence[str],
    *,
    architecture: str = "amd64",
    files: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    script: str = "",
) -> Path:
    """The folder of a root with these packages and what they depend on, built if it is not in the cache.

    Args:
        packages: names of Debian packages; nothing else is in the root, not even a shell.
        architecture: Debian's name of it, such as `arm64`.
        files: files to write into it: path below the root to content. They replace what packages brought; scripts
            (`#!`) are executable.
        links: links to make in it: path below the root to what it points to. They replace likewise.
        script: for sh on this machine, run at the end in the root's folder.

    Raises:
        RuntimeError: mmdebstrap is missing or failed; its last words are quoted.
    """
    files, links = {**_USERS, **(files or {})}, dict(links or {})
    request = [_LAYOUT, SUITE, architecture, sorted(packages), files, links, *([script] if script else [])]
    asked = json.dumps(request, sort_keys=True)
    folder = cache_folder() / "test-devices"
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / f"{SUITE}-{architecture}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    with (folder / f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be building it
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as name:
                building = Path(name) / "root"
                _unpack(building, packages, architecture)
                _finish(building, files, links)
                subprocess.run(["sh", "-ec", script], cwd=building, check=True, timeout=BUILD_S)
                building.rename(root)
    return root


def mirror() -> str:
    """The address of the Debian archive that this machine's apt is configured with."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    for line in asked.stdout.splitlines():
        origin, label, address = line.split("|", 2)
        if (origin, label) == ("Debian", "Debian"):
            return address
    raise RuntimeError(f"apt knows no Debian archive here; run `apt-get update` first. {asked.stderr[-300:]}")


def _unpack(root: Path, packages: Sequence[str], architecture: str) -> None:
    if shutil.which("mmdebstrap") is None:
        raise RuntimeError("the test devices are built by mmdebstrap: apt-get install mmdebstrap (as .ci/run does)")
    command = [
        "mmdebstrap",
        f"--architectures={architecture}",
        "--variant=extract",
        "--skip=check/qemu",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Retries "3"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale")),
        f"--include={','.join(packages)}",
        SUITE,
        str(root),
        f"deb {mirror()} {SUITE} main",  # one line: its default adds the security archive, which can be out of step
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"mmdebstrap made no {architecture} root: {done.stderr[-1000:]}")


def _finish(root: Path, files: Mapping[str, str], links: Mapping[str, str]) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        if (root / "usr" / name).exists() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "data/local/tmp"):
        (root / name).chmod(0o1777)
    for name, content in files.items():
        path = _free(root, name)
        path.write_text(content)
        path.chmod(0o755 if content.startswith("#!") else 0o644)
    for name, leads_to in links.items():
        _free(root, name).symlink_to(leads_to)


def _free(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path

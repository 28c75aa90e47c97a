"""Packages of npm for tests, fetched once into the cache and believed by the sha512 that the registry tells of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGES = {
    (
        "@litertjs/core",
        "2.5.3",
    ): "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    (
        "@litertjs/wasm-utils",
        "2.5.3",
    ): "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
    ("typescript", "5.9.3"): "jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
}


def node_modules() -> Path:
    """A folder node_modules with all of them."""
    name = hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:12]
    final = Path(os.environ["EDGEKIT_CACHE"]) / "npm" / name / "node_modules"
    if not final.is_dir():
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent) as temporary:
            made = Path(temporary) / "node_modules"
            for (package, version), sha512 in PACKAGES.items():
                unpack(fetch(f"{package}@{version}", sha512, Path(temporary)), made / package)
            made.rename(final)
    return final


def fetch(package: str, sha512: str, folder: Path) -> Path:
    """The archive of `NAME@VERSION`, believed by its sha512 in base64."""
    command = ["npm", "pack", package, "--json", "--pack-destination", str(folder)]
    packed = subprocess.run(command, capture_output=True, check=True, timeout=300, text=True)
    archive = folder / json.loads(packed.stdout)[0]["filename"].replace("@", "").replace("/", "-")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert found == sha512, f"{package} has the sha512 {found}, not {sha512}"
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Its files, as a new folder."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder.parent / ".unpacked", filter="data")
    shutil.move(folder.parent / ".unpacked" / "package", folder)

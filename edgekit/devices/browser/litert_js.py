"""LiteRT.js as npm lays it: found, its version checked, and its files told. Nothing is downloaded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import RuntimeMissingError
from edgekit.files import cache_folder
from edgekit.runner.web import LITERT, LITERT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

_UTILS = "@litertjs/wasm-utils"
_WANTED = tuple(int(part) for part in LITERT_VERSION.split("."))


@dataclass(frozen=True)
class LiteRtJs:
    """The package's folder, that of the other one that it needs, and its version."""

    core: Path
    utils: Path
    version: str

    def files(self) -> Iterator[tuple[str, Path]]:
        """What the page loads, as it is served: `npm/@litertjs/core/dist/index.js` and its like."""
        for name, folder in ((LITERT, self.core), (_UTILS, self.utils)):
            for part in ("dist", "wasm"):
                for path in sorted((folder / part).rglob("*")):
                    if path.is_file():
                        yield f"npm/{name}/{path.relative_to(folder).as_posix()}", path


def find_litert_js(given: str | None) -> LiteRtJs:
    """LiteRT.js in the folder that the target names; else in node_modules here or above; else in EdgeKit's cache.

    Raises:
        RuntimeMissingError: it is not there, not whole, or of a version that was not tested.
    """
    if given is not None:
        places = [Path(given)]
    else:
        here = Path.cwd()
        places = [folder / "node_modules" / LITERT for folder in (here, *here.parents)]
        places.append(cache_folder() / "npm" / "node_modules" / LITERT)
    for core in places:
        if (core / "package.json").is_file():
            return _checked(core)
    raise RuntimeMissingError(
        f"LiteRT.js ({LITERT}) is not installed: it is not in {places[0]}"
        + (f", nor above that, nor in {places[-1]}." if len(places) > 1 else "."),
        remedy=_remedy(),
    )


def _checked(core: Path) -> LiteRtJs:
    try:
        version = str(json.loads((core / "package.json").read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeMissingError(f"{core} is no package of npm's: {error}.", remedy=_remedy()) from error
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version)
    numbers = tuple(int(part) for part in found.groups()) if found else ()
    if numbers[:2] != _WANTED[:2] or numbers < _WANTED:
        raise RuntimeMissingError(
            f"{core} is {LITERT} {version}, and EdgeKit's page takes ~{LITERT_VERSION}.", remedy=_remedy()
        )
    utils = next(
        (folder for folder in (core / "node_modules" / _UTILS, core.parents[1] / _UTILS) if folder.is_dir()), None
    )
    if utils is None or not (core / "dist" / "index.js").is_file() or not any((core / "wasm").glob("*.wasm")):
        raise RuntimeMissingError(
            f"{core} is not whole: dist/index.js, wasm/ and {_UTILS} belong to it.", remedy=_remedy()
        )
    return LiteRtJs(core, utils, version)


def _remedy() -> str:
    return (
        f"Run: npm install --prefix {cache_folder() / 'npm'} {LITERT}@{LITERT_VERSION}, or in your project without "
        "--prefix. Or name its folder as `litert_js` in [browser] of the target."
    )

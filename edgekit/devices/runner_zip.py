"""The runner as one file: a zip that Python executes, made of `edgekit/runner` and the registered runtimes.

Runtimes of other packages travel along as `edgekit_runner/runtimes/NAME.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit import plugins, runner
from edgekit.devices.program_zip import program_zip, sources

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "edgekit_runner"
_MAIN = f"import sys\n\nfrom {PACKAGE}.__main__ import main\n\nsys.exit(main(sys.argv))\n"


def runner_zip(extra_runtimes: Mapping[str, Path] | None = None) -> tuple[Path, str]:
    """The runner's file, in the cache, and its sha256.

    Args:
        extra_runtimes: runtime modules by name, beside those that are registered.

    Raises:
        StorageError: the cache cannot be written.
        PluginError: a registered runtime cannot be imported.
    """
    folder = Path(runner.__file__).parent
    files = {"__main__.py": _MAIN.encode(), **sources(PACKAGE, folder)}
    for name, path in {**_registered_runtimes(), **(extra_runtimes or {})}.items():
        if not path.is_relative_to(folder):
            files[f"{PACKAGE}/runtimes/{name}.py"] = path.read_bytes()
    return program_zip(files)


def _registered_runtimes() -> dict[str, Path]:
    return {name: Path(plugins.load("runtime", name).__file__) for name in plugins.names("runtime")}

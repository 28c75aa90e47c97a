"""Formats, sources, runtimes, transports and kinds of bundles, found through entry points.

Each is one module and one line of metadata. A name that two packages register is an error, never a matter of import
order.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgekit.errors import MissingPackageError, PluginError
from edgekit.files import digest_of_tree

GROUPS = {
    "format": "edgekit.formats",
    "source": "edgekit.sources",
    "runtime": "edgekit.runtimes",
    "transport": "edgekit.transports",
    "bundle": "edgekit.bundles",
}


@cache
def _registered(kind: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUPS[kind]):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise PluginError(
                f"Two packages register the {kind} {point.name!r}: {other.value} and {point.value}.",
                remedy="Uninstall one of them.",
            )
        found[point.name] = point
    return found


def names(kind: str) -> list[str]:
    """All registered names of a kind ("format", "source", "runtime", "transport", "bundle"), sorted."""
    return sorted(_registered(kind))


@cache
def load(kind: str, name: str) -> Any:
    """The class or module that is registered under a name.

    Raises:
        PluginError: there is none of that name, or it cannot be imported.
    """
    point = _registered(kind).get(name)
    if point is None:
        known = names(kind)
        raise PluginError(
            f"There is no {kind} {name!r}.",
            remedy=f"Choose one of: {', '.join(known)}." if known else "Reinstall edgekit: none is registered.",
        )
    try:
        return point.load()
    except Exception as error:  # a package from elsewhere may fail in any way while it is imported
        raise PluginError(
            f"The {kind} {name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}.",
            remedy="Reinstall its package.",
        ) from error


def code_sha256(plugin: Any) -> str:
    """One hash over the code that makes a plugin what it is: a change of it changes what the plugin makes.

    That is the file that defines its class or module, and the modules and packages that it names in `parts`.
    """
    file = inspect.getsourcefile(plugin)
    assert file is not None
    paths = [Path(file)]
    for name in getattr(plugin, "parts", ()):
        spec = find_spec(name)
        assert spec is not None, f"{plugin} names the part {name}, which does not exist"
        paths += [Path(folder) for folder in spec.submodule_search_locations or ()]
        paths += [Path(spec.origin)] if spec.origin and not spec.submodule_search_locations else []
    return digest_of_tree(paths)


def versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """Installed versions by distribution name; what is not installed is left out."""
    found = {}
    for name in distributions:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def require(distributions: tuple[str, ...], *, extra: str, purpose: str) -> dict[str, str]:
    """`versions`, or an error that names the extra to install.

    Raises:
        MissingPackageError: one of them is not installed.
    """
    found = versions(distributions)
    missing = [name for name in distributions if name not in found]
    if missing:
        raise MissingPackageError(
            f"{purpose} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.",
            remedy=f"Run: pip install 'edgekit[{extra}]'",
        )
    return found

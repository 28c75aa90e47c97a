"""What a device needs of a runtime, as the runtime's own module says it (`edgekit.runner.runtimes`)."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import msgspec

from edgekit import plugins


class Needs(msgspec.Struct, frozen=True):
    """Wheels by distribution name.

    `wheels` are installed whole, with what they require; of those in `parts` only the files that match. `libraries` is
    what the native runner needs of which wheels, where there is no Python.
    """

    wheels: tuple[str, ...]
    parts: dict[str, tuple[str, ...]]
    libraries: dict[str, tuple[str, ...]]


def needs_of(runtime: str) -> Needs:
    """What a runtime needs; one that does not say is one wheel named like its package.

    Raises:
        PluginError: there is no such runtime.
    """
    module = plugins.load("runtime", runtime)
    return Needs(
        tuple(getattr(module, "WHEELS", (module.PACKAGES[0].replace("_", "-"),))),
        dict(getattr(module, "PARTS", {})),
        dict(getattr(module, "LIBRARIES", {})),
    )


def pinned(distribution: str) -> str:
    """The requirement for the version that is installed here, which proved the artifacts; else for any."""
    try:
        return f"{distribution}=={version(distribution).partition('+')[0]}"
    except PackageNotFoundError:
        return distribution

"""What a device needs: for a runtime, as its own module says it (`edgekit.runner.runtimes`), or for a purpose."""

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


PURPOSES = {"releases": Needs(("tuf", "cryptography"), {}, {})}
"""What is wanted there beside runtimes: `releases` is for pulling signed releases (edgekit.deploy.on_device.trust)."""


def needs_of(runtime: str) -> Needs:
    """What a runtime needs, or a purpose; a runtime that does not say is one wheel named like its package.

    Raises:
        PluginError: there is no such runtime.
    """
    if runtime in PURPOSES:
        return PURPOSES[runtime]
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

"""The wheels of an environment: chosen and fetched by pip, checked here, remembered by their sha256.

What was resolved once for a platform is kept (`kept`). `--offline-cache` names a folder of wheels that stands in for
the index; if it holds a `SHA256SUMS`, every wheel taken from it must be listed there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgekit.devices.environment.kept import keep, remember, remembered
from edgekit.devices.environment.pip import PipError, download, interpreter_of
from edgekit.devices.environment.refusals import refusal
from edgekit.devices.environment.wheels import Wheel, open_wheel
from edgekit.errors import WheelError
from edgekit.files import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.devices.environment.platforms import Platform

_ROUNDS = 4
_LIBRARY_PYTHONS = ("3.11", "3.12", "3.13", "3.10")
"""A shared library in a wheel is the same whichever Python the wheel is for."""


def fetch(name: str, requirements: Sequence[str], platform: Platform, offline: Path | None) -> tuple[Wheel, ...]:
    """The wheels of requirements and of all that they require, checked, for a platform with Python.

    Args:
        name: the device, for errors.
        requirements: such as `ai-edge-litert==2.3.0`. One whose version has no wheel there is fetched in any version.
        platform: the device's.
        offline: a folder of wheels instead of the index.

    Raises:
        NoWheelError: something has no wheel for the platform, or nothing can be fetched.
        WheelError: a wheel is damaged, or for another platform.
    """
    key = digest_of(["whole", sorted(requirements), platform.wheel_platforms(), platform.python, platform.abi])
    known = _remembered(key) if offline is None else None
    if known is not None:
        return known
    wanted = list(requirements)
    for _ in range(_ROUNDS):
        wheels = _download(name, wanted, platform, offline)
        taken, missing = _closure(wheels, wanted, platform)
        if not missing:
            break
        wanted += missing  # pip read the markers for this machine; on the device they say otherwise
    else:
        raise refusal(name, wanted, platform, PipError("no-wheel", f"nothing provides {', '.join(missing)}"), offline)
    fitting = platform.tags()
    for wheel in taken:
        if not wheel.fits(fitting):
            raise WheelError(f"{wheel.path.name} is not for {name} ({platform.text}). Nothing was sent.",
                             remedy="Remove it from the folder of wheels.")  # fmt: skip
    return _remember(key, taken)


def fetch_libraries(name: str, distribution: str, platform: Platform, offline: Path | None) -> Wheel:
    """One wheel, for the libraries inside: which Python it is for does not matter.

    Raises:
        NoWheelError, WheelError: as `fetch`.
    """
    key = digest_of(["libraries", distribution, platform.wheel_platforms()])
    known = _remembered(key) if offline is None else None
    if known is not None:
        return known[0]
    failure = PipError("no-wheel", "")
    for requirement in dict.fromkeys([distribution, _bare(distribution)]):
        for python in _LIBRARY_PYTHONS:
            with tempfile.TemporaryDirectory(prefix="edgekit-wheels-") as folder:
                try:
                    interpreter = interpreter_of(platform, python)
                    download([requirement], interpreter, Path(folder), links=offline, deps=False)
                except PipError as error:
                    failure = error
                    if error.kind != "no-wheel":
                        raise refusal(name, [distribution], platform, error, offline) from error
                    continue
                return _remember(key, [_keep(path, offline) for path in Path(folder).iterdir()])[0]
    raise refusal(name, [distribution], platform, failure, offline)


def _download(name: str, wanted: list[str], platform: Platform, offline: Path | None) -> list[Wheel]:
    """Pins that have no wheel are let go, in `wanted` too."""
    interpreter = interpreter_of(platform)
    while True:
        with tempfile.TemporaryDirectory(prefix="edgekit-wheels-") as folder:
            try:
                download(wanted, interpreter, Path(folder), links=offline)
            except PipError as error:
                pin = next((text for text in wanted if "==" in text and text in str(error)), None)
                if error.kind == "no-wheel" and pin is not None:
                    wanted[wanted.index(pin)] = _bare(pin)
                    continue
                raise refusal(name, wanted, platform, error, offline) from error
            return [_keep(path, offline) for path in sorted(Path(folder).iterdir())]


def _bare(requirement: str) -> str:
    return requirement.partition("==")[0]


def _closure(wheels: Sequence[Wheel], wanted: Sequence[str], platform: Platform) -> tuple[list[Wheel], list[str]]:
    """The wheels that are needed on the device, and the requirements that none of them meets."""
    by_name = {wheel.name: wheel for wheel in wheels}
    needed: dict[str, Wheel] = {}
    missing: list[str] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(text) for text in wanted]
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        wheel = by_name.get(name)
        if wheel is None or not requirement.specifier.contains(wheel.version, prereleases=True):
            requirement.marker = None
            missing.append(str(requirement))
        elif (name, extras) not in seen:
            seen.add((name, extras))
            needed[name] = wheel
            todo += wheel.requirements(platform, extras)
    return [needed[name] for name in sorted(needed)], sorted(set(missing))


def _keep(path: Path, offline: Path | None) -> Wheel:
    return open_wheel(keep(path, offline))


def _remember(key: str, wheels: Sequence[Wheel]) -> tuple[Wheel, ...]:
    remember(key, [(wheel.path, wheel.sha256) for wheel in wheels])
    return tuple(wheels)


def _remembered(key: str) -> tuple[Wheel, ...] | None:
    paths = remembered(key)
    return None if paths is None else tuple(map(open_wheel, paths))

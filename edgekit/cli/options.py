"""Options that commands on devices share. (No command of its own.)"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices import RunnerDevice, Target
    from edgekit.devices.lock import Holder

_UNITS = {"": 1, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600}


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click only
    """`90`, `90s`, `10m`, `2h` or `15ms`, as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is no duration: write 90s, 10m or 2h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Share(click.ParamType):  # type: ignore[type-arg]  # likewise
    """A share, as `3%` or `0.03`."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 < share < 1:
            self.fail(f"{value!r} is not a share such as 3% or 0.03.", param, ctx)
        return share


class ByteCount(click.ParamType):  # type: ignore[type-arg]  # likewise
    """`900kB`, `4MB` or `1.5GB`, in powers of ten, as bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(b|kb|mb|gb)?", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no size: write 900kB, 4MB or 1.5GB", param, ctx)
        return round(float(found[1]) * {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9}[found[2] or "b"])


targets_option = click.option(
    "--targets", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("targets"),
    show_default=True, help="Folder with the target files.",
)  # fmt: skip
wait_option = click.option(
    "--wait", "wait_s", type=Duration(), default="0s", show_default=True, metavar="TIME",
    help="How long to wait for a device that somebody else has locked: 90s, 10m, 2h.",
)  # fmt: skip
tolerance_option = click.option(
    "--tolerance", type=Share(), default="3%", show_default=True,
    help="Changes up to this count as none: the verdict is about what lies beyond.",
)  # fmt: skip

runner_option = click.option(
    "--runner", type=click.Choice(["auto", "python", "native"]),
    help="Which runner measures there: auto goes by what the device has for the runtime.  [default: the target's]",
)  # fmt: skip


def with_runner(target: Target, runner: str | None) -> Target:
    """A target with the runner that the command line asks for."""
    return target if runner is None else msgspec.structs.replace(target, runner=runner)


def with_delegate(target: Target, delegate: str | None) -> Target:
    """A target whose runtimes are asked to execute with that delegate."""
    if delegate is None:
        return target
    return msgspec.structs.replace(target, bench=msgspec.structs.replace(target.bench, delegate=delegate))


@contextmanager
def locked(device: RunnerDevice, purpose: str, wait_s: float) -> Iterator[None]:
    """Holds the device's lock; while it waits for it, standard error tells for whom.

    Raises:
        DeviceBusyError: it was not free within `wait_s`.
    """

    def tell(found: Holder) -> None:
        click.echo(f"{device.target.name} is {found.told}; waiting for up to {wait_s:g} s", err=True)

    with device.lock(purpose, wait_s, on_wait=tell):
        if device.invitation is not None:
            click.echo(device.invitation, err=True)
        yield


def thread_counts(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """`1,2,4` as numbers: the callback of --threads."""
    if text is None:
        return None
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter("give numbers, such as 1 or 1,2,4") from None
    if any(count < 1 for count in counts):
        raise click.BadParameter("a thread count is 1 or more")
    return counts

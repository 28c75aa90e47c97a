"""Room: a plan that fits the free space of the device. What cut uploads left goes before anything is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.devices.chunk_list import partial_path
from edgekit.devices.plan import Plan, WantedFile, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.devices.chunk_list import StoredFile, Survey


def fitting_plan(
    files: Sequence[WantedFile],
    known: Sequence[StoredFile],
    survey: Survey,
    nonce: str,
    *,
    forget: Callable[[Sequence[str]], None],
    ask_free: Callable[[], int],
) -> tuple[Plan, int | None]:
    """The plan for an upload; one that uses nothing where there is no room to put files together beside what is there.

    Args:
        files: what the device shall have.
        known: files there that may be used.
        survey: what it said.
        nonce: the upload's.
        forget: removes what cut uploads left, by their nonces.
        ask_free: how many bytes are free after that.

    Returns:
        The plan, and how many bytes are free, if the device told: less than it needs if there is no plan that fits.
    """
    pack = partial_path(nonce)
    plan, free = make_plan(files, known, pack), survey.free_bytes
    if free is None or plan.needed_bytes <= free:
        return plan, free
    unused = [_nonce(file) for file in survey.partials if file.path not in plan.used]
    if unused:
        forget(unused)
        free = ask_free()
        if plan.needed_bytes <= free:
            return plan, free
    forget([_nonce(file) for file in survey.partials])
    free = ask_free()
    plan = make_plan(files, [], pack)
    return (plan if plan.needed_bytes <= free else plan.tightened()), free


def _nonce(partial: StoredFile) -> str:
    return partial.path.split("/")[1]

"""Deploy and roll back: what changes a model's links, under the device's lock, after everything was verified.

A deployment is a push, a proof on the device, and a switch of the links. Whoever calls `deploy` says what counts as a
proof (`edgekit.workflows.activate` runs the golden inputs); whatever it raises leaves the links as they were.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import check_files
from edgekit.deploy.device_program import place
from edgekit.deploy.scripts import SWITCH
from edgekit.deploy.status import Links, inspect, read_links
from edgekit.devices.fitting import check_fits
from edgekit.devices.lock import this_process
from edgekit.devices.store import Store
from edgekit.errors import NothingToRollBackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from edgekit.devices import Device
    from edgekit.devices.progress import Progress

_NONE = Links(None, None)


class Proof(msgspec.Struct, frozen=True):
    """What an artifact showed on the device before it became current.

    `snr_db` is the worst of its golden answers against the host's, None where all are equal to the bit; `p50_ms` is
    None where no latency was asked for.
    """

    package: str
    version: str | None
    snr_db: float | None
    p50_ms: float | None = None


class Deployment(msgspec.Struct, frozen=True):
    """What a deployment or a rollback did. `previous_id` is what `rollback` would return to.

    Of the artifact's bytes, `reused_bytes` were copied from others on the device, and `resumed_bytes` from what a cut
    upload had left there; `sent_bytes` went over the link, which is less than the rest if some were `compressed`.
    `proof` is None where none was asked for, or where nothing changed. `program` is where the program that falls back
    lies on the device; None where nothing changed, or where there is no Python to run it.
    """

    model: str
    artifact_id: str
    previous_id: str | None
    sent_bytes: int
    already_there: bool
    seconds: float
    reused_bytes: int = 0
    resumed_bytes: int = 0
    compressed: bool = False
    proof: Proof | None = None
    program: str | None = None


def deploy(
    device: Device,
    artifact: Artifact,
    progress: Progress | None = None,
    prove: Callable[[Device, Artifact, str], Proof] | None = None,
    *,
    with_program: bool = True,
) -> Deployment:
    """Makes an artifact the current one of its model. If it is already, nothing changes.

    Args:
        device: where. artifact: the artifact here. progress: whom to tell how the push goes. prove: called with the
        artifact and where it lies on the device, before it becomes current. What it raises is raised
            again; the artifact stays in the store then, and what was current stays current.
        with_program: also bring edgekit-device, which falls back there, where there is a Python to run it.

    Raises:
        CorruptArtifactError: the artifact is damaged here; nothing was sent.
        UnsuitableArtifactError: it is compiled for another processor than the device's; nothing was sent.
        TransferError, DeviceStorageError, DeviceBusyError, DeviceError: see `Store.push`.
    """
    began = time.monotonic()
    model = artifact.manifest.model
    check_files(artifact)
    with device.lock(f"deploy {artifact.title}"):
        check_fits(device, artifact)
        pushed = Store(device).push(artifact, progress)
        links = read_links(device).get(model, _NONE)
        previous, proof, program = links.previous, None, None
        if links.current != artifact.id:
            previous = links.current or links.previous
            program = place(device) if with_program else None
            if prove is not None:
                proof = prove(device, artifact, Store(device).artifact_path(artifact.id))
            _switch(device, model, Links(artifact.id, previous), "activated")
    return Deployment(
        model=model,
        artifact_id=artifact.id,
        previous_id=previous if previous != artifact.id else None,
        sent_bytes=pushed.sent_bytes,
        already_there=pushed.already_there,
        seconds=time.monotonic() - began,
        reused_bytes=pushed.reused_bytes,
        resumed_bytes=pushed.resumed_bytes,
        compressed=pushed.compressed,
        proof=proof,
        program=program,
    )


def rollback(device: Device, model: str) -> Deployment:
    """Makes the previous artifact of a model the current one, and the current one the previous.

    Raises:
        NothingToRollBackError: there is no such model on the device, or no earlier artifact, or it is damaged.
        DeviceBusyError, DeviceError: the device is in use, or a command failed.
    """
    began = time.monotonic()
    with device.lock(f"rollback of {model}"):
        models = read_links(device)
        links = models.get(model, _NONE)
        if links.current is None or links.previous is None:
            raise _nothing(device, model, models)
        _, whole = inspect(device, links.previous)
        if not whole:
            raise NothingToRollBackError(
                f"{device.name} keeps the earlier artifact {links.previous[:12]} of {model!r}, but it is damaged. "
                f"{links.current[:12]} stays current.",
                remedy="Deploy the artifact that you want anew.",
            )
        _switch(device, model, Links(links.previous, links.current), "rolled-back")
    return Deployment(model, links.previous, links.current, 0, True, time.monotonic() - began)


def _switch(device: Device, model: str, links: Links, kind: str) -> None:
    assert links.current is not None
    device.script(
        SWITCH, device.root, model, links.current, links.previous or "", kind, f"by {this_process()}",
        step=f"activating {links.current[:12]}", timeout_s=120,
    )  # fmt: skip


def _nothing(device: Device, model: str, models: dict[str, Links]) -> NothingToRollBackError:
    if model in models and models[model].current is not None:
        return NothingToRollBackError(
            f"{device.name} keeps no earlier artifact of {model!r}: {str(models[model].current)[:12]} is the only one.",
            remedy="Deploy the artifact that you want instead.",
        )
    known = ", ".join(
        f"{name} ({'can' if links.previous else 'cannot'} be rolled back)" for name, links in models.items()
    )
    return NothingToRollBackError(
        f"{device.name} has no model {model!r}; it has {known or 'none'}.",
        remedy="Name one of them." if models else "Deploy one first.",
    )

"""Checks an artifact where it lies: every file against its sha256, every golden input against its golden output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import OutputParity, SizeParity, check_files
from edgekit.bench.measure import golden_request
from edgekit.bench.reading import check_every_size
from edgekit.bench.sense import sensible, whole
from edgekit.devices.runner_client import run_request

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.devices import RunnerDevice


class Verification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the golden check gave: `passed` if every output reaches `min_snr_db`, at every size."""

    passed: bool
    min_snr_db: float
    outputs: tuple[OutputParity, ...]
    package: str
    version: str | None
    sizes: tuple[SizeParity, ...] = ()


def verify(device: RunnerDevice, artifact: Artifact, *, push: bool = False) -> Verification:
    """Checks the files, then runs the golden inputs on a device.

    Args:
        device: where.
        artifact: here.
        push: brings it to the device's store first; else the device must see this machine's files (a `local` target).

    Raises:
        CorruptArtifactError: a file is missing or differs.
        UnsuitableArtifactError: it is compiled for another processor.
        RuntimeMissingError: the device has no runtime for the format.
        DeviceError: the push or the runner failed; see `RunnerDevice.place` and `run_request`.
    """
    check_files(artifact)
    path = str(artifact.path)
    if push:
        device.check_fits(artifact)
        device.runner(artifact.manifest.runtime)  # before anything is sent
        path = device.place(artifact)
    return check_golden(device, artifact, path)


def check_golden(device: RunnerDevice, artifact: Artifact, path: str) -> Verification:
    """Runs the golden inputs of an artifact that lies at `path` on a device.

    Raises:
        RuntimeMissingError: the device has no runtime for the format.
        DeviceError: the runner failed; see `run_request`.
    """
    request = {**golden_request(artifact, path), "do": "check"}
    events = run_request(device, request, idle_timeout_s=device.target.bench.idle_timeout_s)
    with sensible(device):
        by_name = {event["event"]: event for event in events}
        golden, runtime = by_name["golden"], by_name["runtime"]
        names = [spec.name for spec in artifact.manifest.outputs]
        return whole(
            Verification(
                passed=golden["passed"],
                min_snr_db=golden["min_snr_db"],
                outputs=tuple(OutputParity(output=n, **o) for n, o in zip(names, golden["outputs"], strict=True)),
                package=runtime["package"],
                version=runtime["version"],
                sizes=check_every_size(artifact, golden, device.target.name),
            )
        )

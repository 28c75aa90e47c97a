"""Activation that proves itself: an artifact answers its golden inputs on the device before it becomes current.

The proof is what `edgekit verify --on` runs, with the device's own runtime, on the files that were pushed. With a bound
on the latency, one block of the bench is measured as well, and its p50 has to keep the bound: on a device that is busy,
a good artifact may miss it, which costs another attempt and not an outage.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgekit.bench.measure import measure, prepare
from edgekit.bench.verify import check_golden
from edgekit.deploy import Proof, deploy
from edgekit.errors import ActivationRefusedError, RuntimeMissingError

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.bench.verify import Verification
    from edgekit.deploy import Deployment
    from edgekit.devices import Device
    from edgekit.devices.progress import Progress


def deploy_proven(
    device: Device, artifact: Artifact, *, max_latency_ms: float | None = None, progress: Progress | None = None
) -> Deployment:
    """Deploys an artifact that first proves itself on the device.

    Args:
        device: where.
        artifact: the artifact here.
        max_latency_ms: a bound on its p50 there, with one thread; None for none.
        progress: whom to tell how the push goes.

    Raises:
        ActivationRefusedError: its answers differ from the host's, or it is too slow. What was current still is.
        RuntimeMissingError: the device has no runtime that could run it.
        DeviceError, CorruptArtifactError: see `edgekit.deploy.deploy`.
    """
    return deploy(device, artifact, progress, partial(_prove, max_latency_ms=max_latency_ms))


def _prove(device: Device, artifact: Artifact, path: str, *, max_latency_ms: float | None) -> Proof:
    try:
        found = check_golden(device, artifact, path)
    except RuntimeMissingError as error:
        raise RuntimeMissingError(
            f"{error.what} So {artifact.title} cannot prove itself there, and did not become current.",
            remedy=f"{error.remedy} Or deploy it with --unproven, and trust the proof that was made on the host.",
        ) from error
    if not found.passed:
        raise _refused(device, artifact, f"its golden answers {_differ(found)}")
    p50_ms = None
    if max_latency_ms is not None:
        p50_ms = measure(device, prepare(device, artifact, threads=1)).block.median_ns / 1e6
        if p50_ms > max_latency_ms:
            raise _refused(
                device, artifact, f"its p50 there is {p50_ms:.3g} ms, above the bound of {max_latency_ms:g} ms"
            )
    worst = [o.snr_db for o in found.outputs if not o.exact and o.snr_db is not None]
    return Proof(found.package, found.version, min(worst) if worst else None, p50_ms)


def _differ(found: Verification) -> str:
    outputs = [*found.outputs, *(o for size in found.sizes for o in size.outputs)]
    if not all(o.finite for o in outputs):
        return "are not finite there"
    worst = min((o.snr_db for o in outputs if o.snr_db is not None), default=None)
    have = "have no signal" if worst is None else f"have an SNR of {worst:.1f} dB"
    return f"{have} against the host's, {found.min_snr_db:g} dB wanted ({found.package} {found.version or ''})".strip()


def _refused(device: Device, artifact: Artifact, why: str) -> ActivationRefusedError:
    return ActivationRefusedError(
        f"{artifact.title} ({artifact.short_id}) did not become current on {device.target.name}: {why}. "
        "What was current there still is.",
        remedy=f"It is in the device's store: look with `edgekit verify {artifact.path} --on {device.target.name}`.",
    )

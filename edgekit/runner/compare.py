"""What "the same answer" means: one measure for every format, on the host and on the device.

Over all elements of all samples of one output: signal-to-noise ratio (signal: the reference; noise: the difference),
largest absolute error, cosine similarity; over samples: how often the largest element of the last axis is the same
(top-1 agreement, `None` where the last axis has fewer than two elements).
"""

from __future__ import annotations

import math
from typing import Any


def compare(reference: Any, candidate: Any) -> dict[str, Any]:
    """Compares two arrays of the same shape `(n, ...)`; returns a dict of plain numbers, see the module.

    `snr_db` is None where the two are equal to the bit (`exact`), and where the reference is all zeros or an output
    is not finite.
    """
    import numpy as np

    if reference.shape != candidate.shape:
        raise ValueError("shapes differ: %s against %s" % (reference.shape, candidate.shape))
    a = np.asarray(reference, dtype=np.float64)
    b = np.asarray(candidate, dtype=np.float64)
    finite = bool(np.isfinite(b).all())
    exact = bool(np.array_equal(a, b))
    result: dict[str, Any] = {
        "samples": int(a.shape[0]),
        "finite": finite,
        "exact": exact,
        "snr_db": None,
        "max_abs_error": None,
        "cosine": None,
        "top1_agreement": None,
    }
    if finite and np.isfinite(a).all():
        noise = float(np.sum((a - b) ** 2))
        signal = float(np.sum(a**2))
        norm = math.sqrt(signal) * float(np.linalg.norm(b))
        result["max_abs_error"] = float(np.max(np.abs(a - b))) if a.size else 0.0
        result["cosine"] = float(np.sum(a * b)) / norm if norm > 0 else None
        if noise > 0 and signal > 0:
            result["snr_db"] = 10.0 * math.log10(signal / noise)
    if a.ndim >= 2 and a.shape[-1] >= 2:
        result["top1_agreement"] = float(np.mean(np.argmax(a, axis=-1) == np.argmax(b, axis=-1)))
    return result


def at_least(result: dict[str, Any], min_snr_db: float) -> bool:
    """Whether a comparison is good enough: finite, and equal or with an SNR of at least `min_snr_db`."""
    if not result["finite"]:
        return False
    return bool(result["exact"] or (result["snr_db"] is not None and result["snr_db"] >= min_snr_db))

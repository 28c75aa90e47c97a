"""The application of `make demo-telemetry`, as it runs on the device: reads digits, reports what it sees and answers.

    python3 demo_application.py ROOT COLLECTOR TOKEN WHAT IMAGES.npy

It finds the model with edgekit-device and reports with edgekit-report, both in ROOT/bin; beside them it needs NumPy and
LiteRT, and nothing of the rest of EdgeKit. WHAT is what went wrong with the camera: it names the devices and their
cohort. Five boards are played by one program, one after the other, each with a state and an identity of its own.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

DEVICES = 5


def main(root: str, collector: str, token: str, what: str, images_file: str) -> None:
    """Sees every image once, a fifth of them on each board."""
    sys.path[:0] = [os.path.join(root, "bin", name) for name in ("edgekit-device.pyz", "edgekit-report.pyz")]
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    edgekit_device, edgekit_reporter = map(importlib.import_module, ("edgekit_device", "edgekit_reporter"))
    images = np.load(images_file)
    with edgekit_device.open_model("digits_cnn", root) as model:
        interpreter = Interpreter(model.payload)
        interpreter.allocate_tensors()
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        model.healthy()
        for number, some in enumerate(np.array_split(images, DEVICES)):
            name = f"{what}-{number}"
            with edgekit_reporter.Reporter.open(
                model.folder, collector=collector, token=token, device=name,
                state=os.path.join(root, "state", name), labels={"cohort": what},
            ) as reporter:  # fmt: skip
                for image in some:
                    begun = time.monotonic_ns()
                    interpreter.set_tensor(taken["index"], _to(taken, image[None]))
                    interpreter.invoke()
                    scores = _from(given, interpreter.get_tensor(given["index"]))
                    reporter.observe(image, scores[0], latency_ns=time.monotonic_ns() - begun)
                drift = reporter.drift()
            moved = ", ".join(one.feature for one in drift.features if one.verdict == "drift")
            print(f"{name} saw {len(some)} images; the board itself says: {moved or 'as it was made for'}")


def _to(detail: dict[str, Any], values: Any) -> Any:
    """Real values as the payload stores them."""
    import numpy as np

    scale, zero = detail["quantization"]
    stored = np.asarray(values).reshape(detail["shape"])
    if not scale:
        return stored.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(stored / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _from(detail: dict[str, Any], stored: Any) -> Any:
    import numpy as np

    scale, zero = detail["quantization"]
    return (np.asarray(stored, dtype=np.float32) - zero) * scale if scale else np.asarray(stored)


if __name__ == "__main__":
    main(*sys.argv[1:])

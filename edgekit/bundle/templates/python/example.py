"""Runs the model once on a golden input, and counts what it saw with the reporter where there is a reference."""

from __future__ import annotations

import os
import sys
import tempfile
import time

import numpy as np
import PACKAGE

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(PACKAGE.__file__)), "edgekit_reporter.pyz"))

from edgekit_reporter import Reporter


def main() -> None:
    model = PACKAGE.Model.open()
    golden = model.manifest["golden"]["inputs"]
    inputs = [np.load(os.path.join(model.folder, name))[0] for name in golden]
    # In a program of yours: a folder that stays, and collector= and token= of yours.
    with tempfile.TemporaryDirectory() as state:
        known = {"artifact": model.folder} if model.manifest.get("reference", {}).get("file") else {}
        name = model.manifest["model"]
        reporter = Reporter.open(known.get("artifact"), model=None if known else name, state=state, background=False)
        begun = time.monotonic_ns()
        outputs = model(*inputs)
        seen = {spec["name"]: value for spec, value in zip(model.manifest["inputs"], inputs)}
        answered = {spec["name"]: value for spec, value in zip(model.manifest["outputs"], outputs)}
        reporter.observe(seen, answered, latency_ns=time.monotonic_ns() - begun)
        reporter.close()
    print("variant %s" % model.variant)
    for name, value in outputs._asdict().items():
        largest, labels = int(value.argmax()), PACKAGE.LABELS.get(name)
        label = " (%s)" % labels[largest % len(labels)] if labels else ""
        print("%s: %s, largest at %d%s" % (name, value.shape, largest, label))


if __name__ == "__main__":
    main()

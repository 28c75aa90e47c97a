"""A web bundle in a browser beside the host: answers against the golden ones, and latency, measured in turn.

    edgekit convert models/digits_cnn --to tflite:float32 --to tflite:int8
    python -m benchmarks.web_bundle ARTIFACT... --pairs 5

In the browser (headless Chromium, LiteRT.js on one thread, a cross-origin isolated page for a clock of 5 µs) a run
includes quantization and the copies to and from wasm. On the host a run is the runner's session: the same work in
Python, LiteRT on one thread. A ratio is taken within a pair. Nothing here is a stored run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from report import machine, spread

from edgekit.artifact import Artifact, open_artifact
from edgekit.bundle import write_bundle
from edgekit.runner.runtimes import litert
from edgekit.runner.session import get_sample, set_sample
from tests import npm
from tests.browser import chromium
from tests.bundle.web.serving import BundleServer

IN_THE_PAGE = """async (count) => {
    const { load } = await import("./index.js");
    const { checkGolden, timeRuns } = await import("./golden.js");
    const begun = performance.now();
    const model = await load();
    const loading = performance.now() - begun;
    const report = await checkGolden(model, "./");
    const times = await timeRuns(model, "./", count, Math.ceil(count / 5));
    model.close();
    return { loading, report, times, isolated: crossOriginIsolated };
}"""


def in_browser(browser: Any, server: BundleServer, count: int) -> dict[str, Any]:
    """One block in a fresh page."""
    context = browser.new_context()
    try:
        tab = context.new_page()
        tab.goto(f"{server.home}empty.html")
        found: dict[str, Any] = tab.evaluate(IN_THE_PAGE, count)
        assert found["isolated"]
        return found
    finally:
        context.close()


def on_host(session: Any, artifact: Artifact, count: int) -> list[float]:
    """Milliseconds of each of `count` runs of the golden inputs."""
    inputs = [np.load(artifact.path / name) for name in artifact.manifest.golden.inputs]
    times = []
    warm_up = -(-count // 5)
    for k in range(warm_up + count):
        sample = [array[k % len(array)] for array in inputs]
        begun = time.perf_counter()
        set_sample(session, sample)
        session.invoke()
        get_sample(session)
        times.append(1e3 * (time.perf_counter() - begun))
    return times[warm_up:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=200, help="runs in a block")
    arguments = parser.parse_args()
    os.environ.setdefault("EDGEKIT_CACHE", str(Path.home() / ".cache" / "edgekit"))
    modules = npm.node_modules()
    with chromium() as browser, tempfile.TemporaryDirectory() as temporary:
        print(f"{machine('ai-edge-litert')}, Chromium {browser.version}, LiteRT.js 2.5.3")
        print(f"\n{'':24} {'parity':22} {'p50 browser, ms':24} {'p50 host, ms':24} {'ratio in a pair':24} loading, ms")
        for i, path in enumerate(arguments.artifacts):
            artifact = open_artifact(path)
            bundle = Path(temporary) / str(i)
            write_bundle([artifact], "web", bundle)
            server = BundleServer(bundle, modules)
            check = (bundle / "check.html").read_text()
            server.lies["empty.html"] = check[: check.index("<h1>")].encode()  # with its import map, and nothing run
            try:
                print_line(artifact, browser, server, arguments.pairs, arguments.count)
            finally:
                server.close()


def print_line(artifact: Artifact, browser: Any, server: BundleServer, pairs: int, count: int) -> None:
    """One artifact's line."""
    manifest = artifact.manifest
    session = litert.load(str(artifact.path / manifest.payload), 1, msgspec.to_builtins(manifest.bindings))
    there, here, loading, parity = [], [], [], ""
    for _ in range(pairs):
        found = in_browser(browser, server, count)
        here.append(median(on_host(session, artifact, count)))
        there.append(median(found["times"]))
        loading.append(found["loading"])
        worst = [row["snrDb"] for row in found["report"]["outputs"] if row["snrDb"] is not None]
        parity = f"{min(worst):.1f} dB" if worst else "to the bit"
        parity += f", floor {found['report']['minSnrDb']:g} dB" + ("" if found["report"]["passed"] else ": FAILED")
    ratios = [a / b for a, b in zip(there, here, strict=True)]
    print(
        f"{artifact.title:24} {parity:22} {spread(there):24} {spread(here):24} {spread(ratios, 2):24} "
        f"{spread(loading, 0)}"
    )


if __name__ == "__main__":
    main()

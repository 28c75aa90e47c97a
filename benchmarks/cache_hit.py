"""Converting a model by five recipes, and converting it again with nothing changed.

    python benchmarks/cache_hit.py [MODEL] [--again 10]

Each call is a process of its own: `edgekit convert MODEL --to tflite:float32 ... --json`, in a cache and an output
folder that were empty before the first. Prints wall seconds of the first call and of those after it, and checks that
every artifact of the later calls came from the cache. Goal: less than 1 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import machine, spread

PRECISIONS = ("float32", "float16", "dynamic-int8", "weight-int8", "int8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="models/crepe_tiny")
    parser.add_argument("--again", type=int, default=10)
    options = parser.parse_args()
    print(machine("litert-torch", "torch"))
    with tempfile.TemporaryDirectory() as name:
        first, cached = _convert(options.model, Path(name))
        if any(cached):
            raise SystemExit("the first call found something in an empty cache")
        later = []
        for _ in range(options.again):
            seconds, cached = _convert(options.model, Path(name))
            if not all(cached):
                raise SystemExit("a later call converted again")
            later.append(seconds)
    print(f"\n{options.model}, {len(PRECISIONS)} recipes, wall seconds")
    print(f"first call    {first:.2f}")
    print(f"again         {spread(later)}: median (min to max) of {options.again}")


def _convert(model: str, folder: Path) -> tuple[float, list[bool]]:
    """Wall seconds of one call, and for each recipe whether it came from the cache."""
    recipes = [word for precision in PRECISIONS for word in ("--to", f"tflite:{precision}")]
    command = [sys.executable, "-m", "edgekit", "convert", model, *recipes, "--out", str(folder / "out"), "--json"]
    environment = {**os.environ, "EDGEKIT_CACHE": str(folder / "cache")}
    began = time.perf_counter()
    answer = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    return seconds, [result["cached"] for result in json.loads(answer.stdout)["results"]]


if __name__ == "__main__":
    main()

"""`edgekit tune` against choosing by hand: who ends up with the faster artifact, and how long each takes.

    python benchmarks/tune_by_hand.py models/digits_cnn models/crepe_tiny [--on local] [--hand FORMAT:PRECISION ...]

By hand: one artifact of each format that the target runs, in float32, and TFLite in int8, which is what guides tell one
to try; each is benchmarked once with the defaults, and the one with the lowest p50 is taken. `tune` has every recipe.
Then both winners take turns in a gate on the target. Conversions are part of both times; a cache that already has them
makes both shorter, so EDGEKIT_CACHE is a fresh folder for each. Goal: the ratio tune / hand is never above 1.03.
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
from typing import Any

from report import machine

HAND = ("tflite:float32", "tflite:int8", "onnx:float32", "executorch:float32", "torchscript:float32")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--on", default="local")
    parser.add_argument("--hand", nargs="+", default=list(HAND))
    options = parser.parse_args()
    print(machine("ai-edge-litert"))
    print("\n| model | by hand | `tune` | tune / hand, interval | verdict | minutes by hand | minutes of tune |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            print(_row(model, options.on, options.hand, Path(folder)), flush=True)


def _row(model: Path, target: str, recipes: list[str], folder: Path) -> str:
    hand, hand_s = _by_hand(model, target, recipes, folder)
    began = time.monotonic()
    out = ["--out", str(folder / "tuned"), "--results", str(folder / "results")]
    tuned = _edgekit(["tune", str(model), "--on", target, *out], folder / "cache-tune")
    tune_s = time.monotonic() - began
    winner = folder / "tuned" / model.name / f"tuned-{Path(target).stem}"
    pair = [str(winner), "--against", str(hand), "--on", target, "--out", str(folder / "results")]
    verdict = _edgekit(["gate", *pair], folder / "cache-tune")["comparison"]["verdict"]
    recipe, interval = tuned["winner"]["recipe"], verdict["interval"] or {"ratio": 0, "low": 0, "high": 0}
    return (
        f"| {model.name} | {hand.name} | {recipe['format']}:{recipe['precision']} | {interval['ratio']:.3f} "
        f"({interval['low']:.3f} to {interval['high']:.3f}) | {verdict['outcome']} | {hand_s / 60:.1f} | "
        f"{tune_s / 60:.1f} |"
    )


def _by_hand(model: Path, target: str, recipes: list[str], folder: Path) -> tuple[Path, float]:
    began, out = time.monotonic(), folder / "hand"
    wanted = [word for recipe in recipes for word in ("--to", recipe)]
    made = _edgekit(["convert", str(model), *wanted, "--out", str(out)], folder / "cache-hand")
    names = {recipe: out / model.name / recipe.replace(":", "-") for recipe in recipes}
    paths = [path for path in names.values() if path.exists()]
    if not paths:
        raise SystemExit(f"nothing was converted by hand: {made}")
    run = _edgekit(["bench", *map(str, paths), "--on", target, "--out", str(folder / "results")], folder / "cache-hand")
    runs = [one["run"] for one in run["runs"]]
    best = min(runs, key=lambda one: one["summary"]["p50"]["value_ns"])["recipe"]
    return names[f"{best['format']}:{best['precision']}"], time.monotonic() - began


def _edgekit(arguments: list[str], cache: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments, "--json"], stdout=subprocess.PIPE, check=False,
        env={**os.environ, "EDGEKIT_CACHE": str(cache)},
    )  # fmt: skip
    if not done.stdout:
        raise SystemExit(f"edgekit {' '.join(arguments)} ended with {done.returncode}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


if __name__ == "__main__":
    main()

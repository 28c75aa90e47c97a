"""`make demo`: the main job, with the very commands that a user types.

Two real models become float32 and int8, are proven, pushed over SSH to a device, measured and reported. The device is
an sshd of our own on loopback, with keys of its own, that ends with the demo; where no sshd is installed the `local`
target takes its place, and that is said.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.errors import EdgeKitError

MODELS = ("crepe_tiny", "digits_cnn")
PRECISIONS = ("float32", "int8")
FOLDER = Path("build/demo")


def main() -> int:
    """Runs the demo in the repository's root; returns the exit status."""
    console = Console(highlight=False)
    began = time.monotonic()
    recipes = [word for precision in PRECISIONS for word in ("--to", f"tflite:{precision}")]
    artifacts = [f"artifacts/{model}/tflite-{precision}" for model in MODELS for precision in PRECISIONS]
    with ExitStack() as stack:
        target = _device(console, stack)
        commands = [["convert", f"models/{model}", *recipes] for model in MODELS]
        commands += [["doctor", target]]
        commands += [["deploy", artifact, "--to", target] for artifact in artifacts if artifact.endswith("int8")]
        commands += [["status", target], ["bench", *artifacts, "--on", target, "--blocks", "2"]]
        for command in commands:
            status = _show(console, command)
            if status != 0 and command[0] != "doctor":
                console.print(f"[bold red]The demo stopped:[/] `edgekit {command[0]}` ended with status {status}.")
                return status
    console.print(
        f"\n[bold green]✓[/] Done in {time.monotonic() - began:.0f} s. The runs are in bench_results/demo/. Next:\n"
    )
    for text, why in (
        ("edgekit convert models/digits_cnn --to tflite:float16 --to tflite:dynamic-int8", "other precisions"),
        ("edgekit inspect artifacts/crepe_tiny/tflite-int8", "what is in an artifact"),
        ("edgekit convert net.pt2 --calibration data.npz --to tflite:int8", "your own model, from torch.export"),
        ("cp targets/raspberry-pi-4.toml targets/mine.toml", "your own device: edit, then edgekit doctor mine"),
    ):
        console.print(f"  {text}  [dim]# {why}[/]", soft_wrap=True)
    console.print("\n  [dim]The commands are in the environment of this folder: source .venv/bin/activate[/]")
    return 0


def _device(console: Console, stack: ExitStack) -> str:
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        sshd = stack.enter_context(ThrowawaySshd())
    except EdgeKitError as error:
        console.print(f"[yellow]No SSH device here:[/] {error} The `local` target takes its place.")
        return "local"
    path = sshd.write_target(FOLDER / "demo.toml", "demo", str((FOLDER / "device").resolve()))
    console.print(f"[bold]A device of our own:[/] sshd on loopback, port {sshd.port}, with keys of its own ({path})")
    return str(path)


def _show(console: Console, command: list[str]) -> int:
    console.print(f"\n[bold cyan]$ edgekit {shlex.join(command)}[/]", soft_wrap=True)
    return subprocess.run([sys.executable, "-m", "edgekit", *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

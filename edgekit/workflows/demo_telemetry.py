"""`make demo-telemetry`: the loop from a device back to the people, with the very commands that a user types.

A model is deployed with its reporter to a device of our own (an sshd on loopback). An application there reads
handwritten digits: first as they are, then through a camera that is noisy, one that is too bright, one that is stuck,
and with another mix of classes. A collector takes the counts in, the check names what changed and where, and the page
shows it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from edgekit.devices import connect, load_target
from edgekit.devices.scripts.files import RECEIVE
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.errors import EXIT_DONE, EXIT_FAILED_CHECK
from edgekit.workflows import demo_application
from edgekit.workflows.reporting import place_reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path("build/demo-telemetry")
MODEL, ARTIFACT = "models/digits_cnn", "artifacts/digits_cnn/tflite-int8"
STARTS_WITHIN_S = 60


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits, shuffled: images `(n, 1, 8, 8)` float32 from 0 to 1, and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(2).permutation(len(found.images))
    return (found.images[order] / 16).astype(np.float32)[:, None], found.target[order]


def cameras(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The same digits as each camera sees them, `(n, 1, 8, 8)` float32 from 0 to 1."""
    rng = np.random.default_rng(1)
    few = images[np.isin(labels, (1, 7))]
    return {
        "as-made-for": images,
        "noisy": np.clip(images + rng.normal(0, 0.25, images.shape), 0, 1).astype(np.float32),
        "too-bright": np.clip(images + 0.35, 0, 1).astype(np.float32),
        "only-1-and-7": few[rng.integers(0, len(few), len(images))],
        "stuck": np.repeat(images[:1], len(images), axis=0),
    }


def main() -> int:
    """Runs the demo in the repository's root; returns the exit status."""
    console = Console(highlight=False)
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)  # boards of an earlier run have keys of another collector
    FOLDER.mkdir(parents=True)
    database = FOLDER / "telemetry.db"
    with ExitStack() as stack:
        sshd = stack.enter_context(ThrowawaySshd())
        target = str(sshd.write_target(FOLDER / "board.toml", "board", str((FOLDER / "board").resolve())))
        for command in (["convert", MODEL, "--to", "tflite:int8"], ["deploy", ARTIFACT, "--to", target]):
            if status := _show(console, command):
                return status
        serve = ["telemetry", "serve", "--db", str(database), "--port", "0", "--admin-port", "0", "--check-every", "1h"]
        collector, page = stack.enter_context(_collector(console, serve))
        _show(console, ["telemetry", "register", ARTIFACT, "--db", str(database)])
        _stream(console, target, collector, database)
        check = ["telemetry", "check", "--db", str(database), "--model", "digits_cnn"]
        for cohort, wanted in (("", EXIT_FAILED_CHECK), ("as-made-for", EXIT_DONE), ("too-bright", EXIT_FAILED_CHECK)):
            status = _show(console, [*check, *(["--cohort", cohort] if cohort else [])])
            if status != wanted:
                console.print(f"[bold red]The demo failed:[/] the check ended with {status} and not with {wanted}.")
                return 1
        console.print(f"\n[bold green]✓[/] Done in {time.monotonic() - began:.0f} s. The page: [bold]{page}[/]")
        if sys.stdin.isatty():
            console.input("  Look at it, and press Enter to end the collector. ")
    console.print(f"  Again later: edgekit telemetry serve --db {database}  [dim]# then its address[/]", soft_wrap=True)
    return 0


def _stream(console: Console, target: str, collector: str, database: Path) -> None:
    """Runs the application on the device, once a camera."""
    images, labels = digits()
    with connect(load_target(target)) as device:
        console.print(f"\n[dim]The reporter lies at {place_reporter(device)} on the device.[/]", soft_wrap=True)
        program = device.path("application.py")
        device.script(
            RECEIVE, program, stdin=Path(demo_application.__file__).read_bytes(), step="placing the application"
        )
        for what, seen in cameras(images, labels).items():
            file = FOLDER / f"{what}.npy"
            np.save(file, seen)
            token = _json(["telemetry", "keys", "token", "--db", str(database), "--uses", "5", "--cohort", what])[
                "token"
            ]
            argv = [device.target.python, program, device.root, collector, token, what, str(file.resolve())]
            done = device.run(argv, timeout_s=300, step=f"running the application ({what})")
            console.print(done.stdout.decode().strip() or done.stderr.decode().strip(), soft_wrap=True)


@contextmanager
def _collector(console: Console, arguments: list[str]) -> Iterator[tuple[str, str]]:
    """`edgekit telemetry serve`, and the addresses of its two ports."""
    console.print(f"\n[bold cyan]$ edgekit {shlex.join(arguments)}[/]", soft_wrap=True)
    argv = [sys.executable, "-m", "edgekit", *arguments, "--json"]
    log = (FOLDER / "collector.log").open("wb")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        text = b""
        while not text.rstrip().endswith(b"}"):
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                raise SystemExit(f"The collector did not start: see {log.name}")
            text += part
        ports = json.loads(text)
        addresses = (f"http://127.0.0.1:{ports['port']}", f"http://127.0.0.1:{ports['admin_port']}")
        console.print(f"devices send to {addresses[0]}; the page is on {addresses[1]}")
        yield addresses
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STARTS_WITHIN_S)
        log.close()


def _show(console: Console, command: list[str]) -> int:
    console.print(f"\n[bold cyan]$ edgekit {shlex.join(command)}[/]", soft_wrap=True)
    return subprocess.run([sys.executable, "-m", "edgekit", *command], check=False).returncode


def _json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "edgekit", *command, "--json"], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())

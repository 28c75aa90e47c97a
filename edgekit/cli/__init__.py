"""The command line: one module a command. Parse, call, print; no logic.

A command's module is imported only when the command runs, so `edgekit --help` costs little more than click itself.
`main` is where every error ends: one paragraph on standard error (or one JSON document with `--json`), the exit status
from the table in README.md, no traceback.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import click

from edgekit.cli.lazy import LazyGroup

COMMANDS = {
    "convert": "Convert a model by one or more recipes, and prove every artifact.",
    "inspect": "Show what an artifact is, and how good it is.",
    "verify": "Check an artifact's files and its golden answers on this machine.",
    "devices": "List the project's targets, and which of them answer.",
    "targets": "Add, list and show targets; break a device's lock on purpose.",
    "doctor": "Tell what works on a target, what is missing, what will distort a measurement.",
    "provision": "Give a target the runtimes it needs, without internet there.",
    "deploy": "Put an artifact on a target and make it the current one.",
    "status": "Show which artifacts a target has.",
    "rollback": "Make the last good artifact of a model current again.",
    "rollout": "Bring an artifact to many devices in stages, and take it back if it fails there.",
    "release": "Release artifacts signed, to channels that devices follow.",
    "bundle": "Make of artifacts a folder to drop into an application.",
    "bench": "Measure artifacts on a target.",
    "evaluate": "Run a model's evaluation data on a target: its metric there, beside the one here.",
    "compare": "Compare stored runs: files, folders, or git revisions.",
    "history": "Find steps in a target's stored runs: when it became slower, and by how much.",
    "gate": "Judge an artifact against a baseline, both measured in turn on a device.",
    "tune": "Find the best artifact of a model for a target, inside limits.",
    "report": "Make a self-contained HTML report of stored runs, and its plots as files.",
    "telemetry": "Take in what models see on their devices, and tell when it drifts from the reference.",
}


@click.group(
    cls=LazyGroup, commands_of=COMMANDS, modules="edgekit.cli.{}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip
@click.version_option(package_name="edgekit")
def cli() -> None:
    """EdgeKit takes a trained model to real devices, proves every artifact, and measures it there.

    \b
    edgekit convert models/digits_cnn --to tflite:int8
    edgekit bench artifacts/digits_cnn/tflite-int8 --on local

    Every command takes --json. Exit status: 0 done; 1 an error; 2 wrong usage; 3 a regression or a failed
    verification; 4 inconclusive; 130 interrupted.
    """


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point of the `edgekit` program."""
    from edgekit.errors import EXIT_ERROR, EXIT_INTERRUPTED, EdgeKitError

    signal.signal(signal.SIGTERM, _terminate)  # ends like Ctrl-C does: workers killed, the device unlocked
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        status = error.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. Nothing half-written was left behind.", err=True)
        status = EXIT_INTERRUPTED
    except EdgeKitError as error:
        from edgekit.cli.output import print_error

        print_error(error, as_json="--json" in sys.argv)
        status = error.exit_status
    except BrokenPipeError:  # `edgekit ... | head`
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = EXIT_ERROR
    sys.exit(status if isinstance(status, int) else 0)

"""`edgekit telemetry`: what devices report, and whether it drifted. One module a command, `telemetry_NAME.py`."""

from __future__ import annotations

import click

from edgekit.cli.lazy import LazyGroup

COMMANDS = {
    "serve": "Run the collector: take in what devices report.",
    "register": "Tell the collector what a model's windows are counted over.",
    "keys": "Say which devices may report: tokens, keys, revocation.",
    "reference": "Make a drift reference from recorded data.",
    "check": "Tell whether what a model sees has drifted, what moved, and since when.",
    "flagged": "Tell what to collect and label next, and take back how good the model was.",
    "package": "Pack the reporter alone, for devices without EdgeKit.",
    "export": "Export the counts: Parquet, OpenTelemetry, ClickHouse.",
}
"""Help by name: a command is a line here and `edgekit/cli/telemetry_NAME.py` with its `command`."""


@click.group(cls=LazyGroup, name="telemetry", commands_of=COMMANDS, modules="edgekit.cli.telemetry_{}")
def command() -> None:
    """What models see and answer on their devices: take it in, and tell when it drifts.

    Every command takes --json.
    """

"""Options that the commands of `edgekit telemetry` share. (No command of its own.)"""

from __future__ import annotations

from pathlib import Path

import click

database_option = click.option(
    "--db", "database", envvar="EDGEKIT_TELEMETRY_DB", default="telemetry.db", show_default=True, metavar="URL",
    help="The collector's database: a file, or postgresql://user@host/name. Also $EDGEKIT_TELEMETRY_DB.",
)  # fmt: skip
key_file_option = click.option(
    "--key-file", type=click.Path(path_type=Path, dir_okay=False), envvar="EDGEKIT_TELEMETRY_KEY_FILE", metavar="FILE",
    help="File with the master key that devices' keys are derived from; made if it is missing.  [default: DB.key]",
)  # fmt: skip

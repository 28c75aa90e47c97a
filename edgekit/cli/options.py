"""Options that commands on devices share. (No command of its own.)"""

from __future__ import annotations

from pathlib import Path

import click

targets_option = click.option(
    "--targets", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("targets"),
    show_default=True, help="Folder with the target files.",
)  # fmt: skip
wait_option = click.option(
    "--wait", "wait_s", type=click.FloatRange(min=0), default=0.0, show_default=True,
    help="Seconds to wait for a device that somebody else has locked.",
)  # fmt: skip

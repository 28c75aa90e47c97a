"""`edgekit telemetry keys`: tokens to enrol devices with, their keys, revocation."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import Duration
from edgekit.cli.output import json_option
from edgekit.cli.telemetry_options import database_option, key_file_option

if TYPE_CHECKING:
    from edgekit.telemetry.collector.keys import Keys


@click.group("keys")
def command() -> None:
    """Say which devices may report: tokens, keys, revocation. Every one of them takes --json."""


def _keys(database: str, key_file: Path | None) -> Keys:
    from edgekit.telemetry.collector.keys import Keys, MasterKeys
    from edgekit.telemetry.collector.reading import open_store
    from edgekit.telemetry.collector.server import key_file_of

    store = open_store(database)
    return Keys(store.database, MasterKeys.load(key_file or key_file_of(database)))


@command.command("token")
@database_option
@key_file_option
@click.option("--uses", default=1, show_default=True, type=click.IntRange(1), help="How many devices it takes in.")
@click.option("--valid", type=Duration(), default="24h", show_default=True, help="For how long.")
@click.option("--cohort", default="", help="The cohort that they belong to.")
@json_option
def token_command(database: str, key_file: Path | None, uses: int, valid: float, cohort: str, *, as_json: bool) -> None:
    """Make a token that devices enrol themselves with. It is shown once."""
    from edgekit.cli import output

    token = _keys(database, key_file).new_token(uses=uses, valid_s=int(valid), cohort=cohort)
    if as_json:
        output.print_json("telemetry keys token", token=token, uses=uses, valid_s=int(valid), cohort=cohort)
    else:
        click.echo(token)


@command.command("add")
@click.argument("device")
@database_option
@key_file_option
@click.option("--cohort", help="The cohort that the device belongs to.  [default: as before, or none]")
@json_option
def add_command(device: str, database: str, key_file: Path | None, cohort: str | None, *, as_json: bool) -> None:
    """Make a key for DEVICE, beside those that it has. It is shown once."""
    from edgekit.cli import output

    issued = _keys(database, key_file).add(device, cohort=cohort)
    fields = {"device": issued.device, "key_id": issued.key_id, "key": base64.b64encode(issued.key).decode()}
    if as_json:
        output.print_json("telemetry keys add", **fields)
    else:
        output.print_table("a new key", ["device", "key id", "key (base64)"], [list(fields.values())])


@command.command("list")
@click.argument("device", required=False)
@database_option
@key_file_option
@json_option
def list_command(device: str | None, database: str, key_file: Path | None, *, as_json: bool) -> None:
    """List the keys of DEVICE, or of all: which are in use, which are revoked."""
    from edgekit.cli import output

    rows = _keys(database, key_file).rows(device)
    if as_json:
        output.print_json("telemetry keys list", keys=rows)
        return
    columns = ["device", "cohort", "key id", "made", "revoked"]
    cells = [
        [each.device, each.cohort or "–", each.key_id, _day(each.created_s), _day(each.revoked_s)] for each in rows
    ]
    output.print_table("keys", columns, cells)


@command.command("revoke")
@click.argument("device_or_key_id")
@database_option
@key_file_option
@click.option("--key-id", "by_id", is_flag=True, help="The argument is a key id; only that key goes.")
@json_option
def revoke_command(device_or_key_id: str, database: str, key_file: Path | None, by_id: bool, *, as_json: bool) -> None:
    """Revoke all keys of a device, or one key. Nothing that they sign is taken from then on."""
    from edgekit.cli import output

    chosen = {"key_id": device_or_key_id} if by_id else {"device": device_or_key_id}
    revoked = _keys(database, key_file).revoke(**chosen)
    if as_json:
        output.print_json("telemetry keys revoke", revoked=revoked)
    else:
        click.echo(f"revoked: {', '.join(revoked)}")


def _day(seconds: int | None) -> str:
    return "–" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))

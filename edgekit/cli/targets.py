"""`edgekit targets`: list, show, add, unlock."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import output
from edgekit.cli.options import targets_option
from edgekit.cli.output import json_option
from edgekit.errors import EXIT_ERROR


@click.group("targets")
def command() -> None:
    """Add, list and show targets, and break a device's lock on purpose. Every one of them takes --json."""


@command.command("list")
@targets_option
@json_option
def list_command(folder: Path, *, as_json: bool) -> None:
    """List the project's targets, without asking them anything (`edgekit devices` does)."""
    from edgekit.devices import list_targets, load_target

    found = [load_target(str(path)) for path in list_targets(folder)]
    if as_json:
        output.print_json("targets list", targets=found)
        return
    rows = [[t.name, t.transport, t.description, ", ".join(t.labels)] for t in found]
    output.print_table("targets", ["target", "transport", "description", "labels"], rows)


@command.command("show")
@click.argument("target")
@targets_option
@json_option
def show_command(target: str, folder: Path, *, as_json: bool) -> None:
    """Show every setting of TARGET, defaults included."""
    import msgspec

    from edgekit.devices import load_target

    found = load_target(target, folder)
    if as_json:
        output.print_json("targets show", target=found)
        return
    rows = []
    for key, value in msgspec.to_builtins(found).items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        rows += [
            [f"{key}.{name}" if name else key, "–" if setting is None else str(setting)] for name, setting in inner
        ]
    output.print_table(found.name, ["key", "value"], rows)


@command.command("add")
@click.argument("name")
@click.argument("address")
@click.option("--identity-file", metavar="FILE", help="The private key; by default your usual ones, then the agent.")
@click.option("--fingerprint", metavar="SHA256:...", help="The host key that the device must have; it is then pinned.")
@click.option("--accept-host-key", "accept", is_flag=True, help="Pin whatever host key is presented, unseen.")
@click.option("--force", is_flag=True, help="Replace a target file that is there.")
@targets_option
@json_option
def add_command(
    name: str,
    address: str,
    identity_file: str | None,
    fingerprint: str | None,
    accept: bool,
    force: bool,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Write targets/NAME.toml by asking the device at ADDRESS: ssh://user@host[:port] or adb:SERIAL."""
    from edgekit.devices.introduction import confirm_host_key, introduce, read_address, write_target
    from edgekit.errors import TargetError

    path = folder / f"{name}.toml"
    if path.exists() and not force:
        raise TargetError(f"{path} exists.", remedy="Choose another name, or replace it with --force.")
    target = read_address(name, address, identity_file)
    if target.ssh is not None:
        target = confirm_host_key(target, folder, expected=fingerprint, accept=accept)
    told = introduce(target)
    written = write_target(target, told, path, overwrite=force)
    if as_json:
        output.print_json("targets add", file=str(path), target=written, device=told)
        return
    output.console().print(f"[green]✓[/] {path}: {written.description}; next: edgekit doctor {name}")


@command.command("unlock")
@click.argument("target")
@click.option("--yes", is_flag=True, help="Do it. Without it, only who holds the lock is told.")
@targets_option
@json_option
@click.pass_context
def unlock_command(ctx: click.Context, target: str, folder: Path, yes: bool, *, as_json: bool) -> None:
    """Break the lock on TARGET: for a holder that is gone for good, before its lease ends."""
    from edgekit.devices import connect, load_target
    from edgekit.devices.lock import holder, unlock

    found_target = load_target(target, folder)
    with connect(found_target) as device:
        found = holder(device)
        broken = found is not None and yes and unlock(device, found)
    if as_json:
        output.print_json("targets unlock", target=found_target.name, holder=found, broken=broken)
    elif found is None:
        output.console().print(f"[green]✓[/] nobody has locked {found_target.name}")
    elif broken:
        output.console().print(f"[green]✓[/] the lock is broken: {found_target.name} was {found.told}")
    else:
        why = "by now it is somebody else's" if yes else "if they are gone for good, break the lock with --yes"
        output.log().print(f"{found_target.name} is {found.told}; {why}")
    if found is not None and not broken:
        ctx.exit(EXIT_ERROR)

"""`edgekit release`: a signed repository of artifacts, from its keys to the devices that follow it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli import output
from edgekit.cli.options import locked, targets_option, wait_option
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.deploy.on_device.trust import Release
    from edgekit.deploy.releases import Key, Repository, Roles

_PASSPHRASE = "EDGEKIT_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
_path = click.Path(path_type=Path)
_repository = click.argument("repository", type=_path)
_keys = click.option(
    "--key", "keys", type=_path, multiple=True, required=True, help="A private key, NAME.pem. Repeatable."
)


@click.group("release")
def command() -> None:
    """Release artifacts signed, to channels that devices follow. Every one of them takes --json.

    A change is staged (create, promote, role), signed by the keys that its role asks for, and published.
    """


@command.command("key")
@click.argument("file", type=_path)
@click.option("--no-passphrase", is_flag=True, help="Leave it readable to whoever can read the file, as for CI.")
@json_option
def key_command(file: Path, *, no_passphrase: bool, as_json: bool) -> None:
    """Make a new key: FILE (NAME.pem), and NAME.pub.json beside it for others."""
    from edgekit.deploy.releases import generate_key

    passphrase = None if no_passphrase else _passphrase(file, confirm=True)
    public = generate_key(file, passphrase)
    if as_json:
        output.print_json("release key", name=public.name, id=public.id)
        return
    output.console().print(f"[green]✓[/] {file} and {file.with_suffix('.pub.json')} (key {public.id[:12]})")


@command.command("init")
@_repository
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="ROLE=FILE", help="A public key of a role. Repeatable."
)
@click.option("--threshold", "thresholds", multiple=True, metavar="ROLE=N", help="How many must sign.  [default: 1]")
@json_option
def init_command(repository: Path, keys: tuple[str, ...], thresholds: tuple[str, ...], *, as_json: bool) -> None:
    """Stage a new REPOSITORY. Roles: root, targets, snapshot, timestamp, and one a channel, such as beta or stable."""
    from edgekit.deploy.releases import create_repository

    _show(create_repository(repository, _roles(keys, thresholds)), "release init", as_json=as_json)


@command.command("create")
@_repository
@click.argument("artifacts", type=_path, nargs=-1, required=True)
@click.option("--channel", required=True, help="Where it is released, such as beta.")
@click.option("--notes", default="", help="What is new, for people.")
@json_option
def create_command(repository: Path, artifacts: tuple[Path, ...], channel: str, notes: str, *, as_json: bool) -> None:
    """Stage a release of one model's ARTIFACTS, best first: a device takes the first that it can run."""
    from edgekit.artifact import open_artifact
    from edgekit.deploy.releases import open_repository
    from edgekit.deploy.releases.changes import stage_release

    found = open_repository(repository)
    release = stage_release(found, channel, [open_artifact(path) for path in artifacts], notes)
    _show(found, "release create", as_json=as_json, release=release)


@command.command("promote")
@_repository
@click.argument("model")
@click.option("--from", "source", required=True, metavar="CHANNEL", help="Where it was released and tried.")
@click.option("--to", "destination", required=True, metavar="CHANNEL", help="Where it is going to be released.")
@json_option
def promote_command(repository: Path, model: str, source: str, destination: str, *, as_json: bool) -> None:
    """Stage in one channel what another has published of MODEL: the same artifacts, to the bit."""
    from edgekit.deploy.releases import open_repository
    from edgekit.deploy.releases.changes import promote

    found = open_repository(repository)
    release = promote(found, model, source, destination)
    _show(found, "release promote", as_json=as_json, release=release)


@command.command("role")
@_repository
@click.argument("role")
@click.option(
    "--key", "keys", type=_path, multiple=True, required=True, help="A public key, NAME.pub.json. Repeatable."
)
@click.option("--threshold", type=int, default=1, show_default=True, help="How many of them must sign.")
@json_option
def role_command(repository: Path, role: str, keys: tuple[Path, ...], threshold: int, *, as_json: bool) -> None:
    """Stage another set of keys for ROLE: those that are not named are revoked. A new name is a new channel."""
    from edgekit.deploy.releases import Roles, open_repository, read_public_key
    from edgekit.deploy.releases.changes import stage_role

    found = open_repository(repository)
    stage_role(found, role, Roles(tuple(map(read_public_key, keys)), threshold))
    _show(found, "release role", as_json=as_json)


@command.command("sign")
@_repository
@_keys
@json_option
def sign_command(repository: Path, keys: tuple[Path, ...], *, as_json: bool) -> None:
    """Sign what is staged in REPOSITORY, wherever these keys are trusted."""
    from edgekit.deploy.releases import open_repository

    found = open_repository(repository)
    found.sign(_open(keys))
    _show(found, "release sign", as_json=as_json)


@command.command("publish")
@_repository
@_keys
@json_option
def publish_command(repository: Path, keys: tuple[Path, ...], *, as_json: bool) -> None:
    """Publish what is staged and signed, with the keys of snapshot and timestamp; or renew these two."""
    from edgekit.deploy.releases import open_repository

    found = open_repository(repository)
    found.publish(_open(keys))
    _show(found, "release publish", as_json=as_json)


@command.command("status")
@_repository
@json_option
def status_command(repository: Path, *, as_json: bool) -> None:
    """Show every role of REPOSITORY: its version, until when it is valid, who signed, and who is missing."""
    from edgekit.deploy.releases import open_repository

    _show(open_repository(repository), "release status", as_json=as_json)


@command.command("follow")
@click.argument("target")
@click.option("--repository", type=_path, required=True, help="A trustworthy copy of the repository, here.")
@click.option("--url", required=True, help="The address by which the device reaches it: http, https or file.")
@click.option("--channel", required=True, help="Such as stable.")
@click.option("--recipe", "recipes", multiple=True, help="Take only this, such as tflite:int8. Repeatable.")
@targets_option
@wait_option
@json_option
def follow_command(
    target: str, repository: Path, url: str, channel: str, recipes: tuple[str, ...], folder: Path, wait_s: float,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Make TARGET pull a channel's releases by itself; it begins to trust the repository's newest root.

    There, `python3 ROOT/bin/edgekit-device.pyz pull MODEL` does it, by hand or from a timer. It needs the package tuf.
    """
    from edgekit.deploy.device_program import follow
    from edgekit.deploy.on_device.pull import Config
    from edgekit.deploy.releases import open_repository
    from edgekit.devices import connect, load_target

    root = open_repository(repository).root_bytes()
    with connect(load_target(target, folder)) as device, locked(device, "release follow", wait_s):
        program = follow(device, root, Config(url, channel, recipes))
    if as_json:
        output.print_json("release follow", target=device.target.name, url=url, channel=channel, program=program)
        return
    output.console().print(f"[green]✓[/] {device.target.name} follows {channel} of {url}: {program} pull MODEL")


@command.command("push")
@click.argument("url")
@click.argument("model")
@click.option("--channel", required=True, help="Such as stable.")
@click.option("--root", "root_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True,
              help="The root metadata that trust begins with: N.root.json of a trustworthy copy.")  # fmt: skip
@click.option("--recipe", help="Take this one, such as tflite:int8.  [default: the first that fits]")
@click.option("--to", "target", required=True, metavar="TARGET", help="A name in the targets folder, or a .toml file.")
@targets_option
@wait_option
@json_option
def push_command(
    url: str, model: str, channel: str, root_file: Path, recipe: str | None, target: str, folder: Path, wait_s: float,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Deploy what a channel of the repository at URL has of MODEL, by the signatures by which devices pull."""
    from edgekit.devices import connect, load_target
    from edgekit.workflows.push_release import push_release, released

    address = url if "://" in url else Path(url).resolve().as_uri()
    repository, release = released(address, root_file.read_bytes(), channel, model)
    with connect(load_target(target, folder)) as device, locked(device, "release push", wait_s):
        result = push_release(device, repository, release, recipe)
    if as_json:
        output.print_json("release push", target=device.target.name, release=release._asdict(), deployment=result)
        return
    output.console().print(
        f"[green]✓[/] {device.target.name} has release {release.number} of {model} ({channel}): "
        f"{result.artifact_id[:12]}, {output.size(result.sent_bytes)} sent"
    )


def _roles(keys: Sequence[str], thresholds: Sequence[str]) -> dict[str, Roles]:
    from edgekit.deploy.releases import Roles, read_public_key

    named = [_pair(text, "--key ROLE=FILE") for text in keys]
    counts = dict(_pair(text, "--threshold ROLE=N") for text in thresholds)
    if wrong := [text for text in counts.values() if not text.isdigit()]:
        raise click.UsageError(f"{wrong[0]!r} is no number of signatures.")
    if unknown := sorted(set(counts) - {role for role, _ in named}):
        raise click.UsageError(f"--threshold names {unknown[0]}, which has no --key.")
    return {
        role: Roles(
            tuple(read_public_key(Path(file)) for name, file in named if name == role), int(counts.get(role, "1"))
        )
        for role in dict.fromkeys(role for role, _ in named)
    }


def _pair(text: str, form: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise click.UsageError(f"{text!r} is not of the form {form}.")
    return name, value


def _open(paths: Sequence[Path]) -> list[Key]:
    """The private keys; asks for the passphrase of those that have one."""
    from edgekit.deploy.releases import read_key

    return [read_key(path, _passphrase(path) if _is_encrypted(path) else None) for path in paths]


def _is_encrypted(path: Path) -> bool:
    try:
        return b"ENCRYPTED" in path.read_bytes()[:200]
    except OSError:
        return False  # read_key tells what is wrong with it


def _passphrase(path: Path, *, confirm: bool = False) -> bytes:
    given = os.environ.get(_PASSPHRASE)
    if given is None and not sys.stdin.isatty():
        raise click.UsageError(f"{path} needs a passphrase: set {_PASSPHRASE}, or run this in a terminal.")
    return (given if given is not None else str(
        click.prompt(f"Passphrase of {path}", hide_input=True, confirmation_prompt=confirm, err=True)
    )).encode()  # fmt: skip


def _show(repository: Repository, name: str, *, as_json: bool, release: Release | None = None) -> None:
    """What every change ends with: who signed, and who has to."""
    states = repository.states()
    if as_json:
        more = {} if release is None else {"release": release._asdict()}
        output.print_json(name, roles=states, **more)
        return
    if release is not None:
        titles = ", ".join(one.title for one in release.artifacts)
        output.console().print(f"release {release.number} of {release.model} in {release.channel}: {titles}")
    rows = [
        [
            state.role,
            str(state.version),
            "staged" if state.staged else "published",
            state.expires,
            f"{len(state.signed_by)} of {state.threshold}",
            ", ".join(state.signed_by) or "–",
            "–" if state.complete else ", ".join(state.missing),
        ]
        for state in states
    ]
    columns = ["role", "version", "state", "valid until", "signed", "by", "missing"]
    output.print_table(f"{repository.path}", columns, rows, right="version")

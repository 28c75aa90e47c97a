"""A device updates itself from a release repository: trust, fetch, prove, switch; all of it here, without a host.

    ROOT/releases/config.json       {"schema": 1, "url": ..., "channel": ..., "recipes": [...]}
    ROOT/releases/metadata/         what is trusted (trust.py)
    ROOT/bin/edgekit-runner.pyz     the runner, which executes the golden inputs

The release names several artifacts, best first; the first that is for this processor and whose runtime is here is taken
(`recipes` of the config narrows that). It becomes current only after it answered its golden inputs as on the host that
released it, like a deployment by the host. What was fallen back from is not pulled again until there is another
release.

Pulls may meet: a timer, a program and a person. Of one model one pull goes on at a time, and the next finds done what
it came for; of several models each goes on by itself, and only the metadata is read in turn. With pushes by the host a
pull shares the lock around the links (links.py).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from . import links, record, whole
from .environment import site_folder, use_environment
from .exclusive import exclusive
from .fetch import fetch, partial_folder
from .links import Links, StoreError
from .trust import Repository, UntrustedError

if TYPE_CHECKING:
    from typing import Dict, List, Sequence

    from .fetch import Fetched
    from .trust import Release, Released

SCHEMA = 1
RUNNER_SCHEMA = 1
PROOF_TIMEOUT_S = 600.0
_PULL_WAIT_S = 900.0
"""For another pull of the same model: a download and a proof. A timer's next run comes again after that."""


class Config(NamedTuple):
    """Where this device's releases come from. `recipes`: those that it takes, such as `tflite:int8`; empty for all."""

    url: str
    channel: str
    recipes: Sequence[str] = ()


class Pulled(NamedTuple):
    """What a pull did. `changed` is false where the release's artifact was current already."""

    model: str
    channel: str
    number: int
    artifact_id: str
    title: str
    changed: bool
    downloaded_bytes: int
    reused_bytes: int


def read_config(root: str) -> Config:
    """The device's config.

    Raises:
        StoreError: there is none, or it is malformed.
    """
    path = os.path.join(root, "releases", "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        if found["schema"] != SCHEMA:
            raise StoreError("%s is of schema %r; this program reads %d." % (path, found["schema"], SCHEMA))
        return Config(str(found["url"]), str(found["channel"]), tuple(map(str, found.get("recipes", ()))))
    except FileNotFoundError:
        raise StoreError("this device follows no releases: %s is not there." % path) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("%s is malformed: %s." % (path, error)) from error


def pull(root: str, model: str, config: Optional[Config] = None) -> Pulled:
    """Makes what the channel has of a model current here, if it is not.

    Raises:
        UntrustedError: a check failed; see trust.py. Nothing was downloaded but metadata. StoreError: it cannot be
        reached, nothing in it runs here, or it did not prove itself. What was current still is. OSError: the disk is
        full or read-only; likewise.
    """
    folder = links.folder_of(root, model)
    config = config or read_config(root)
    use_environment(root)  # python-tuf, where it was provisioned
    pulling = os.path.join(partial_folder(root, model), "pulling")
    with exclusive(pulling, _PULL_WAIT_S, "another pull of %s" % model):
        repository = Repository(config.url, os.path.join(root, "releases", "metadata"))
        release = repository.release(config.channel, model)
        os.makedirs(folder, exist_ok=True)
        current = links.read(root, model).current
        chosen = _choose(root, release, config.recipes)
        if chosen.artifact_id in record.left_behind(record.read(folder)):
            raise StoreError(
                "%s of release %d was fallen back from on this device, and is not taken again before the next release."
                % (chosen.title, release.number)
            )
        if chosen.artifact_id == current and whole.is_whole(root, current):
            return _told(release, chosen, changed=False)
        fetched = fetch(root, repository, chosen, model)
        _prove(root, chosen)
        changed = _activate(root, model, chosen.artifact_id, "by a pull of release %d" % release.number)
    return _told(release, chosen, changed=changed, fetched=fetched)


def _activate(root: str, model: str, artifact_id: str, detail: str) -> bool:
    """Makes an artifact current, unless a push by the host has done so meanwhile."""
    with links.switching(root, model):
        before = links.read(root, model)
        if before.current == artifact_id:
            return False
        links.switch(root, model, Links(artifact_id, before.current or before.previous))
        record.append(links.folder_of(root, model), "activated", artifact_id, detail)
        return True


def _choose(root: str, release: Release, recipes: Sequence[str]) -> Released:
    """The first artifact of a release that can run here."""
    wanted = [one for one in release.artifacts if not recipes or one.title.split(" ")[-1] in recipes]
    fitting = [one for one in wanted if one.triple is None or _same_processor(one.triple)]
    if not fitting:
        raise StoreError(
            "release %d of %s has nothing for this device: it has %s; this is %s%s."
            % (release.number, release.model, ", ".join(one.title for one in release.artifacts) or "no artifacts",
               platform.machine(), ", and takes " + ", ".join(recipes) if recipes else "")
        )  # fmt: skip
    events = _run(root, {"do": "info", "runtimes": sorted({one.runtime for one in fitting})})
    here = {event["name"] for event in events if event["event"] == "runtime"}
    for one in fitting:
        if one.runtime in here:
            return one
    raise StoreError(
        "no runtime is here for release %d of %s: it wants %s. `edgekit provision` brings one."
        % (release.number, release.model, " or ".join(sorted({one.runtime for one in fitting})))
    )


def _same_processor(triple: str) -> bool:
    names = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7"}
    machine = platform.machine().lower()
    return names.get(machine, machine) == triple.partition("-")[0]


def _prove(root: str, released: Released) -> None:
    """The golden inputs, as the runner checks them for `edgekit verify`.

    Raises:
        StoreError: other answers than on the host, or none.
    """
    manifest = whole.manifest(root, released.artifact_id)
    assert manifest is not None, "it was fetched just now"
    golden = manifest["golden"]
    names = ("inputs", "outputs", "min_snr_db")
    request = {
        "do": "check",
        "artifact": os.path.join(root, "store", released.artifact_id),
        "payload": manifest["payload"],
        "runtime": manifest["runtime"],
        "bindings": manifest["bindings"],
        "golden": {name: golden[name] for name in names},
    }
    if golden.get("sizes"):
        sizes = [{name: size[name] for name in ("sizes", "inputs", "outputs")} for size in golden["sizes"]]
        request["golden"]["sizes"] = sizes
    for event in _run(root, request):
        if event["event"] == "golden" and event["passed"]:
            return
    raise StoreError("%s does not answer here as it did on the host; it did not become current." % released.title)


def _run(root: str, request: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Runs the runner; its events.

    Raises:
        StoreError: it is not here, failed, or did not come to an end.
    """
    runner = os.path.join(root, "bin", "edgekit-runner.pyz")
    if not os.path.exists(runner):
        raise StoreError("the runner %s is not here: `edgekit deploy` or `edgekit release follow` brings it." % runner)
    environment = dict(os.environ)
    site = site_folder(root)
    if site is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [site, environment.get("PYTHONPATH")]))
    argv = [sys.executable, runner, json.dumps(dict(request, schema=RUNNER_SCHEMA))]
    try:
        done = subprocess.run(
            argv, check=False, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PROOF_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise StoreError("the runner said nothing more for %.0f s." % PROOF_TIMEOUT_S) from None
    events = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    failures = [str(event.get("message")) for event in events if event["event"] == "error"]
    if failures or not events or done.returncode not in (0, 3):
        said = failures or [done.stderr.decode("utf-8", "replace").strip()[-300:] or "it said nothing"]
        raise StoreError("the runner failed here (exit status %d): %s." % (done.returncode, said[0].rstrip(".")))
    return events


def _told(release: Release, chosen: Released, *, changed: bool, fetched: Optional[Fetched] = None) -> Pulled:
    downloaded, reused = (fetched.downloaded_bytes, fetched.reused_bytes) if fetched else (0, 0)
    return Pulled(
        release.model, release.channel, release.number, chosen.artifact_id, chosen.title, changed, downloaded, reused
    )


__all__ = ["Config", "Pulled", "UntrustedError", "pull", "read_config"]

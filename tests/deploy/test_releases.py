"""Signed releases: what has enough signatures is published and trusted, and every known attack is refused."""

from __future__ import annotations

import json
import os
import random
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.deploy import deploy
from edgekit.deploy.on_device import links
from edgekit.deploy.on_device.fetch import fetch
from edgekit.deploy.on_device.links import StoreError
from edgekit.deploy.on_device.trust import Repository as Client
from edgekit.deploy.on_device.trust import UntrustedError, parse
from edgekit.deploy.on_device.web import DownloadError
from edgekit.deploy.on_device.whole import is_whole
from edgekit.deploy.releases import Roles, create_repository, generate_key, open_repository, read_key, read_public_key
from edgekit.deploy.releases.changes import current_release, promote, stage_release, stage_role
from edgekit.devices import Target, connect
from edgekit.errors import CorruptArtifactError, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from tests.deploy.conftest import Releases
    from tests.deploy.web_server import WebServer


@pytest.fixture
def client(releases: Releases, server: WebServer, tmp_path: Path) -> Callable[..., Client]:
    """A client that keeps what it saw, with the repository's first root."""
    root = (releases.repository.path / "metadata" / "1.root.json").read_bytes()
    return lambda folder="seen": Client(server.url, str(tmp_path / folder), root)


# What should work


def test_a_release_reaches_a_client_to_the_bit(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact], fresh: Callable[[], str]
) -> None:
    artifact = make_artifact(payload=os.urandom(300_000))
    releases.release([artifact])
    found = client().release("beta", "tiny")
    assert (found.number, [one.artifact_id for one in found.artifacts]) == (1, [artifact.id])
    root = fresh()
    done = fetch(root, client(), found.artifacts[0], "tiny")
    assert not done.there
    assert done.downloaded_bytes >= 300_000
    assert is_whole(root, artifact.id)
    for entry in artifact.shipped_files():
        assert Path(root, "store", artifact.id, entry.path).read_bytes() == (artifact.path / entry.path).read_bytes()
    assert fetch(root, client(), found.artifacts[0], "tiny").there
    assert [path.name for path in Path(root, "releases/partial/tiny").iterdir()] == ["fetching"]


def test_only_the_changed_part_is_downloaded(
    releases: Releases,
    server: WebServer,
    client: Callable[..., Client],
    make_artifact: Callable[..., Artifact],
    fresh: Callable[[], str],
) -> None:
    payload = random.Random(1).randbytes(3_000_000)  # where chunks end is a matter of the bytes
    old = make_artifact(payload=payload)
    new = make_artifact(payload=payload[:1_000_000] + b"inserted" * 2000 + payload[1_000_000:])
    root = fresh()
    releases.release([old])
    fetch(root, client(), client().release("beta", "tiny").artifacts[0], "tiny")
    releases.release([new])
    server.sent.clear()
    done = fetch(root, client(), client().release("beta", "tiny").artifacts[0], "tiny")
    assert is_whole(root, new.id)
    assert done.downloaded_bytes < 0.1 * 3_000_000
    assert done.reused_bytes > 0.9 * 3_000_000
    assert server.sent_bytes("/objects/") < 0.1 * 3_000_000


def test_a_server_without_ranges_costs_bytes_and_nothing_else(
    releases: Releases, make_artifact: Callable[..., Artifact], fresh: Callable[[], str], tmp_path: Path
) -> None:
    from tests.deploy.web_server import WebServer

    payload = os.urandom(400_000)
    root, trusted = fresh(), releases.repository.root_bytes()
    with WebServer(releases.repository.path, ranges=False).running() as plain:
        for content in (payload, payload + b"more"):
            artifact = make_artifact(payload=content)
            releases.release([artifact])
            found = Client(plain.url, str(tmp_path / "seen"), trusted)
            fetch(root, found, found.release("beta", "tiny").artifacts[0], "tiny")
            assert is_whole(root, artifact.id)


def test_a_folder_is_a_repository_too(
    releases: Releases, make_artifact: Callable[..., Artifact], fresh: Callable[[], str], tmp_path: Path
) -> None:
    """A USB stick, or a network drive."""
    artifact = make_artifact()
    releases.release([artifact])
    found = Client(releases.repository.path.as_uri(), str(tmp_path / "seen"), releases.repository.root_bytes())
    root = fresh()
    fetch(root, found, found.release("beta", "tiny").artifacts[0], "tiny")
    assert is_whole(root, artifact.id)


def test_a_cut_download_goes_on(
    releases: Releases,
    server: WebServer,
    client: Callable[..., Client],
    make_artifact: Callable[..., Artifact],
    fresh: Callable[[], str],
) -> None:
    artifact = make_artifact(payload=os.urandom(2_000_000))
    releases.release([artifact])
    found, root = client().release("beta", "tiny").artifacts[0], fresh()
    server.cut_after = 800_000
    with pytest.raises(StoreError):
        fetch(root, client(), found, "tiny")
    assert not Path(root, "store", artifact.id).exists()
    with connect(Target(name="here", transport="local", root=root)) as device:
        deploy(device, make_artifact(payload=b"a push clears cut uploads away, and not this"))
    server.cut_after = None
    server.sent.clear()
    fetch(root, client(), found, "tiny")
    assert is_whole(root, artifact.id)
    assert server.sent_bytes("/objects/") < 1_300_000, "on from where it was cut"


def test_promotion_needs_the_other_channels_keys_and_changes_no_byte(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact]
) -> None:
    artifact = make_artifact()
    with pytest.raises(ReleaseError, match="has no published release of tiny"):
        promote(releases.repository, "tiny", "beta", "stable")
    releases.release([artifact])
    promote(releases.repository, "tiny", "beta", "stable")
    with pytest.raises(ReleaseError, match="None of these keys is trusted for stable"):
        releases.sign("beta")
    releases.sign("stable-1")
    with pytest.raises(ReleaseError, match=r"stable has 1 of the 2 signatures.*with the key of stable-2"):
        releases.publish()
    with pytest.raises(UntrustedError, match="no release of tiny in the channel stable"):
        client().release("stable", "tiny")
    releases.sign("stable-2")
    releases.publish()
    assert client().release("stable", "tiny").artifacts == client().release("beta", "tiny").artifacts


def test_signatures_may_come_from_several_places(
    releases: Releases, make_artifact: Callable[..., Artifact], tmp_path: Path, client: Callable[..., Client]
) -> None:
    """The staged file travels: each signer works on a copy."""
    stage_release(releases.repository, "stable", [make_artifact()])
    copy = tmp_path / "elsewhere"
    shutil.copytree(releases.repository.path, copy)
    open_repository(copy).sign([releases.keys["stable-2"]])
    shutil.copy(copy / "staged/stable.json", releases.repository.path / "staged/stable.json")
    releases.sign("stable-1")
    assert all(state.complete for state in releases.repository.states())
    releases.publish()
    assert client().release("stable", "tiny").number == 1


def test_a_rotated_root_is_followed_and_the_revoked_key_no_longer_counts(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    """Clients that saw version 1 of the root go on to version 2, because enough of the old keys signed it."""
    client().refresh()
    new = generate_key(tmp_path / "keys/root-4.pem", None)
    kept = [releases.keys[name].public for name in ("root-1", "root-2")]
    stage_role(releases.repository, "root", Roles((*kept, new), 2))
    releases.keys["root-4"] = read_key(tmp_path / "keys/root-4.pem", None)
    releases.sign("root-4", "root-1")
    with pytest.raises(ReleaseError, match="root has 1 of the 2 signatures"):
        releases.publish()  # one of the old keys is not enough, though two of the new ones signed
    releases.sign("root-2")
    releases.publish()
    releases.release([make_artifact()])
    assert client().release("beta", "tiny").number == 1
    stage_role(releases.repository, "root", Roles(kept, 1))
    with pytest.raises(ReleaseError, match="None of these keys is trusted for root"):
        releases.sign("root-3")


# What must be refused


def test_a_client_refuses_what_the_old_key_of_a_channel_signs(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact]
) -> None:
    """The key of beta was stolen and revoked; the thief serves a release of his own by it."""
    releases.release([make_artifact()])
    stolen = (releases.repository.path / "metadata" / "2.beta.json").read_bytes()
    stage_role(releases.repository, "beta", Roles((releases.keys["stable-1"].public,)))
    releases.sign("targets", "stable-1")
    releases.publish()
    assert client().release("beta", "tiny").number == 1
    stage_release(releases.repository, "beta", [make_artifact(payload=b"evil")])
    with pytest.raises(ReleaseError, match="None of these keys is trusted for beta"):
        releases.sign("beta")
    newest = max(releases.repository.path.glob("metadata/*.beta.json"), key=lambda path: int(path.name.split(".")[0]))
    newest.write_bytes(stolen)
    with pytest.raises(UntrustedError):
        client("another").release("beta", "tiny")


def test_rollback_is_refused(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    """Somebody serves yesterday's files, which are signed well, and have a hole that was closed since."""
    releases.release([make_artifact(payload=b"hole")])
    shutil.copytree(releases.repository.path, tmp_path / "yesterday")
    releases.release([make_artifact(payload=b"closed")])
    assert client().release("beta", "tiny").number == 2
    shutil.rmtree(releases.repository.path)
    shutil.copytree(tmp_path / "yesterday", releases.repository.path)
    with pytest.raises(UntrustedError, match="older metadata than this device saw before"):
        client().release("beta", "tiny")


def test_a_freeze_is_refused_once_the_timestamp_ran_out(
    releases: Releases,
    client: Callable[..., Client],
    make_artifact: Callable[..., Artifact],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody goes on serving the same old state; the client's clock is eight days on."""
    import tuf.ngclient._internal.trusted_metadata_set as trusted

    releases.release([make_artifact()])
    assert client().release("beta", "tiny").number == 1
    real = datetime

    class Later(datetime):
        @classmethod
        def now(cls, tz: timezone | None = None) -> datetime:  # type: ignore[override]
            return real.now(tz) + timedelta(days=8)

    monkeypatch.setattr(trusted.datetime, "datetime", Later)
    with pytest.raises(UntrustedError, match="out of date: nobody renewed it"):
        client().release("beta", "tiny")
    releases.publish()  # at the real time: it is renewed, and still eight days old to that clock
    with pytest.raises(UntrustedError, match="out of date"):
        client().release("beta", "tiny")


def test_an_expired_channel_is_refused(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact]
) -> None:
    stage_release(releases.repository, "beta", [make_artifact()])
    staged = releases.repository.restage("beta")
    staged.signed.expires = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=1)
    releases.repository.stage("beta", staged)
    releases.sign("beta")
    releases.publish()
    with pytest.raises(UntrustedError, match="out of date"):
        client().release("beta", "tiny")


def test_mix_and_match_is_refused(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact]
) -> None:
    """A new snapshot beside an old channel: each is signed, and they never belonged together."""
    releases.release([make_artifact(payload=b"one")])
    releases.release([make_artifact(payload=b"two")])
    metadata = releases.repository.path / "metadata"
    shutil.copy(metadata / "2.beta.json", metadata / "3.beta.json")
    with pytest.raises(UntrustedError, match="not what the signed metadata says|older metadata"):
        client().release("beta", "tiny")


@pytest.mark.parametrize("what", ["manifest", "payload", "document", "timestamp", "snapshot"])
def test_a_flipped_byte_is_refused_wherever_it_is(
    releases: Releases,
    client: Callable[..., Client],
    make_artifact: Callable[..., Artifact],
    fresh: Callable[[], str],
    what: str,
) -> None:
    artifact = make_artifact(payload=b"payload" * 5000)
    releases.release([artifact])
    repository = releases.repository.path
    payload = next(entry.sha256 for entry in artifact.manifest.files if entry.path.startswith("payload/"))
    path = {
        "manifest": repository / "objects" / artifact.id[:2] / artifact.id,
        "payload": repository / "objects" / payload[:2] / payload,
        "document": next(repository.glob("targets/beta/*.tiny.json")),
        "timestamp": repository / "metadata/timestamp.json",
        "snapshot": max(repository.glob("metadata/*.snapshot.json")),
    }[what]
    content = bytearray(path.read_bytes())
    at = content.index(b'"version":') + 10 if what in ("timestamp", "snapshot") else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)
    root = fresh()
    with pytest.raises(StoreError) as caught:
        fetch(root, client(), client().release("beta", "tiny").artifacts[0], "tiny")
    assert "127.0.0.1" in str(caught.value)
    assert not Path(root, "store", artifact.id).exists()


def test_an_endless_file_is_cut_at_its_signed_size(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact], fresh: Callable[[], str]
) -> None:
    artifact = make_artifact(payload=b"x" * 50_000)
    releases.release([artifact])
    sha256 = next(entry.sha256 for entry in artifact.manifest.files if entry.path.startswith("payload/"))
    with (releases.repository.path / "objects" / sha256[:2] / sha256).open("ab") as file:
        file.write(b"y" * 5_000_000)
    with pytest.raises(DownloadError, match="larger than the 50000 bytes that were announced"):
        fetch(fresh(), client(), client().release("beta", "tiny").artifacts[0], "tiny")


def test_one_channels_key_cannot_sign_for_another(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact]
) -> None:
    """Whoever has the key of beta names a file stable/tiny.json in the role beta."""
    from tuf.api.metadata import TargetFile

    artifact = make_artifact()
    releases.release([artifact])
    document = next(releases.repository.path.glob("targets/beta/*.tiny.json")).read_bytes()
    beta = releases.repository.restage("beta")
    beta.signed.targets["stable/tiny.json"] = TargetFile.from_data("stable/tiny.json", document, ["sha256"])
    releases.repository.stage("beta", beta)
    releases.sign("beta")
    releases.publish()
    with pytest.raises(UntrustedError, match="no release of tiny in the channel stable"):
        client().release("stable", "tiny")


def test_a_document_under_another_name_is_refused(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact]
) -> None:
    """Signed by the right key, but the release is of another model than its name says."""
    from tuf.api.metadata import TargetFile

    releases.release([make_artifact()])
    source = next(releases.repository.path.glob("targets/beta/*.tiny.json"))
    beta = releases.repository.restage("beta")
    target = TargetFile.from_data("beta/other.json", source.read_bytes(), ["sha256"])
    beta.signed.targets["beta/other.json"] = target
    shutil.copy(source, source.with_name(f"{target.hashes['sha256']}.other.json"))
    releases.repository.stage("beta", beta)
    releases.sign("beta")
    releases.publish()
    with pytest.raises(UntrustedError, match="says beta/tiny"):
        client().release("beta", "other")


def test_a_root_by_strangers_is_refused(releases: Releases, server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "strangers").mkdir()
    generate_key(tmp_path / "strangers/evil.pem", None)
    evil = read_key(tmp_path / "strangers/evil.pem", None)
    every = Roles((evil.public,))
    other = create_repository(
        tmp_path / "other", dict.fromkeys(("root", "targets", "snapshot", "timestamp", "beta"), every)
    )
    other.sign([evil])
    other.publish([evil])
    trusted = releases.repository.root_bytes()
    shutil.rmtree(releases.repository.path / "metadata")
    shutil.copytree(tmp_path / "other/metadata", releases.repository.path / "metadata")
    client = Client(server.url, str(tmp_path / "seen"), trusted)
    with pytest.raises(UntrustedError, match="not signed by enough of the trusted keys"):
        client.release("beta", "tiny")


@pytest.mark.parametrize(
    ("path", "message"),
    [("/etc/passwd", "outside of its artifact"), ("payload/../../../evil", "outside of its artifact")],
)
def test_a_manifest_cannot_write_outside_of_its_artifact(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact], fresh: Callable[[], str],
    path: str, message: str,
) -> None:  # fmt: skip
    """Even one that was signed: the client takes no path on trust."""
    import hashlib

    artifact = make_artifact()
    releases.release([artifact])
    found = client().release("beta", "tiny").artifacts[0]
    document = json.loads((artifact.path / "manifest.json").read_bytes())
    document["files"][0]["path"] = path
    content = json.dumps(document).encode()
    digest = hashlib.sha256(content).hexdigest()
    place = releases.repository.path / "objects" / digest[:2] / digest
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        fetch(fresh(), client(), found._replace(artifact_id=digest, manifest_bytes=len(content)), "tiny")


# What people get wrong


def test_mistakes_are_told(releases: Releases, make_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    repository = releases.repository
    with pytest.raises(ReleaseError, match="has no channel 'nightly'; it has beta, stable"):
        stage_release(repository, "nightly", [make_artifact()])
    with pytest.raises(ReleaseError, match="of one model, and these artifacts are of one, two"):
        stage_release(repository, "beta", [make_artifact(model="one"), make_artifact(model="two")])
    with pytest.raises(ReleaseError, match="Nothing is staged"):
        releases.sign("beta")
    with pytest.raises(ReleaseError, match="is not empty"):
        create_repository(repository.path, {})
    with pytest.raises(ReleaseError, match="is no release repository"):
        open_repository(tmp_path / "nowhere")
    with pytest.raises(ReleaseError, match="snapshot needs 1 of the keys of online"):
        stage_release(repository, "beta", [make_artifact()])
        releases.sign("beta")
        repository.publish([releases.keys["beta"]])
    with pytest.raises(ReleaseError, match="asks for 3 signatures and has 1 keys"):
        stage_role(repository, "beta", Roles((releases.keys["beta"].public,), 3))
    with pytest.raises(ReleaseError, match="cannot be a channel's name"):
        stage_role(repository, "Snap/shot", Roles((releases.keys["beta"].public,)))
    damaged = make_artifact(payload=b"damaged" * 10)
    (damaged.path / "payload/model.tflite").write_bytes(b"?")
    with pytest.raises(CorruptArtifactError):
        stage_release(repository, "beta", [damaged])


def test_keys_are_encrypted_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    public = generate_key(path, b"secret")
    assert path.stat().st_mode & 0o077 == 0
    assert b"ENCRYPTED" in path.read_bytes()
    assert read_key(path, b"secret").public.id == public.id == read_public_key(path).id
    for wrong in (b"other", None):
        with pytest.raises(ReleaseError, match="cannot be opened"):
            read_key(path, wrong)
    with pytest.raises(ReleaseError, match="is there already"):
        generate_key(path, b"secret")
    with pytest.raises(ReleaseError, match="is no public key"):
        (tmp_path / "x.pub.json").write_text("{}")
        read_public_key(tmp_path / "x.pub.json")
    with pytest.raises(ReleaseError, match="cannot be read"):
        read_key(tmp_path / "missing.pem", None)


def test_killed_before_the_timestamp_clients_see_the_old_state(
    releases: Releases,
    client: Callable[..., Client],
    make_artifact: Callable[..., Artifact],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At every file that publishing writes; then it is repeated, and all is there."""
    import edgekit.deploy.releases.publishing as module

    releases.release([make_artifact(payload=b"one")])
    real = module.write_file
    for at in range(1, 4):
        stage_release(releases.repository, "beta", [make_artifact(payload=b"two")])
        releases.sign("beta")
        count = 0

        def dying(path: Path, content: bytes, at: int = at) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise KeyboardInterrupt
            real(path, content)

        monkeypatch.setattr(module, "write_file", dying)
        with pytest.raises(KeyboardInterrupt):
            releases.publish()
        assert client(f"seen-{at}").release("beta", "tiny").number == 1, at
        monkeypatch.setattr(module, "write_file", real)
    print(f"publish: {at} kills; clients saw the old state {at} times")  # noqa: T201 - the figures of the docs: pytest -s
    releases.publish()
    assert client().release("beta", "tiny").number == 2
    assert current_release(releases.repository, "beta", "tiny") is not None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 2}', b'{"schema": 1, "model": 3}', b"\xff\xfe"])
def test_a_malformed_document_is_no_release(content: bytes) -> None:
    with pytest.raises(UntrustedError):
        parse(content)


def test_links_are_not_touched_by_a_fetch(
    releases: Releases, client: Callable[..., Client], make_artifact: Callable[..., Artifact], fresh: Callable[[], str]
) -> None:
    releases.release([make_artifact()])
    root = fresh()
    fetch(root, client(), client().release("beta", "tiny").artifacts[0], "tiny")
    assert links.models(root) == []

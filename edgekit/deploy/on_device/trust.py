"""What is released, by the word of enough keys: The Update Framework's client (python-tuf) over a repository.

    ROOT/releases/config.json          where the repository is, and which channel this device follows
    ROOT/releases/metadata/            the roles' metadata as last seen; root.json is what trust began with
    ROOT/releases/metadata.lock        locked by the one program at a time that looks for releases

The client refuses what is signed by too few keys, older than what it saw before (rollback), out of date (freeze), or
does not belong together (mix and match): sections 5.1 to 5.7 of the TUF specification. A release is a document at
CHANNEL/MODEL.json; the role CHANNEL alone may sign it. The document names artifacts by their ids, which are the sha256
of their manifests, which have the sha256 of every file; so its signatures vouch for every byte that a device will load.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Tuple

from . import web
from .exclusive import exclusive
from .links import StoreError
from .web import DownloadError

if TYPE_CHECKING:
    from typing import ContextManager, Dict, Iterator

SCHEMA = 1
MOST_DOCUMENT_BYTES = 1 << 20
_WAIT_S = 300.0
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class UntrustedError(StoreError):
    """The repository, or what came in its place, is not to be trusted; the message says which check failed."""


class Released(NamedTuple):
    """One artifact of a release. `size`: bytes of all its files. `chunks`: sha256 of its chunk list, or None."""

    artifact_id: str
    title: str
    runtime: str
    triple: Optional[str]
    manifest_bytes: int
    size: int
    chunks: Optional[str]


class Release(NamedTuple):
    """What a channel has of a model. `number` grows with every release of the channel's model."""

    model: str
    channel: str
    number: int
    created: str
    notes: str
    artifacts: Tuple[Released, ...]


def is_channel(name: str) -> bool:
    """Whether a name can be a channel's: a lower-case letter, then letters, digits and `-`."""
    return _CHANNEL.match(name) is not None and name not in ("root", "targets", "snapshot", "timestamp")


def parse(content: bytes) -> Release:
    """A release document.

    Raises:
        UntrustedError: it is none, or of a later EdgeKit.
    """
    try:
        found: Dict[str, Any] = json.loads(content.decode("utf-8"))
        if found["schema"] != SCHEMA:
            raise UntrustedError("the release is of schema %r; this program reads %d." % (found["schema"], SCHEMA))
        release = Release(
            str(found["model"]), str(found["channel"]), int(found["number"]), str(found["created"]),
            str(found["notes"]), tuple(Released(**one) for one in found["artifacts"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise UntrustedError("the release document is malformed: %s." % error) from error
    ids = [one.artifact_id for one in release.artifacts]
    if not all(_SHA256.match(str(i)) for i in ids + [one.chunks for one in release.artifacts if one.chunks]):
        raise UntrustedError("the release document of %s names what is no sha256." % release.model)
    return release


class Repository:
    """A repository as a device sees it.

    Args:
        url: of the folder that has `metadata`, `targets` and `objects`.
        folder: where the metadata is kept between calls.
        root: the root metadata that trust begins with; None where `folder` has it from an earlier call.

    Raises:
        UntrustedError: python-tuf is not installed, or there is no root to begin with.
    """

    def __init__(self, url: str, folder: str, root: Optional[bytes] = None) -> None:
        self.url = url.rstrip("/")
        self._folder = folder
        self._root = root
        self._updater: Any = None

    def refresh(self) -> None:
        """Fetches and checks the newest metadata.

        Raises:
            UntrustedError: a check failed: see the module.
            DownloadError: the repository cannot be reached.
        """
        with self._alone():
            self._refresh()

    def release(self, channel: str, model: str) -> Release:
        """The release of a model that a channel has now.

        Raises:
            UntrustedError: there is none, or a check failed.
            DownloadError: the repository cannot be reached.
        """
        if not is_channel(channel):
            raise UntrustedError("%r is not a channel's name." % channel)
        name = "%s/%s.json" % (channel, model)
        with self._alone():
            if self._updater is None:
                self._refresh()
            with _refusals(self.url):
                found = self._updater.get_targetinfo(name)
        with _refusals(self.url):
            if found is None:
                raise UntrustedError("%s has no release of %s in the channel %s." % (self.url, model, channel))
            if found.length > MOST_DOCUMENT_BYTES:
                raise UntrustedError("the release document of %s has %d bytes." % (model, found.length))
            digest = found.hashes["sha256"]
            content = web.whole("%s/targets/%s/%s.%s.json" % (self.url, channel, digest, model), found.length)
            found.verify_length_and_hashes(content)
        release = parse(content)
        if (release.model, release.channel) != (model, channel):
            raise UntrustedError("%s is signed as %s, and says %s/%s." % (name, name, release.channel, release.model))
        return release

    def _alone(self) -> ContextManager[None]:
        """python-tuf replaces the files of its folder one by one: of two programs there, one would see a mixture."""
        return exclusive(self._folder + ".lock", _WAIT_S, "another program that reads %s" % self.url)

    def _refresh(self) -> None:
        os.makedirs(self._folder, exist_ok=True)
        with _refusals(self.url):
            self._updater = _updater(self.url, self._folder, self._root)
            self._updater.refresh()

    def object_url(self, sha256: str) -> str:
        """Where a file lies, by its sha256."""
        return "%s/objects/%s/%s" % (self.url, sha256[:2], sha256)


def _updater(url: str, folder: str, root: Optional[bytes]) -> Any:
    try:
        from tuf.api.exceptions import DownloadHTTPError
        from tuf.ngclient.fetcher import FetcherInterface
        from tuf.ngclient.updater import Updater
    except (ImportError, TypeError) as error:  # the latter: python-tuf 6.0 in Python 3.8
        raise UntrustedError(
            "releases are checked by the package tuf, which cannot be imported here (%s): "
            "`edgekit provision TARGET --for releases` brings it." % error
        ) from error

    class Fetcher(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            try:
                return web.read(url, 1 << 26).pieces
            except DownloadError as error:
                if error.status is not None:  # the client asks for root N+1 until there is none
                    raise DownloadHTTPError(str(error), error.status) from error
                raise

    known = {}  # type: Dict[str, Any]
    if "bootstrap" in inspect.signature(Updater).parameters:  # python-tuf before 6 has none, and reads its folder
        known["bootstrap"] = root
    return Updater(folder, url + "/metadata/", fetcher=Fetcher(), **known)


@contextlib.contextmanager
def _refusals(url: str) -> Iterator[None]:
    """Turns python-tuf's errors into ours, each with what it means."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:  # python-tuf's own, which cannot be named where it is not installed
        from tuf.api import exceptions as tuf

        if isinstance(error, tuf.DownloadError):
            cause = error.__cause__
            raise (cause if isinstance(cause, DownloadError) else DownloadError("%s: %s." % (url, error))) from error
        reasons = (
            (tuf.ExpiredMetadataError, "its metadata is out of date: nobody renewed it, or old files are served"),
            (tuf.BadVersionNumberError, "it has older metadata than this device saw before, or a mixture"),
            (tuf.LengthOrHashMismatchError, "a file is not what the signed metadata says"),
            (tuf.UnsignedMetadataError, "its metadata is not signed by enough of the trusted keys"),
            (tuf.RepositoryError, "its metadata cannot be read"),
        )
        for kind, reason in reasons:
            if isinstance(error, kind):
                raise UntrustedError("%s is not trusted: %s (%s)." % (url, reason, error)) from error
        raise

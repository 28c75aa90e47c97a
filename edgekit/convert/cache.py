"""The cache: results of steps and finished artifacts, found by a hash over all that can change them.

    steps/STEP-KEY/      a step's folder (see `edgekit.convert.steps`), with one hash over its files
    recipes/KEY          the id of the artifact that a recipe's step made
    artifacts/ID/        the artifacts
    costs/STEP-NAME      the largest resident set of the last such step, in bytes
    logs/                what each step printed

What is taken from it is checked against its sha256 first, so that a damaged cache repairs itself.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from edgekit.artifact import MANIFEST, Artifact, check_files, open_artifact
from edgekit.convert.memory import EXPECTED_BYTES
from edgekit.errors import ArtifactError
from edgekit.files import copy_files, digest_of_tree, publishing_folder, sha256_of, write_file, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
STEP_SHA256 = ".sha256"
"""In a step's folder: one hash over all its other files."""


class Cache:
    """One cache folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def step(self, step: str, key: str) -> Path | None:
        """A step's folder, if it is there and as the step left it."""
        folder = self._folder / "steps" / f"{step}-{key}"
        if not folder.is_dir():
            return None
        with suppress(OSError):
            if (folder / STEP_SHA256).read_text() == digest_of_tree([folder]):
                return folder
        shutil.rmtree(folder, ignore_errors=True)
        return None

    @contextmanager
    def writing_step(self, step: str, key: str) -> Iterator[tuple[Path, Path]]:
        """An empty folder to fill, and the one that it becomes when the block ends without an error."""
        folder = self._folder / "steps" / f"{step}-{key}"
        with publishing_folder(folder) as work:
            yield work, folder
            (work / STEP_SHA256).write_text(digest_of_tree([work]))

    def artifact(self, key: str) -> Artifact | None:
        """The artifact that a recipe's step made, if it is there and whole."""
        with suppress(OSError, ArtifactError):
            found = open_artifact(self._folder / "artifacts" / (self._folder / "recipes" / key).read_text())
            check_files(found)
            return found
        return None

    @contextmanager
    def writing_artifact(self, key: str, log: Path) -> Iterator[Path]:
        """An empty folder for a recipe's step to fill; becomes the artifact of `key` when the block ends."""
        temporary = self._folder / "steps" / f".tmp-{secrets.token_hex(6)}"
        with writing(temporary):
            temporary.mkdir(parents=True)
            try:
                yield temporary
                artifact_id = sha256_of(temporary / MANIFEST)
                copy_whole(temporary, self._folder / "artifacts" / artifact_id, log)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        write_file(self._folder / "recipes" / key, artifact_id.encode())

    def log(self, name: str) -> Path:
        """Where a step's log goes."""
        folder = self._folder / "logs"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name[:60]}.log"

    def expected_bytes(self, step: str) -> int:
        """The resident set that a step is likely to need."""
        with suppress(OSError, ValueError):
            return int((self._folder / "costs" / step).read_text())
        return EXPECTED_BYTES

    def note_cost(self, step: str, peak_rss_bytes: int | None) -> None:
        """Remembers the resident set that a step needed."""
        if peak_rss_bytes is not None:
            write_file(self._folder / "costs" / step, str(peak_rss_bytes).encode())


def copy_whole(source: Path, destination: Path, log: Path | None = None) -> None:
    """Publishes an artifact at `destination`, unless it is there and whole; a damaged one is replaced."""
    if destination.exists():
        try:
            check_files(open_artifact(destination))
        except ArtifactError:
            shutil.rmtree(destination, ignore_errors=True)
        else:
            return
    with publishing_folder(destination) as folder:
        copy_files(source, folder)
        if log is not None:
            shutil.copyfile(log, folder / "convert.log")


class Shared(Generic[T]):
    """Runs each key's function once, whichever thread asks first; the others wait for its result or its error."""

    def __init__(self) -> None:
        self._results: dict[str, Future[T]] = {}
        self._lock = threading.Lock()

    def once(self, key: str, make: Callable[[], T]) -> T:
        """The result of `make` for this key."""
        with self._lock:
            future = self._results.get(key)
            mine = future is None
            if future is None:
                future = self._results[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:  # whoever waits for the result must hear of Ctrl-C, too; raised again
                future.set_exception(error)
                raise
        return future.result()

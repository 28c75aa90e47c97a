"""RunnerDevice: a device as measuring sees it, something that runs EdgeKit's runner.

What has a shell (`Device`: over SSH, over ADB, this machine) keeps artifacts in a store and runs the runner as a
process. A browser (`edgekit.devices.browser`) has neither: files are served to it, and the runner is a page. Both
answer the same requests with the same events (docs/formats/runner-protocol.md), so what measures asks for no more than
is written here, and what deploys asks for a `Device`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from edgekit.artifact import Artifact, FileEntry
    from edgekit.devices.conditions import Conditions
    from edgekit.devices.lock import Holder
    from edgekit.devices.process import LineStream
    from edgekit.devices.progress import Progress
    from edgekit.devices.runners import Runner
    from edgekit.devices.target import Target


class RunnerDevice(Protocol):
    """A connected target that can be measured on.

    target: its file. boot_id: which start of the device was measured on first, by its own word.
    """

    target: Target
    boot_id: str | None

    @property
    def name(self) -> str:
        """The device as errors begin: `The device 'pi' (ssh pi@192.168.1.7:22)`."""

    @property
    def describe(self) -> str:
        """The way to it: `ssh pi@192.168.1.7:22`."""

    @property
    def invitation(self) -> str | None:
        """What a person must do before it answers; None where nobody need do anything."""

    def close(self) -> None:
        """Ends the connection, and whatever was started for it."""

    def __enter__(self) -> RunnerDevice: ...  # noqa: PYI034 - typing.Self is of Python 3.11

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def runner(self, runtime: str = "") -> Runner:
        """Its runner for a runtime (`""`: for questions about the device), chosen once.

        Raises:
            RuntimeMissingError: it has nothing that runs such artifacts.
            DeviceError: it cannot be asked.
        """

    def check_fits(self, artifact: Artifact) -> None:
        """Refuses what cannot run there, before anything is sent.

        Raises:
            UnsuitableArtifactError: it cannot.
        """

    def place(self, artifact: Artifact, progress: Progress | None = None) -> str:
        """Brings an artifact within the runner's reach, whole; returns the path that the runner finds it by.

        Raises:
            DeviceError: it could not be brought.
        """

    def place_samples(self, name: str, sources: Sequence[tuple[Path, FileEntry]], *, keeping: Sequence[str]) -> str:
        """Likewise a folder of samples, by a sha256 over its content; of others, only `keeping` may stay."""

    def keep_samples(self, names: Sequence[str]) -> None:
        """Removes all samples but those of these names."""

    def start(self, runner: Runner, request: dict[str, Any], *, idle_timeout_s: float, step: str) -> LineStream:
        """Starts the runner, afresh, on one request; its events are the stream's lines, and leaving that ends it.

        Raises:
            DeviceError: it does not start.
        """

    def conditions(self, *, watch_s: int = 1) -> Conditions:
        """Its load, clocks and temperatures now; empty where nobody can tell."""

    def ask_boot_id(self) -> str:
        """What changes with every start of the machine, or is empty where nobody can tell."""

    def lock(
        self, purpose: str, wait_s: float = 0, *, on_wait: Callable[[Holder], None] | None = None
    ) -> AbstractContextManager[object]:
        """Has it alone during a block.

        Raises:
            DeviceBusyError: somebody else holds it.
        """

    def holder(self) -> Holder | None:
        """Who has it now."""

    def keep_lock(self) -> None:
        """Renews the lock's lease if there is one and it is time to."""

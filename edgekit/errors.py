"""Everything that can go wrong, top to bottom.

Each error is one paragraph for a person: *what* happened, *where*, and *what to do next* (the remedy). The command
line prints exactly that paragraph and exits with `exit_status`; no traceback reaches a user.
"""

from __future__ import annotations

import re

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_FAILED_CHECK = 3
"""A regression, or a verification that failed."""
EXIT_INCONCLUSIVE = 4
EXIT_INTERRUPTED = 130


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""All but newline and tab: what moves a cursor, ends a line, or makes text read backwards."""


def printable(text: str) -> str:
    """A text that a terminal only shows: `\\x1b[2J` where it had the control sequence."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


class EdgeKitError(Exception):
    """Root of all errors that EdgeKit raises on purpose.

    Args:
        what: one or two sentences: what happened and where (the file, the device, the step).
        remedy: what the reader can do about it, as an imperative sentence.
    """

    exit_status = EXIT_ERROR

    def __init__(self, what: str, *, remedy: str = "") -> None:
        self.what = printable(what.strip())  # it may quote a device or a file
        self.remedy = printable(remedy.strip())
        super().__init__(self.what if not self.remedy else f"{self.what} {self.remedy}")

    def as_dict(self) -> dict[str, str]:
        """The error as `--json` shows it."""
        return {"error": type(self).__name__, "what": self.what, "remedy": self.remedy}


class MissingPackageError(EdgeKitError):
    """A package of an extra is not installed."""


class PluginError(EdgeKitError):
    """An unknown, duplicate or broken format, source, runtime, transport or kind of bundle."""


class ModelError(EdgeKitError):
    """A model cannot be found, loaded or run."""


class UntrustedModelError(ModelError):
    """Loading the file would execute code that it brings along, and `--trust` was not given."""


class DataError(EdgeKitError):
    """Calibration or evaluation data of the wrong name, shape or dtype."""


class RecipeError(EdgeKitError):
    """An unknown format or precision, or options that they do not take."""


class ConversionError(EdgeKitError):
    """A converter failed, crashed, was killed or ran out of time. The log is kept and named."""


class RefusedError(ConversionError):
    """This model cannot have this precision in this format. Nothing was written; the reason and a way out are told."""


class ParityError(EdgeKitError):
    """An artifact was produced but does not compute what its source computes. It is not published."""

    exit_status = EXIT_FAILED_CHECK


class ArtifactError(EdgeKitError):
    """A directory is not an artifact, or not one that this version reads."""


class CorruptArtifactError(ArtifactError):
    """A file of an artifact is missing or differs from its sha256 in the manifest."""

    exit_status = EXIT_FAILED_CHECK


class StorageError(EdgeKitError):
    """The host cannot write: disk full, read-only, no permission."""


class ReleaseError(EdgeKitError):
    """A release repository, a key or a signature is not what it should be."""


class BundleError(EdgeKitError):
    """A bundle cannot hold these artifacts, or something is where it should be written."""


class RolloutError(EdgeKitError):
    """A rollout cannot be planned, read, or do what it was asked to do now."""


class RolloutRunningError(RolloutError):
    """Another program is carrying the rollout out."""


class TargetError(EdgeKitError):
    """A target file is missing, or has a wrong key or type (the line is named)."""


class DeviceError(EdgeKitError):
    """Root of what goes wrong at a device. The text names the device and the step."""


class UnreachableDeviceError(DeviceError):
    """The device did not answer within the bound."""


class HostKeyError(DeviceError):
    """The device's host key is unknown or has changed. Nothing was sent."""


class AuthenticationError(DeviceError):
    """The device refused our keys."""


class ConnectionLostError(DeviceError):
    """The link went down in the middle of a step."""


class RemoteTimeoutError(DeviceError):
    """A remote command did not end within its bound."""


class RemoteCommandError(DeviceError):
    """A remote command ended with a status that the step does not expect."""


class DeviceStorageError(DeviceError):
    """The device cannot store: disk full, read-only, no permission."""


class TransferError(DeviceError):
    """What arrived on the device is not what was sent: its sha256 differs. Nothing was activated."""

    exit_status = EXIT_FAILED_CHECK


class NoWheelError(DeviceError):
    """No wheel of a runtime fits the device's platform, or the wheels cannot be fetched from here."""


class WheelError(DeviceError):
    """A wheel is damaged, tampered with or for another platform. Nothing was sent."""

    exit_status = EXIT_FAILED_CHECK


class DeviceBusyError(DeviceError):
    """Somebody else holds the device's lock."""


class OutsideLimitsError(DeviceBusyError):
    """The device did not come within its target's limits, or something disturbed every attempt: nothing counts."""


class NothingToRollBackError(DeviceError):
    """The device keeps no earlier artifact of this model."""


class ActivationRefusedError(DeviceError):
    """An artifact did not prove itself on the device: what was current before still is."""

    exit_status = EXIT_FAILED_CHECK


class NoShellError(DeviceError):
    """The device can be measured on, and has neither shell nor store: a browser."""


class RuntimeMissingError(DeviceError):
    """No runtime for the artifact's format was found on the device."""


class RunnerError(DeviceError):
    """The runner ended badly or broke its protocol."""


class UnsuitableArtifactError(RunnerError):
    """The artifact is compiled for another processor than the device's. Nothing was sent."""


class RebootedError(DeviceError):
    """The device started anew in the middle of a measurement. Nothing of it was kept."""


class WrongAnswerError(DeviceError):
    """The golden inputs gave other outputs on the device: a failed run, not a fast one."""

    exit_status = EXIT_FAILED_CHECK


class TelemetryError(EdgeKitError):
    """Root of what goes wrong with what devices report."""


class UnknownReferenceError(TelemetryError):
    """Windows count over the cells of a reference that was not registered with the collector."""


class StoreUnavailableError(TelemetryError):
    """The collector's database cannot be used now: locked, full, gone, read-only. Nothing was changed."""


class AccessError(TelemetryError):
    """A key, a token or a device is unknown, revoked, used up or not the one that signed."""


def first_line(error: BaseException) -> str:
    """What an error of another package says, in one line without its full stop: its first, or else its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")

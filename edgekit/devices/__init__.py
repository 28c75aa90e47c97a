"""Devices: how a target is described, reached, stored on and asked.

    target          a TOML file in targets/: how to reach one device and how to measure on it
    process         a command under way on a device, and its output as lines
    source          the bytes of an upload: ranges of files on this machine
    transport       runs commands and moves bytes; `local` and `ssh` are its two implementations
    device          a connected target with a shell: its root folder and its lock
    runner_device   what of a device measuring asks for: a browser is one as well
    browser/        a browser as a device: a page that is served to it, and the runner in that page
    scripts         every line of shell that EdgeKit runs on a device, a module a purpose
    lock            one user at a time, even across cut links
    chunks          content-defined chunks; chunk_list: their lists, and what a device says it has
    plan            how files are put together there from what it has and what is sent
    sending         a source to a file there, compressed where that is faster
    assembling      files put together there, and hashed while they arrive
    resuming        what cut uploads left, as far as it is right
    upload          survey, plan, send, assemble, verify, publish; progress: what it tells
    store           files on the device: uploaded under a temporary name, verified there, renamed
    runner_zip      the runner as one file
    native_runner   its twin in C, built for a device's processor
    runners         which of the two a device gets
    runner_client   the runner on the device: one request, its events

Nothing here knows of statistics. A transport knows of nothing but bytes and commands.
"""

from edgekit.devices.device import Device, connect, connect_runner
from edgekit.devices.process import Completed, LineStream
from edgekit.devices.runner_device import RunnerDevice
from edgekit.devices.settings import BenchSettings, SshSettings
from edgekit.devices.target import Target, list_targets, load_target, select_targets

__all__ = [
    "BenchSettings",
    "Completed",
    "Device",
    "LineStream",
    "RunnerDevice",
    "SshSettings",
    "Target",
    "connect",
    "connect_runner",
    "list_targets",
    "load_target",
    "select_targets",
]

"""What a target's tables hold, and the types of their values (docs/formats/target.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z")]
"""Not empty, and without control characters: it is printed, and it becomes an argument of a remote command."""
Host = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9:_][A-Za-z0-9.:%_-]*\Z")]
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
Address = Annotated[str, msgspec.Meta(pattern=rf"^{_BYTE}(\.{_BYTE}){{3}}\Z")]
"""An IPv4 address, not a name: what is listened on must be no surprise."""
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""Names folders (bench_results/NAME), so it is a plain file name."""


class SshSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach a device over SSH. `user` defaults to the local user, `known_hosts` to the user's own file."""

    host: Host
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 22
    user: Text | None = None
    identity_file: Text | None = None
    known_hosts: Text | None = None
    use_agent: bool = True
    connect_timeout_s: Positive = 10.0


class AdbSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach a device over ADB: `serial` for one on USB, `host` and `port` for one on the network.

    With neither, it is ANDROID_SERIAL of the environment, or the only one that is attached.
    """

    serial: Text | None = None
    host: Host | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5555
    connect_timeout_s: Positive = 10.0


class BrowserSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which browser a page is measured in, and how the page gets there.

    start: EdgeKit starts `program` (by default the first of Chromium, Chrome and Edge that is installed), with
    `arguments` besides its own; else somebody opens the page, in a browser of this machine, or of another one if it is
    served on another address than loopback. litert_js: the folder of LiteRT.js as npm lays it. open_timeout_s: how long
    the page may take to come.
    """

    start: bool = True
    program: Text | None = None
    headless: bool = True
    arguments: tuple[Text, ...] = ()
    litert_js: Text | None = None
    listen: Address = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    open_timeout_s: Positive = 60.0


class BenchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to measure: threads, and the bounds of warm-up and sampling.

    turn_s: how long a turn of a gate is, of whose two sides both are loaded; 0: one after the other, whole blocks.
    delegate: what the runtime is asked to execute with; see docs/bench.md. max_load_1min: as in `Limits`, where it
    belongs by now.
    """

    threads: Count = 1
    max_warmup_s: Positive = 10.0
    min_samples: Annotated[int, msgspec.Meta(ge=2)] = 50
    min_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    max_s: Positive = 150.0
    turn_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.02
    idle_timeout_s: Positive = 120.0
    delegate: Text | None = None
    max_load_1min: Positive | None = None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Outside of these a block is not measured, or does not count. None: anything goes.

    wait_s: how long to wait, in all of a run, until the device is within them. poll_s: how often to look meanwhile.
    retries: how often a block is measured again that something disturbed, or that ended outside of them.
    """

    max_temperature_c: Positive | None = None
    max_thermal_status: Annotated[int, msgspec.Meta(ge=0, le=6)] | None = None
    max_load_1min: Positive | None = None
    min_available_bytes: Count | None = None
    min_battery_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    plugged: bool | None = None
    governor: Text | None = None
    screen: Literal["on", "off"] | None = None
    wait_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    poll_s: Positive = 5.0
    retries: Annotated[int, msgspec.Meta(ge=0)] = 2

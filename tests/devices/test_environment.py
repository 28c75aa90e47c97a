"""Provisioning: a device without internet gets checked wheels, whole or not at all, and gives them back."""

from __future__ import annotations

import hashlib
import json
import os
import platform as host
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from boxes import BOXES, make_box
from wheelhouse import make_wheel

from edgekit.devices import Device, Target, connect
from edgekit.devices.conditions import ask_conditions
from edgekit.devices.environment import ask_platform, differing, install, installed, provision, remove
from edgekit.devices.environment.needs import pinned
from edgekit.devices.environment.platforms import Platform, read_platform
from edgekit.devices.environment.wheels import open_wheel
from edgekit.devices.introduction import introduce
from edgekit.devices.progress import Expected, Progress
from edgekit.devices.scripts.running import IN_ENVIRONMENT
from edgekit.errors import (
    ConnectionLostError,
    DeviceStorageError,
    NoWheelError,
    PluginError,
    RemoteCommandError,
    TransferError,
    WheelError,
)
from tests.machine import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cut_proxy import CutProxy

    from edgekit.devices.environment.records import Record

pytestmark = pytest.mark.device

VERSION = (pinned("ai-edge-litert").partition("==")[2]) or "1.5"
"""What is installed here: another version would only be taken after pip failed to find this one."""
LIBRARY = "ai_edge_litert/libLiteRt.so"
OLD_PYTHON = Path("~/.pyenv/versions/3.8.18/bin/python3.8").expanduser()


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with wheels of the names that LiteRT and its runner need, and one of a requirement."""
    folder = tmp_path / "wheel house"
    make_wheel(folder, "numpy", "2.0")
    make_wheel(folder, "flatbuffers", "24.3")
    files = {"ai_edge_litert/__init__.py": b"VERSION = 'provisioned'\n", LIBRARY: b"\x7fELF" + bytes(1000)}
    tag = f"py3-none-manylinux_2_17_{host.machine()}"
    make_wheel(folder, "ai-edge-litert", VERSION, files=files, requires=["numpy", "flatbuffers"], tag=tag)
    return folder


@pytest.fixture
def board(ssh_target: Target) -> Iterator[Device]:
    """A device over SSH."""
    with connect(ssh_target) as connected:
        yield connected


def current(root: str) -> str:
    """The id of the current environment."""
    return str(Path(root, "env", "current").readlink())


def says(device: Device, code: str) -> str:
    """What a Python program prints that is run as the runner is."""
    done = device.run(
        ["sh", "-c", IN_ENVIRONMENT, "edgekit", device.root, device.target.python, "-c", code], step="testing"
    )
    assert done.code == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_it_is_unpacked_verified_and_in_front_of_the_devices_own_packages(device: Device, wheels: Path) -> None:
    result = provision(device, ["litert"], offline=wheels)
    assert result.runtimes == ("litert",)
    assert [(p.name, p.version) for p in result.packages] == [
        ("ai-edge-litert", VERSION), ("flatbuffers", "24.3"), ("numpy", "2.0")
    ]  # fmt: skip
    assert result.sent_bytes > 0
    assert says(device, "import ai_edge_litert; print(ai_edge_litert.VERSION)") == "provisioned"
    assert says(device, "from importlib.metadata import version; print(version('ai-edge-litert'))") == VERSION
    record = Path(device.path("env", "current", "env.json")).read_bytes()
    assert hashlib.sha256(record).hexdigest() == result.id == current(device.root)
    assert json.loads(record)["packages"][0]["sha256"] == result.packages[0].sha256
    assert not Path(device.path("env", result.id, "wheels")).exists()


def test_a_second_call_moves_nothing(board: Device, wheels: Path) -> None:
    first = provision(board, ["litert"], offline=wheels)
    again = provision(
        board, ["litert"], offline=wheels, progress=Progress(on_plan=lambda _: pytest.fail("it planned an upload"))
    )
    assert (again.id, again.sent_bytes, again.already_there) == (first.id, 0, True)


def test_what_was_resolved_once_needs_no_index_again(
    board: Device, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = provision(board, ["litert"], offline=wheels)
    remove(board)
    monkeypatch.setattr("edgekit.devices.environment.fetching.download", None)
    assert provision(board, ["litert"]).id == first.id


def test_another_runtime_is_added(board: Device, wheels: Path) -> None:
    first = provision(board, ["litert"], offline=wheels)
    make_wheel(wheels, "onnxruntime", "1.20")
    both = provision(board, ["onnxruntime"], offline=wheels)
    assert both.runtimes == ("litert", "onnxruntime")
    assert {p.name for p in both.packages} == {"ai-edge-litert", "flatbuffers", "numpy", "onnxruntime"}
    assert {path.name for path in Path(board.path("env")).iterdir()} == {both.id, "current"}, f"{first.id} made room"


def test_damage_there_is_repaired(board: Device, wheels: Path) -> None:
    result = provision(board, ["litert"], offline=wheels)
    file = Path(board.path("env", "current", "site", LIBRARY))
    file.chmod(0o644)
    file.write_bytes(b"rotten")
    found = installed(board)
    assert found is not None
    assert found.record is not None
    assert differing(board, found.record, board.path("env", result.id)) == [LIBRARY]
    assert provision(board, ["litert"], offline=wheels).sent_bytes > 0
    assert differing(board, found.record, board.path("env", result.id)) == []


def test_removing_takes_away_ours_and_nothing_else(board: Device, wheels: Path) -> None:
    Path(board.root, "store").mkdir()
    Path(board.root, "store", "mine").write_text("kept")
    assert not remove(board)
    provision(board, ["litert"], offline=wheels)
    assert remove(board)
    assert not Path(board.path("env")).exists()
    assert Path(board.root, "store", "mine").read_text() == "kept"
    assert installed(board) is None
    assert not remove(board)
    assert "PYTHONPATH" not in says(board, "import os; print(list(os.environ))")


def test_a_device_without_python_gets_the_libraries_alone(ssh_target: Target, wheels: Path) -> None:
    with connect(msgspec.structs.replace(ssh_target, python="/no/such/python")) as device:
        result = provision(device, ["litert"], offline=wheels)
        assert [(p.name, p.whole) for p in result.packages] == [("ai-edge-litert", False)]
        site = Path(device.path("env", "current", "site"))
        version = site / "ai_edge_litert" / f"ai_edge_litert-{VERSION}.dist-info" / "METADATA"
        assert {path for path in site.rglob("*") if path.is_file()} == {site / LIBRARY, version}
        assert provision(device, ["litert"], offline=wheels).already_there
        with pytest.raises(NoWheelError, match="no Python 3.8 or newer, and the runtime 'torchlite' cannot"):
            provision(device, ["torchlite"], offline=wheels)


@pytest.mark.parametrize("box", BOXES)
def test_the_tools_of_a_device_are_enough(
    box: str, local_target: Target, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Provisioned, verified, removed, examined and introduced under every shell and set of tools that devices have."""
    monkeypatch.setenv("PATH", str(make_box(box, tmp_path / "box")))
    with connect(msgspec.structs.replace(local_target, python="python3")) as device:
        platform = ask_platform(device)
        assert (platform.machine, platform.libc, platform.python) == (host.machine(), "glibc", None)
        result = provision(device, ["litert"], offline=wheels)
        assert differing(device, result_record(device), device.path("env", result.id)) == []
        assert provision(device, ["litert"], offline=wheels).already_there
        now = ask_conditions(device)
        assert now.memory_bytes
        assert now.busy is not None
        assert remove(device)
    told = introduce(local_target)
    assert (told.machine, told.python, len(told.core_khz)) == (host.machine(), None, os.cpu_count())


def result_record(device: Device) -> Record:
    """The record of the current environment."""
    found = installed(device)
    assert found is not None
    assert found.record is not None
    return found.record


def test_a_version_that_has_no_wheel_there_gives_way_to_one_that_has(local_target: Target, wheels: Path) -> None:
    next(wheels.glob("ai_edge_litert*")).unlink()
    make_wheel(wheels, "ai-edge-litert", "0.9", requires=["numpy"])
    with connect(local_target) as device:
        packages = {p.name: p.version for p in provision(device, ["litert"], offline=wheels).packages}
    assert packages == {"ai-edge-litert": "0.9", "numpy": "2.0"}


def test_requirements_are_read_for_the_device_and_not_for_this_machine(local_target: Target, wheels: Path) -> None:
    if not OLD_PYTHON.exists():
        pytest.skip(f"no {OLD_PYTHON} here")
    make_wheel(wheels, "importlib-resources", "6.0")
    make_wheel(wheels, "new-python-only", "1.0")
    make_wheel(wheels, "numpy", "2.1", requires=[
        'importlib-resources>=5; python_version < "3.9"', 'new-python-only; python_version >= "3.9"'
    ])  # fmt: skip
    with connect(msgspec.structs.replace(local_target, python=str(OLD_PYTHON))) as device:
        result = provision(device, ["litert"], offline=wheels)
    assert {p.name for p in result.packages} == {"ai-edge-litert", "flatbuffers", "importlib-resources", "numpy"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"record": {LIBRARY: b"the real one"}}, f"{LIBRARY} is not the file of its RECORD"),
        ({"unlisted": {"ai_edge_litert/evil.pth": b"import os"}}, "evil.pth is not in its RECORD"),
        ({"files": {"../../evil.py": b""}}, "hostile name"),
        ({"files": {"/etc/evil": b""}}, "hostile name"),
        ({"files": {"a\nb": b""}}, "hostile name"),
    ],
)
def test_a_tampered_wheel_is_refused(tmp_path: Path, change: dict[str, dict[str, bytes]], why: str) -> None:
    arguments = {"files": {LIBRARY: b"another one"}, **change}
    path = make_wheel(tmp_path, "ai-edge-litert", VERSION, **arguments)  # type: ignore[arg-type]
    with pytest.raises(WheelError, match="not a wheel to trust") as caught:
        open_wheel(path)
    assert why in str(caught.value)


def test_nothing_is_sent_if_one_wheel_is_tampered_with(local_target: Target, wheels: Path) -> None:
    make_wheel(wheels, "numpy", "2.0", record={"numpy/__init__.py": b"the real one"})
    with connect(local_target) as device, pytest.raises(WheelError, match=r"numpy/__init__\.py is not the file of its"):
        provision(device, ["litert"], offline=wheels)
    assert not (Path(local_target.root) / "env").exists()


def test_a_cut_off_wheel_is_no_wheel(wheels: Path) -> None:
    path = next(wheels.glob("numpy*"))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(WheelError, match="not a wheel to trust"):
        open_wheel(path)


def test_sums_that_come_with_a_folder_of_wheels_count(local_target: Target, wheels: Path) -> None:
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in wheels.glob("*.whl")]
    (wheels / "SHA256SUMS").write_text("".join(lines))
    with connect(local_target) as device:
        provision(device, ["litert"], offline=wheels)
        remove(device)
        make_wheel(wheels, "numpy", "2.0", files={"numpy/__init__.py": b"# whole by its own RECORD, and not ours"})
        with pytest.raises(WheelError, match="SHA256SUMS says"):
            provision(device, ["litert"], offline=wheels)


def test_a_wheel_in_the_cache_that_was_changed_is_fetched_anew(
    local_target: Target, wheels: Path, tmp_path: Path
) -> None:
    with connect(local_target) as device:
        first = provision(device, ["litert"], offline=wheels)
        for kept in (tmp_path / "cache" / "packages").glob("*/*.whl"):
            kept.write_bytes(b"changed")
        remove(device)
        assert provision(device, ["litert"], offline=wheels).id == first.id


def test_no_wheel_for_the_platform_names_it_and_what_would_fetch_one(local_target: Target, wheels: Path) -> None:
    next(wheels.glob("ai_edge_litert*")).rename(wheels / f"ai_edge_litert-{VERSION}-cp37-cp37m-win32.whl")
    with connect(local_target) as device, pytest.raises(NoWheelError) as caught:
        provision(device, ["litert"], offline=wheels)
    message = str(caught.value)
    assert f"{host.machine()} Linux, glibc" in message
    assert f"CPython {host.python_version()}" in message
    assert "pip download --only-binary=:all: --platform manylinux" in message
    assert "ai-edge-litert" in message


def test_without_a_network_it_says_so_and_what_is_missing(
    local_target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with connect(local_target) as device, pytest.raises(NoWheelError) as caught:
        provision(device, ["litert"])
    assert "the package index does not answer" in str(caught.value)
    assert "ai-edge-litert" in str(caught.value)
    assert "--offline-cache" in str(caught.value)


@pytest.mark.parametrize(
    ("platform", "says"),
    [
        (Platform("Linux", "armv7l", "glibc", "2.36", python="3.11.2", implementation="cpython", abi="cp311"),
         "tflite-runtime with the distribution's numpy"),
        (Platform("Linux", "x86_64", "musl", "1.2", python="3.11.2", implementation="cpython", abi="cp311"),
         "--native, which brings a glibc"),
        (Platform("Linux", "armv7l", "bionic", "34"), "aarch64 and x86_64"),
    ],
)  # fmt: skip
def test_platforms_that_nothing_fits_get_the_nearest_remedy(wheels: Path, platform: Platform, says: str) -> None:
    from edgekit.devices.environment.pip import PipError
    from edgekit.devices.environment.refusals import refusal

    error = refusal("the board", ["ai-edge-litert"], platform, PipError("no-wheel", "nothing"), None)
    assert platform.text in str(error)
    assert says in error.remedy


@pytest.mark.parametrize(
    ("said", "machine", "libc"),
    [
        ("machine=aarch64\nbits=32\npython=3.9.2\npython_libc=glibc 2.31", "armv7l", ("glibc", "2.31")),
        ("machine=aarch64\nelf_class= 01\nlibc=glibc 2.31", "armv7l", ("glibc", "2.31")),
        ("machine=x86_64\nlibc=\nlibc=musl 1.2.4", "x86_64", ("musl", "1.2.4")),
        ("machine=riscv64\nlibc_says=GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.", "riscv64",
         ("glibc", "2.36")),
        ("machine=aarch64\nlibc=bionic 34\nelf_class= 02", "aarch64", ("bionic", "34")),
        ("machine=arm64\nsystem=Darwin\nmacos=14.5", "aarch64", ("", "")),
        ("machine=x86_64\npython=3.6.15\nimplementation=cpython", "x86_64", ("", "")),
    ],
)  # fmt: skip
def test_what_a_device_says_of_itself(said: str, machine: str, libc: tuple[str, str]) -> None:
    platform = read_platform(said)
    assert (platform.machine, (platform.libc, platform.libc_version)) == (machine, libc)
    if "3.6" in said:
        assert platform.python is None, "too old for the runner is as good as none"


def test_a_mac_takes_wheels_for_its_own_and_for_older_systems() -> None:
    platform = read_platform("system=Darwin\nmachine=arm64\nmacos=14.5\npython=3.12.1\nimplementation=cpython\n")
    tags = platform.wheel_platforms()
    assert "macosx_14_0_arm64" in tags
    assert "macosx_11_0_universal2" in tags
    assert not any(tag.startswith("macosx_15") for tag in tags)


def test_this_machine_is_recognised(device: Device) -> None:
    found = ask_platform(device)
    assert (found.machine, found.python) == (host.machine(), host.python_version())
    assert f"manylinux_2_{host.libc_ver()[1].split('.')[1]}_{host.machine()}" == found.wheel_platforms()[0]
    assert found.abi == f"cp3{sys.version_info.minor}"


def test_a_cut_link_leaves_the_old_environment_and_the_next_attempt_succeeds(
    proxied_target: Target, proxy: CutProxy, wheels: Path
) -> None:
    with connect(proxied_target) as device:
        first = provision(device, ["litert"], offline=wheels)
    make_wheel(
        wheels, "onnxruntime", "1.20", files={"onnxruntime/__init__.py": b"", "onnxruntime/x": os.urandom(400_000)}
    )
    with pytest.raises(ConnectionLostError), connect(proxied_target) as device:
        proxy.cut_after_bytes = proxy.passed_bytes + 200_000
        provision(device, ["onnxruntime"], offline=wheels)
    assert current(proxied_target.root) == first.id
    plans: list[Expected] = []
    with connect(proxied_target) as device:
        result = provision(device, ["onnxruntime"], offline=wheels, progress=Progress(on_plan=plans.append))
        assert current(device.root) == result.id != first.id
    assert [plan.new_bytes for plan in plans] == [result.sent_bytes]


def test_a_full_disk_is_told_before_anything_is_sent_and_while_it_unpacks(
    local_target: Target, wheels: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(root, "2m"), connect(local_target) as device:
        first = provision(device, ["litert"], offline=wheels)
        make_wheel(wheels, "onnxruntime", "1.20", files={"onnxruntime/zeros": bytes(4_000_000)})
        with pytest.raises(DeviceStorageError, match=r"no space left .* it needs 4 MB"):
            provision(device, ["onnxruntime"], offline=wheels)
        monkeypatch.setattr(install, "_check_space", lambda *_: None)
        with pytest.raises(DeviceStorageError, match="no space left while unpacking"):
            provision(device, ["onnxruntime"], offline=wheels)
        assert current(device.root) == first.id
        assert not list(Path(device.path("tmp")).iterdir())


def test_what_unpacks_otherwise_than_here_is_not_published(
    local_target: Target, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "UNPACK", install.UNPACK + "\nopen(os.path.join(site, 'numpy/__init__.py'), 'w')\n")
    with connect(local_target) as device:
        with pytest.raises(TransferError, match=r"numpy/__init__\.py computed there differs"):
            provision(device, ["litert"], offline=wheels)
        assert installed(device) is None


def test_a_colon_in_the_root_is_refused(local_target: Target, wheels: Path, tmp_path: Path) -> None:
    with (
        connect(msgspec.structs.replace(local_target, root=str(tmp_path / "a:b"))) as device,
        pytest.raises(RemoteCommandError, match="colon"),
    ):
        provision(device, ["litert"], offline=wheels)


def test_an_unknown_runtime_lists_the_known_ones(local_target: Target) -> None:
    with connect(local_target) as device, pytest.raises(PluginError, match="litert"):
        provision(device, ["litertt"])

"""The aarch64 board: what EdgeKit does on a real foreign processor, end to end, and what it says when that cannot be.

Emulation tells whether answers are right, never how fast they are; so nothing here looks at a latency.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from board import ADB_PORT, Board
from link import Link

from edgekit.artifact import Artifact, FileEntry, open_artifact
from edgekit.bench import bench
from edgekit.bench.extras import Extras
from edgekit.bench.verify import verify
from edgekit.bundle import write_bundle
from edgekit.deploy import deploy, status
from edgekit.devices import Target, connect, load_target
from edgekit.devices.environment import provision, remove
from edgekit.devices.target import AdbSettings, Limits
from edgekit.errors import ConnectionLostError, RunnerError, RuntimeMissingError, UnsuitableArtifactError
from tests.bundle.compiling import ZIG_AARCH64, compiled

if TYPE_CHECKING:
    from edgekit.devices import Device

pytestmark = [pytest.mark.device, pytest.mark.slow]

FORMATS = ["tflite-float32", "tflite-int8", "tvm-float32-aarch64-linux-gnu"]


def edgekit(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *map(str, arguments), "--json"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(done.stdout, type=dict)


def with_runner(target: Target, runner: str) -> Target:
    return msgspec.structs.replace(target, runner=runner)


def test_it_is_another_machine(aarch64_device: Device) -> None:
    def says(*argv: str) -> str:
        return aarch64_device.run(list(argv), step="asking").stdout.decode().strip()

    assert says("uname", "-m") == "aarch64"
    assert "CPU part\t: 0xd03" in says("cat", "/proc/cpuinfo")
    assert says("cat", "/sys/class/thermal/thermal_zone0/temp") == "41500"
    assert says("cat", "/proc/sys/kernel/random/boot_id") != Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert says("sh", "-c", "cat /proc/[0-9]*/comm | wc -l").isdigit()
    assert says("sh", "-c", "echo x > /usr/bin/x || echo refused") == "refused"  # the cached root stays as it is


def test_the_doctor_finds_its_runtimes(aarch64_file: Path) -> None:
    findings = {found["subject"]: found for found in edgekit("doctor", aarch64_file)["findings"]}
    assert "aarch64" in findings["Python"]["what"]
    assert findings["runtime litert"]["level"] == "ok"
    assert "2.3.0" in findings["runtime litert"]["what"]
    assert findings["runtime tvm"]["level"] == "ok"
    assert findings["temperature"]["what"].startswith("42")


def test_a_hot_board_is_waited_for_and_its_heat_stands_beside_a_sustained_run(
    digits: Path, aarch64_board: Board, aarch64_target: Target
) -> None:
    zone = aarch64_board.folder / "thermal/thermal_zone0/temp"
    target = msgspec.structs.replace(aarch64_target, limits=Limits(max_temperature_c=70, poll_s=0.1), runner="native")
    waits: list[str] = []

    def heat(_block: int, event: dict[str, Any]) -> None:
        if event["event"] == "waiting":
            waits.append(event["because"])
            zone.write_text("50000\n")
        elif event["event"] == "chunk":
            zone.write_text("66000\n")

    zone.write_text("84000\n")
    try:
        with connect(target) as device:
            artifact = open_artifact(digits / FORMATS[1])
            run = bench(device, artifact, threads=1, blocks=1, extras=Extras(sustained_s=4), on_event=heat)
    finally:
        zone.write_text("41500\n")
    assert waits == ["0:cpu-thermal is at 84.0 °C, above the 70 that its target allows"]
    assert run.blocks[0].guard is not None
    assert run.blocks[0].guard.before.values["temperature_c"] == {"0:cpu-thermal": 50.0}
    assert run.sustained is not None
    assert run.sustained.complete
    assert (run.sustained.temperature_c[0], run.sustained.temperature_c[-1]) == (50.0, 66.0)
    assert run.sustained.missing == {"frequency_hz": "no cpufreq in sysfs"}


@pytest.mark.parametrize(
    ("name", "runner"),
    [(FORMATS[0], "native"), (FORMATS[1], "python"), (FORMATS[2], "python"), (FORMATS[2], "native")],
)
def test_every_artifact_answers_as_on_the_host(digits: Path, aarch64_target: Target, name: str, runner: str) -> None:
    with connect(with_runner(aarch64_target, runner)) as device:
        result = verify(device, open_artifact(digits / name), push=True)
    assert result.passed
    assert all(output.exact or output.snr_db > 60 for output in result.outputs)


def test_a_bundle_in_c_answers_as_on_the_host(digits: Path, aarch64_device: Device, tmp_path: Path) -> None:
    """`edgekit bundle --for c`, compiled by zig: its own test, with models compiled in and the board's LiteRT."""
    write_bundle([open_artifact(digits / name) for name in FORMATS[:2]], "c", tmp_path / "out", None, {"array": ""})
    program = compiled(tmp_path / "out", "golden_test", "-O2", "-s", compiler=ZIG_AARCH64)
    golden = tmp_path / "out/tests/golden"
    files = {"test": program, **{f"golden/{f.parent.name}/{f.name}": f for f in golden.rglob("*.npy")}}
    there = "/data/c-bundle"
    aarch64_device.run(["mkdir", "-p", *(f"{there}/golden/{name}" for name in FORMATS[:2])], step="preparing")
    for name, file in files.items():
        aarch64_device.transport.put(file, f"{there}/{name}", step="pushing")
    aarch64_device.run(["chmod", "755", f"{there}/test"], step="preparing")
    run = ["env", "LITERT_LIBRARY=/opt/ai_edge_litert/libLiteRt.so", f"{there}/test", "-", f"{there}/golden"]
    done = aarch64_device.run(run, timeout_s=120, step="the golden test")
    assert done.code == 0, done.stdout.decode() + done.stderr.decode()
    said = done.stdout.decode().splitlines()
    assert [line.split(": ")[0] for line in said] == FORMATS[:2]
    assert not [line for line in said if "WRONG" in line]


@pytest.mark.parametrize(("name", "runner"), [(FORMATS[1], "python"), (FORMATS[1], "native"), (FORMATS[2], "native")])
def test_its_accuracy_there_is_the_hosts(
    digits: Path, aarch64_file: Path, tmp_path: Path, name: str, runner: str
) -> None:
    """Of a few samples; what this machine cannot run is held against the golden answers."""
    made = edgekit("evaluate", digits / name, "--on", aarch64_file, "--runner", runner, "--limit", 6, "--batch", 2,
                   "--out", tmp_path / "runs")["evaluated"]  # fmt: skip
    assert (made["outcome"], made["agreement"]["agreed"], made["agreement"]["samples"]) == ("same", True, 6)
    assert made["accuracy"]["device"] == 1.0
    assert made["accuracy"]["here"] == (None if name == FORMATS[2] else 1.0)
    assert made["facts"]["values"]["machine"] == "aarch64"


def test_a_bench_tells_what_it_measured_on(digits: Path, aarch64_file: Path, tmp_path: Path) -> None:
    found = edgekit("bench", digits / FORMATS[1], "--on", aarch64_file, "--blocks", 1, "--out", tmp_path / "runs")
    (kept,) = found["runs"]
    before = kept["run"]["blocks"][0]["before"]["values"]
    assert (before["machine"], before["cores"]) == ("aarch64", 2)
    assert before["temperature_c"] == {"0:cpu-thermal": 41.5}
    assert kept["run"]["context"]["runtime"] == "litert"
    assert Path(kept["file"]).is_file()


def test_deploy_and_the_sha256_computed_there(digits: Path, aarch64_device: Device) -> None:
    artifact = open_artifact(digits / FORMATS[0])
    deploy(aarch64_device, artifact)
    (one,) = status(aarch64_device)
    assert (one.current_id, one.whole) == (artifact.id, True)
    link = aarch64_device.path("models/digits_cnn/current/payload/model.tflite")
    said = aarch64_device.run(["sha256sum", link], step="hashing").stdout.decode()
    assert said.split()[0] == hashlib.sha256((artifact.path / "payload/model.tflite").read_bytes()).hexdigest()


def test_the_same_over_adb(digits: Path, aarch64_board: Board) -> None:
    """Debian's adbd for arm64, emulated, and the genuine adb server of this machine at the far end of the link."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        address = f"localfilesystem:{folder}/adb"
        environment.setenv("ADB_SERVER_SOCKET", address)
        environment.setenv("HOME", folder)
        server = aarch64_board.link.popen(["adb", "-L", address, "server", "nodaemon"], stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 20
            while not Path(folder, "adb").exists() and time.monotonic() < end:
                time.sleep(0.05)
            settings = AdbSettings(host="127.0.0.1", port=ADB_PORT, connect_timeout_s=60)
            target = Target(name="arm-adb", transport="adb", adb=settings, root="/data/adb", runner="native")
            with connect(target) as device:
                assert verify(device, open_artifact(digits / FORMATS[1]), push=True).passed
                assert deploy(device, open_artifact(digits / FORMATS[1])).already_there
        finally:
            server.kill()
            server.wait()


# What does not fit the board


@pytest.fixture
def changed(tmp_path: Path) -> Any:
    """Makes an artifact of another one's with another payload; its hashes are right."""

    def make(artifact: Artifact, payload: bytes) -> Artifact:
        manifest = artifact.manifest
        files = tuple(
            FileEntry(entry.path, len(payload), hashlib.sha256(payload).hexdigest())
            if entry.path == manifest.payload
            else entry
            for entry in manifest.files
        )
        encoded = msgspec.structs.replace(manifest, files=files).encode()
        artifact_id = hashlib.sha256(encoded).hexdigest()
        folder = tmp_path / "changed"
        shutil.copytree(artifact.path, folder)
        (folder / manifest.payload).write_bytes(payload)
        (folder / "manifest.json").write_bytes(encoded)
        assert open_artifact(folder).id == artifact_id
        return open_artifact(folder)

    return make


@pytest.mark.parametrize("runner", ["python"])
def test_a_payload_for_another_processor_is_told(digits: Path, aarch64_target: Target, runner: str) -> None:
    artifact = open_artifact(digits / "tvm-float32-x86_64-linux-gnu")
    with (
        connect(with_runner(aarch64_target, runner)) as device,
        pytest.raises(
            UnsuitableArtifactError, match=r"(?s)'arm' \(ssh root@.*for x86_64.*is aarch64.*tvm:float32@aarch64"
        ),
    ):
        verify(device, artifact, push=True)


@pytest.mark.parametrize("runner", ["python"])
def test_a_payload_for_a_newer_c_library_is_told(
    digits: Path, aarch64_target: Target, changed: Any, tmp_path: Path, runner: str
) -> None:
    payload = needs_newer_glibc(tmp_path)
    artifact = changed(open_artifact(digits / FORMATS[2]), payload)
    with (
        connect(with_runner(aarch64_target, runner)) as device,
        pytest.raises(RunnerError, match=r"(?s)'arm'.*GLIBC_9\.9.*C library.*older") as caught,
    ):
        verify(device, artifact, push=True)
    assert "runtime's version" not in caught.value.remedy


def needs_newer_glibc(folder: Path) -> bytes:
    """A library for aarch64 that asks for a symbol of glibc 9.9: linked against a libc.so.6 that says it has one."""
    (folder / "libc.c").write_text("int of_the_future(void) { return 1; }\n")
    (folder / "map").write_text("GLIBC_9.9 { global: of_the_future; };\n")
    (folder / "model.c").write_text("int of_the_future(void); int model(void) { return of_the_future(); }\n")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu", "-shared", "-fPIC", "-nostdlib"]
    for extra in (
        ["-Wl,-soname,libc.so.6", "-Wl,--version-script=map", "-o", "libc.so.6", "libc.c"],
        ["-o", "model.so", "model.c", "./libc.so.6"],
    ):
        subprocess.run([*zig, *extra], cwd=folder, check=True, capture_output=True)
    return (folder / "model.so").read_bytes()


def test_a_board_without_runtimes_is_provisioned_from_here(digits: Path, tmp_path: Path) -> None:
    """With the libraries alone, and then with a whole environment of 1,300 files; each is taken away again."""
    artifact = open_artifact(digits / FORMATS[1])
    with Link() as link, Board(link, tmp_path / "bare", wheels=()) as bare:
        target = load_target(str(bare.write_target(tmp_path / "bare.toml", "bare")))
        for kind, alone, wheels in (
            ("native", True, {"ai_edge_litert"}),
            ("python", False, {"ai_edge_litert", "numpy"}),
        ):
            with connect(target) as device:
                with pytest.raises(RuntimeMissingError, match=r"(?s)'bare'.*nothing that runs litert.*numpy") as caught:
                    verify(device, artifact, push=True)
                assert "edgekit provision bare --runtime litert" in caught.value.remedy
                result = provision(device, ["litert"], libraries_only=alone)
                assert {one.file.partition("-")[0] for one in result.packages} >= wheels
                assert all(one.file.endswith(("_aarch64.whl", "-none-any.whl")) for one in result.packages)
            with connect(target) as device:
                assert verify(device, artifact, push=True).passed
                assert device.runners["litert"].kind == kind
                if kind == "native":
                    assert provision(device, ["litert"], libraries_only=True).already_there
                assert remove(device)


# Power


def test_a_power_cut_during_a_bench_is_told_and_the_next_one_works(digits: Path, tmp_path: Path) -> None:
    artifact = open_artifact(digits / FORMATS[1])
    with Link() as link, Board(link, tmp_path / "weak") as weak:
        target = with_runner(load_target(str(weak.write_target(tmp_path / "weak.toml", "weak"))), "native")
        with connect(target) as device, pytest.raises(ConnectionLostError, match="'weak'.*while running the runner"):
            bench(device, artifact, threads=1, blocks=1, on_event=lambda _block, _event: weak.power_off())
        weak.power_on()
        with connect(target) as device:
            run = bench(device, artifact, threads=1, blocks=1)
            assert deploy(device, artifact).already_there
    assert run.blocks[0].golden

"""Devices without glibc: real adbds in roots without one, glibc from Debian's real archive, and wrong packages."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from board import CORE
from debs import ar, make_deb, make_glibc, tar
from wheelhouse import make_wheel

from edgekit.artifact import open_artifact
from edgekit.bench.doctor import examine
from edgekit.bench.gate import Plan, gate
from edgekit.bench.measure import golden_request
from edgekit.bench.verify import verify
from edgekit.devices import Target, connect
from edgekit.devices.environment import ask_platform, differing, install, installed, provision, remove
from edgekit.devices.environment.deb import open_deb
from edgekit.devices.environment.needs import pinned
from edgekit.devices.environment.platforms import Platform
from edgekit.devices.native_runner import native_runner, native_triple
from edgekit.errors import NoWheelError, RemoteCommandError, RuntimeMissingError, WheelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from adb_network import Adbd

PHONE = Platform("Linux", "aarch64", "bionic", "34")
ROOT = "/data/local/tmp/edge kit"


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def offline(tmp_path: Path, fresh_cache: None) -> Path:
    """A folder with all that an ARM phone needs for LiteRT."""
    folder = tmp_path / "wheel house"
    make_glibc(folder, "arm64")
    version = pinned("ai-edge-litert").partition("==")[2] or "1.5"
    files = {"ai_edge_litert/libLiteRt.so": b"\x7fELF" + bytes(1000)}
    make_wheel(folder, "ai-edge-litert", version, files=files, tag="py3-none-manylinux_2_27_aarch64")
    return folder


# What should work


@pytest.mark.device
@pytest.mark.slow
@pytest.mark.parametrize("libc", ["bionic", "musl"])
def test_a_device_without_glibc_gets_one_beside_the_runner_and_measures(
    libc: str, strange: Callable[[str], Adbd], digits: Path
) -> None:
    artifact, other = open_artifact(digits / "tflite-int8"), open_artifact(digits / "tflite-float32")
    adbd = strange(libc)
    target = adbd.target("phone", root=ROOT)
    with connect(target) as device:
        platform = ask_platform(device)
        assert (platform.libc, platform.python) == (libc, None)
        program, _ = native_runner(native_triple(platform))
        there = adbd.seen("/data/local/tmp/program")
        there.write_bytes(program.read_bytes())
        there.chmod(0o755)
        assert device.run(["/data/local/tmp/program"], step="trying").code in (126, 127), "else this tests nothing"
        with pytest.raises(RuntimeMissingError, match=r"has no glibc, which .* Nothing was sent") as caught:
            verify(device, artifact, push=True)
        assert "edgekit provision phone --native" in caught.value.remedy
        findings = {finding.subject: finding for finding in examine(device)}
        assert (findings["runner"].level, findings["runner"].remedy) == ("missing", caught.value.remedy)
    with connect(target) as device:
        result = provision(device, ["litert"])
        assert {one.name for one in result.packages} == {"libc6", "libgcc-s1", "libstdc++6", "ai-edge-litert"}
        assert provision(device, ["litert"]).already_there
        assert verify(device, artifact, push=True).passed
        findings = {finding.subject: finding for finding in examine(device)}
        assert findings["environment"].level == findings["runner"].level == findings["runtime litert"].level == "ok"
        assert "with a glibc-2." in findings["runner"].what
        assert findings["runtime litert"].what == f"ai_edge_litert {version('ai-edge-litert')}"
        found = gate(device, artifact, other, plan=Plan(pairs=3, max_pairs=3, seed=1, tolerance=0.5), threads=1)
        assert found.baseline.context.execution == "process, in turns"  # so the program has started itself twice
        assert found.baseline.context.runner == "native"
        assert found.baseline.context.version == version("ai-edge-litert")
    with connect(target) as device:
        loader = adbd.seen(device.path("env/current/site/glibc/ld-linux-x86-64.so.2"))
        loader.unlink()
        now = installed(device)
        assert now is not None
        assert now.record is not None
        assert differing(device, now.record, device.path("env", now.id)) == ["glibc/ld-linux-x86-64.so.2"]
        with pytest.raises(RuntimeMissingError, match="has no glibc"):
            verify(device, artifact, push=True)
    with connect(target) as device:
        assert not provision(device, ["litert"]).already_there
        assert verify(device, artifact, push=True).passed
        assert remove(device)
        assert not adbd.seen(device.path("env")).exists()


@pytest.mark.device
@pytest.mark.slow
def test_the_program_runs_with_a_glibc_of_arm(tmp_path: Path, digits: Path) -> None:
    """The plan for an ARM phone, unpacked here, under emulation: that glibc, that LiteRT, and no root of a system."""
    from tests.runner.native.conftest import Program

    plan = install.make_plan("the phone", PHONE, ["litert"])
    site = tmp_path / "env" / "current" / "site"
    for package, files in plan.parts:
        for file, content in zip(files, package.contents(files), strict=True):
            path = site / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    loader = site / "glibc" / "ld-linux-aarch64.so.1"
    loader.chmod(0o755)
    program, _ = native_runner(native_triple(PHONE), str(loader))
    program.chmod(0o755)
    environment = {**os.environ, "QEMU_SET_ENV": f"LD_LIBRARY_PATH={loader.parent}", "QEMU_CPU": "cortex-a53"}
    cpuinfo = tmp_path / "cpuinfo"  # of the machine here, LiteRT would believe it
    cpuinfo.write_text(CORE.format(core=0))
    shown = ("unshare", "--mount", "sh", "-ec", 'mount --bind "$1" /proc/cpuinfo; shift; exec "$@"', "sh", str(cpuinfo))
    run = Program((*shown, "qemu-aarch64-static", str(program)), environment)
    libraries = {"litert": [str(site / "ai_edge_litert" / "libLiteRt.so")]}
    answer = run({"schema": 1, "do": "info", "runtimes": ["litert"], "libraries": libraries})
    assert answer.status == 0, answer
    assert answer.order == ["hello", "facts", "runtime", "done"]
    assert answer.named("facts")["values"]["machine"] == "aarch64"
    assert answer.named("facts")["values"]["libc"] == f"glibc-{plan.parts[0][0].version.partition('-')[0]}"
    artifact = open_artifact(digits / "tflite-int8")
    request = golden_request(artifact, str(artifact.path))
    answer = run({"schema": 3, "do": "check", "threads": 1, "libraries": libraries, **request})
    assert answer.status == 0, answer
    assert [output["exact"] for output in answer.named("golden")["outputs"]] == [True]


def test_the_loader_is_the_program_s_interpreter_and_part_of_what_it_is_made_of(tmp_path: Path) -> None:
    loader = f"{tmp_path}/a, b/ld-linux-x86-64.so.2"
    triple = native_triple(Platform("Linux", "x86_64", "bionic", "34"))
    program, _ = native_runner(triple, loader)
    assert loader.encode() + b"\0" in program.read_bytes()
    assert native_runner(triple)[0] != program != native_runner(triple, loader + "2")[0]


def test_a_folder_stands_in_for_debian_s_archive(offline: Path) -> None:
    plan = install.make_plan("the phone", PHONE, ["litert"], offline)
    assert [one.name for one in plan.record.packages] == ["libc6", "libgcc-s1", "libstdc++6", "ai-edge-litert"]
    assert plan.record.platform == PHONE
    contents = {
        file.path: content
        for package, files in plan.parts
        for file, content in zip(files, package.contents(files), strict=True)
    }
    assert contents["glibc/libstdc++.so.6"] == b"stdc++", "the link was followed"
    assert contents["glibc/ld-linux-aarch64.so.1"] == b"ld-linux-aarch64.so.1"
    assert set(contents) == set(plan.record.files)


def test_devices_with_a_glibc_get_none(offline: Path) -> None:
    board = Platform("Linux", "aarch64", "glibc", "2.36")
    plan = install.make_plan("the board", board, ["litert"], offline)
    assert [one.name for one in plan.record.packages] == ["ai-edge-litert"]


def test_a_device_with_musl_and_python_is_pointed_to_the_native_runner(offline: Path) -> None:
    musl = Platform("Linux", "aarch64", "musl", "1.2", python="3.11.2", implementation="cpython", abi="cp311")
    with pytest.raises(NoWheelError) as caught:
        install.make_plan("the board", musl, ["litert"], offline)
    assert "--native" in caught.value.remedy
    assert "libc6" in {p.name for p in install.make_plan("b", musl.without_python, ["litert"], offline).record.packages}


# What should not


def test_packages_that_are_not_there_are_named_with_the_command_that_fetches_them(offline: Path) -> None:
    next(offline.glob("libgcc-s1_*")).unlink()
    with pytest.raises(
        NoWheelError, match=r"the phone \(.*Android 34.* no glibc.*lacks Debian's libgcc-s1 for"
    ) as caught:
        install.make_plan("the phone", PHONE, ["litert"], offline)
    assert "apt-get download libc6:arm64 libgcc-s1:arm64 libstdc++6:arm64" in caught.value.remedy
    assert "--offline-cache" in caught.value.remedy


def test_of_two_versions_none_is_guessed(offline: Path) -> None:
    make_deb(offline, "libgcc-s1", {}, version="14.2", architecture="arm64")
    with pytest.raises(NoWheelError, match=r"holds libgcc-s1_14.2_arm64.deb and libgcc-s1_2.36"):
        install.make_plan("the phone", PHONE, ["litert"], offline)


def test_a_package_for_another_processor_or_of_another_name_is_refused(offline: Path) -> None:
    called = next(offline.glob("libgcc-s1_*")).name
    make_deb(offline, "libgcc-s1", {}, architecture="amd64", called=called)
    with pytest.raises(WheelError, match="is libgcc-s1 for amd64, not libgcc-s1 for arm64, which the phone needs"):
        install.make_plan("the phone", PHONE, ["litert"], offline)
    make_deb(offline, "libevil", {}, architecture="arm64", called=called)
    with pytest.raises(WheelError, match="is libevil for arm64, not libgcc-s1"):
        install.make_plan("the phone", PHONE, ["litert"], offline)


def test_sums_hold_for_packages_too(offline: Path) -> None:
    (offline / "SHA256SUMS").write_text("")
    with pytest.raises(WheelError, match=r"libc6_.*SHA256SUMS says nothing: it is not listed"):
        install.make_plan("the phone", PHONE, ["litert"], offline)


CONTROL = tar({"control": b"Package: libc6\nVersion: 1\nArchitecture: arm64\n"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not begin like one"),
        (b"PK\3\4", "does not begin like one"),
        (b"!<arch>\n", r"has no control\.tar"),
        (b"!<arch>\nshort", "is damaged"),
        (ar({"control.tar.xz": CONTROL})[:-9], "is cut off"),
        (ar({"control.tar.xz": CONTROL}).replace(b"`\n", b"..", 1), "is damaged"),
        (ar({"control.tar.xz": CONTROL[:60]}), r"control\.tar\.xz is damaged"),
        (ar({"control.tar.zst": b"\x28\xb5\x2f\xfd0000"}), r"control\.tar\.zst is damaged: dpkg-deb"),
        (ar({"control.tar.lz4": CONTROL}), r"control\.tar\.lz4 is packed in a way"),
        (ar({"control.tar.xz": tar({"other": b""})}), "says nothing of itself"),
        (ar({"control.tar.xz": tar({"control": b"Package: libc6\n"})}), "does not say its name, version"),
        (ar({"control.tar.xz": tar({}, {"control": "/etc/passwd"})}), "says nothing of itself"),
        (ar({"control.tar.xz": tar({"control": b"Package: a\nVersion: \xff\nArchitecture: b\n"})}), "does not say its"),
        (b"!<arch>\n" + f"{'control.tar.xz/':<16}{0:<12}{0:<6}{0:<6}{0:<8}{9999999999:<10}`\n".encode(), "is damaged"),
    ],
)
def test_damaged_packages_are_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "libc6_1_arm64.deb"
    path.write_bytes(content)
    with pytest.raises(WheelError, match=rf"libc6_1_arm64\.deb is not a package .*{says}.* Nothing was sent"):
        open_deb(path)


def test_ubuntu_s_packages_are_unpacked_by_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "root" / "usr" / "lib" / "x" / "libm.so.6"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"m")
    control = tmp_path / "root" / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text("Package: libc6\nVersion: 1\nArchitecture: arm64\nMaintainer: a test\nDescription: test\n")
    path = tmp_path / "libc6_1_arm64.deb"
    subprocess.run(
        ["dpkg-deb", "-Zzstd", "--build", str(tmp_path / "root"), str(path)], check=True, capture_output=True
    )
    assert b"data.tar.zst" in path.read_bytes()
    deb = open_deb(path)
    assert list(deb.contents(deb.libraries(["libm.so.6"], "glibc"))) == [b"m"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WheelError, match="packed with zstd, as Ubuntu's .* no dpkg-deb here"):
        open_deb(path)


@pytest.mark.parametrize(
    ("files", "links", "says"),
    [
        ({}, {}, r"has no libm\.so\.6"),
        ({}, {"usr/lib/x/libm.so.6": "libm.so.6"}, r"has no libm\.so\.6"),
        ({}, {"usr/lib/x/libm.so.6": "../../../../../etc/passwd"}, r"has no libm\.so\.6"),
        ({}, {"usr/lib/x/libm.so.6": "/etc/passwd"}, r"has no libm\.so\.6"),
        ({"usr/lib/x/deep/libm.so.6": b""}, {}, r"has no libm\.so\.6"),
        ({"usr/share/x/libm.so.6": b""}, {}, r"has no libm\.so\.6"),
    ],
    ids=["nothing", "itself", "outside", "absolute", "below", "elsewhere"],
)
def test_a_library_is_a_file_of_the_package_or_it_is_not_there(
    files: dict[str, bytes], links: dict[str, str], says: str, tmp_path: Path
) -> None:
    deb = open_deb(make_deb(tmp_path, "libc6", files, links))
    with pytest.raises(WheelError, match=says):
        deb.libraries(["libm.so.6"], "glibc")


def test_a_data_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    data = tar({"usr/lib/x/libm.so.6": os.urandom(100_000)})
    path = tmp_path / "libc6_1_arm64.deb"
    path.write_bytes(ar({"control.tar.xz": CONTROL, "data.tar.xz": data[:-5000]}))
    with pytest.raises(WheelError, match=r"its data\.tar\.xz is damaged"):
        open_deb(path).libraries(["libm.so.6"], "glibc")


@pytest.mark.parametrize(
    ("apt", "says"),
    [
        (None, "there is no apt-get here"),
        ("echo 'E: The repository is not signed.' >&2; exit 100", "for arm64: The repository is not signed"),
        ("[ $9 = update ] || { echo 'E: Unable to locate package libc6' >&2; exit 100; }; true", "Unable to locate"),
        ("echo no such option >&2; exit 1", "no such option"),
        ("exit 0", "apt fetched nothing of it"),
        (
            "[ $9 = update ] && { echo 'W: Failed to fetch the index  Could not connect' >&2; exit 0; }; exit 100",
            r"\(Failed to fetch the index  Could not connect\)",
        ),
    ],
    ids=["absent", "unsigned", "not for that processor", "another", "nothing", "no network"],
)
def test_what_apt_says_is_told(
    apt: str | None, says: str, tmp_path: Path, fresh_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if apt is not None:
        (tmp_path / "apt-get").write_text(f'#!/bin/sh\nfor last; do :; done\nset -- 1 2 3 4 5 6 7 8 "$last"\n{apt}\n')
        (tmp_path / "apt-get").chmod(0o755)
    with pytest.raises(
        NoWheelError, match=rf"the phone \(.* has no glibc, which .*{says}.* Nothing was sent"
    ) as caught:
        install.make_plan("the phone", PHONE, ["litert"])
    assert "--offline-cache" in caught.value.remedy


def test_a_phone_of_32_bits_is_told_that_nothing_fits(offline: Path) -> None:
    old = msgspec.structs.replace(PHONE, machine="armv7l")
    with pytest.raises(NoWheelError, match="the phone") as caught:
        install.make_plan("the phone", old, ["litert"], offline)
    assert "armv7l Linux, Android 34" in str(caught.value)
    assert "aarch64 and x86_64" in caught.value.remedy


def test_a_root_that_glibc_s_loader_would_split_is_refused(offline: Path, tmp_path: Path) -> None:
    with connect(Target(name="here", transport="local", root=str(tmp_path / "a;b"))) as device:
        plan = install.make_plan("the phone", PHONE, ["litert"], offline)
        with pytest.raises(RemoteCommandError, match=r"has a ; or a \$ in its name"):
            install._upload(device, plan, lambda _: None, None)

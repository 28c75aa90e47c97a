"""The Kotlin compiler out of npm, and Android as stubs: what is generated is compiled, and run on a JVM here."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import npm

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = "2.4.20"
SHA512 = "IF5IVM7LpPhA/ntHQQpaVt1yxpaaQovtEVYLyqWMuaLr0XelLPPm7/sM6HLhtcRjjjoSsK7I7lP2kzYJkMy73w=="
STUBS = Path(__file__).parent / "stubs" / "android"
QUICK = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
"""Of a process that lives for seconds: half the processor time of the usual compilers."""


def library(*names: str) -> list[str]:
    """Jars of the compiler's package, which is fetched once (90 MB)."""
    final = Path(os.environ["EDGEKIT_CACHE"]) / "npm" / f"kotlin-compiler-{VERSION}"
    if not final.is_dir():
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent) as temporary:
            archive = npm.fetch(f"kotlin-compiler@{VERSION}", SHA512, Path(temporary))
            npm.unpack(archive, Path(temporary) / "made")
            (Path(temporary) / "made").rename(final)
    return [str(final / "lib" / f"{name}.jar") for name in names]


def compiled(sources: Iterable[Path], output: Path) -> subprocess.CompletedProcess[str]:
    """Compiles Kotlin beside the stubs: warnings are errors, visibility is spelled out, as in build.gradle.kts."""
    compiler = library(
        "kotlin-compiler", "kotlin-stdlib", "kotlin-reflect", "kotlin-script-runtime", "annotations-13.0",
        "kotlinx-coroutines-core-jvm",
    )  # fmt: skip
    command = [
        *QUICK, "-Xmx1g", "-cp", ":".join(compiler), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        "-no-stdlib", "-no-reflect", "-cp", library("kotlin-stdlib")[0], "-jvm-target", "17", "-Werror",
        "-Xexplicit-api=strict", "-d", str(output), *map(str, sources), str(STUBS),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def run(classes: Path, main: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs a main class on the JVM; the stubs are compiled by javac."""
    stubs = classes / "stubs"
    if not stubs.is_dir():
        files = [str(file) for file in STUBS.rglob("*.java")]
        subprocess.run(["javac", "-d", str(stubs), *files], check=True,
                       timeout=120)  # fmt: skip
    path = ":".join([str(classes), str(stubs), *library("kotlin-stdlib")])
    return subprocess.run([*QUICK, *flags, "-cp", path, main], capture_output=True, text=True, timeout=120)

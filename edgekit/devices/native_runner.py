"""The native runner as one file: `edgekit/runner/native/*.c`, compiled for a device's processor and C library.

`zig cc` (the `ziglang` package, extra `native`) compiles for every triple from any machine, against an old glibc. A
program is built when it is first needed and kept in the cache under a hash of what it is made of: sources, flags,
triple, compiler. So the same sources give the same file, its sha256 names it, and a device gets it once.

A device without glibc has one of ours beside it (`environment.glibc`). The program for it is the same, but for the name
of its interpreter, which is that glibc's loader: so it is started like any program, and can start itself again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit import runner
from edgekit.devices.environment import glibc
from edgekit.errors import MissingPackageError, RunnerError
from edgekit.files import cache_folder, canonical_json, write_file, writing

if TYPE_CHECKING:
    from edgekit.devices.environment.platforms import Platform

BUILD_TIMEOUT_S = 300
FLAGS = (
    "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-s", "-fPIE", "-fstack-protector-strong",
    "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Wmissing-prototypes",
    "-Wvla", "-Werror",
)  # fmt: skip
LIBRARIES = ("-ldl", "-lm")
TRIPLES = {
    ("x86_64", "glibc"): "x86_64-linux-gnu.2.17",
    ("aarch64", "glibc"): "aarch64-linux-gnu.2.17",
    ("armv7l", "glibc"): "arm-linux-gnueabihf.2.17",
    ("riscv64", "glibc"): "riscv64-linux-gnu.2.27",
}
"""By processor and C library: what the compiler calls it, with the oldest C library that will do."""


def native_triple(platform: Platform) -> str:
    """The triple of a device's native runner.

    Raises:
        RunnerError: there is none for its processor or its C library.
    """
    libc = "glibc" if glibc.is_lacking(platform) else platform.libc or "glibc"
    triple = TRIPLES.get((platform.machine, libc)) if platform.system == "Linux" else None
    if triple is None:
        known = ", ".join(sorted({machine for machine, _ in TRIPLES}))
        raise RunnerError(
            f"There is no native runner for {platform.text}: it is built for Linux with glibc on {known}.",
            remedy="Install Python 3.8 or newer there, and take the Python runner: --runner python.",
        )
    return triple


def sources() -> list[Path]:
    """The C files and headers, sorted."""
    folder = Path(runner.__file__).parent / "native"
    return sorted([*folder.glob("*.c"), *folder.glob("*.h")])


def native_runner(triple: str, interpreter: str = "") -> tuple[Path, str]:
    """The runner's program for a triple, in the cache, and its sha256. Builds it if it is not there.

    Args:
        triple: see `native_triple`.
        interpreter: the path of the loader on the device; "": the one that systems with glibc have.

    Raises:
        MissingPackageError: the compiler is not installed.
        RunnerError: it does not compile.
        StorageError: the cache cannot be written.
    """
    folder = cache_folder() / "runner" / "native" / _recipe(triple, interpreter)
    path = folder / f"runner-{triple}.elf"
    if not path.is_file():
        write_file(path, _compile(triple, interpreter))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _compiler_version() -> str:
    if importlib.util.find_spec("ziglang") is None:
        raise MissingPackageError(
            "The native runner is compiled for the device by ziglang, which is not installed here.",
            remedy="Install it: pip install 'edgekit[native]'. Or take the Python runner: --runner python.",
        )
    return importlib.metadata.version("ziglang")


def _recipe(triple: str, interpreter: str = "") -> str:
    """A hash of everything that the program is made of."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources()}
    parts = {
        "files": files,
        "flags": [*FLAGS, *LIBRARIES, *_linking(interpreter)],
        "triple": triple,
        "ziglang": _compiler_version(),
    }
    return hashlib.sha256(canonical_json(parts)).hexdigest()[:16]


def _linking(interpreter: str) -> list[str]:
    return ["-Xlinker", "--dynamic-linker", "-Xlinker", interpreter] if interpreter else []


def _compile(triple: str, interpreter: str) -> bytes:
    _compiler_version()
    zig_cache = str(cache_folder() / "zig")
    environment = {"ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": zig_cache, **os.environ}
    with writing(cache_folder()), tempfile.TemporaryDirectory(prefix="edgekit-runner-") as folder:
        output = Path(folder) / "runner"
        files = [str(path) for path in sources() if path.suffix == ".c"]
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            triple,
            *FLAGS,
            *_linking(interpreter),
            "-o",
            str(output),
            *files,
            *LIBRARIES,
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False, env=environment
            )
        except subprocess.TimeoutExpired as error:
            raise RunnerError(
                f"Compiling the native runner for {triple} took longer than {BUILD_TIMEOUT_S} s.",
                remedy="Run it again on a machine that is less busy.",
            ) from error
        if done.returncode != 0 or not output.is_file():
            raise RunnerError(
                f"The native runner does not compile for {triple}: {done.stderr.strip()[-600:]}",
                remedy="Report this as a bug of EdgeKit, with the version of ziglang. --runner python does without it.",
            )
        return output.read_bytes()

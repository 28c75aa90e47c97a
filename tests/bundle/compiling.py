"""Compiles bundles in C, with the warnings that the native runner is compiled with, as errors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.devices.native_runner import FLAGS, TRIPLES
from edgekit.files import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

WARNINGS = tuple(flag for flag in FLAGS if flag.startswith("-W"))
ZIG_AARCH64 = (sys.executable, "-m", "ziglang", "cc", "-target", TRIPLES["aarch64", "glibc"])


def compiled(
    bundle: Path, program: str, *flags: str, compiler: tuple[str, ...] = ("gcc",), more: Iterable[Path] = ()
) -> Path:
    """A program of a bundle: `golden_test`, `example`, or a test's own file. The bundle's objects are compiled once.

    `more` are objects to link beside its own.
    """
    own = {"golden_test": ["tests/golden_test.c", "tests/npy.c", "tests/dtype.c"], "example": ["example.c"]}
    folders = [f"-I{bundle / name}" for name in ("include", "src", "tests")]
    command = [*compiler, "-std=c11", "-D_POSIX_C_SOURCE=200809L", *WARNINGS, *folders, *flags]
    sources = sorted((bundle / "src").glob("*.c"))
    objects = bundle / f"objects-{hashlib.sha256(repr(command).encode()).hexdigest()[:8]}"
    if not objects.is_dir():
        objects.mkdir()
        _compile([*command, "-c", *map(str, sources)], objects)
    output = bundle / Path(program).stem
    files = [str(bundle / file) for file in own.get(program, [program])]
    _compile([*command, "-o", str(output), *files, *map(str, [*objects.glob("*.o"), *more]), "-ldl", "-lm"], bundle)
    return output


def _compile(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ, **zig_caches()}
    )
    assert done.returncode == 0, done.stderr[:3000]


def zig_caches() -> dict[str, str]:
    folder = str(cache_folder() / "zig")
    return {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}

"""From compiled code to a shared library for a triple.

`zig cc` (the `ziglang` package) links for every triple from any machine, and against no version of a C library, so that
the result loads on old systems. Without it, this machine's own triple is linked by its C compiler, and another one by a
cross-compiler of its name, if there is one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.machine import canonical_triple
from edgekit.errors import ConversionError
from edgekit.files import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

_ZIG = {
    "x86_64-linux-gnu": "x86_64-linux-gnu",
    "aarch64-linux-gnu": "aarch64-linux-gnu",
    "aarch64-linux-android": "aarch64-linux-android",
    "armv7-linux-gnueabihf": "arm-linux-gnueabihf",
}
_GCC = {"armv7-linux-gnueabihf": "arm-linux-gnueabihf-gcc", "aarch64-linux-gnu": "aarch64-linux-gnu-gcc"}
_LINK_SECONDS = 300


def link(executable: Any, triple: str, library: Path) -> str:
    """Writes the shared library of a built module.

    Returns:
        What linked it, for the notes.

    Raises:
        ConversionError: there is no linker for the triple, or it failed; its message is in the text.
    """
    command = linker(triple)

    def run(output: str, objects: list[str], options: list[str] | None = None, **_: Any) -> None:
        arguments = [*command, "-shared", "-fPIC", "-s", "-o", output, *objects, *(options or [])]
        environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache_folder() / "zig"), **os.environ}
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=_LINK_SECONDS, check=False, env=environment
        )
        if done.returncode != 0:
            raise ConversionError(
                f"{command[0]} could not link {library.name} for {triple}: {done.stderr.strip()[-500:]}",
                remedy="Look at the log; another linker may do: pip install ziglang.",
            )

    executable.export_library(str(library), fcompile=run)
    return " ".join(command[2:] if command[1:2] == ["-m"] else command)


def linker(triple: str) -> list[str]:
    """The command that links for a triple."""
    if importlib.util.find_spec("ziglang") is not None:
        # What the code calls (memory and mathematics of the C library, TVM's runtime) is in the process that loads it.
        # Without -nostdlib zig first builds a C library for the triple, 16 s, and for Android it has none.
        return [sys.executable, "-m", "ziglang", "cc", "-target", _ZIG[triple], "-nostdlib"]
    own = triple == canonical_triple(None)
    names = ["cc", "gcc", "clang"] if own else [_GCC[triple]] if triple in _GCC else []
    for name in names:
        if shutil.which(name):
            return [name]
    raise ConversionError(
        f"There is no linker for {triple} on this machine.", remedy="Install one: pip install 'edgekit[tvm]' (ziglang)."
    )

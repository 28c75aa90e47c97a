"""Builds the C counter where there is a compiler: `python -m edgekit.telemetry.reporter.build [FOLDER]`.

Never needed: without it, rows are counted by NumPy or by the standard library. It is built on demand and not when the
package is installed, so that installing needs no compiler and gives one wheel for every system; the file is named
for one version of Python, and another version does not see it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig

from .errors import ReporterError

FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
TIMEOUT_S = 120


def build(folder: str | None = None, *, flags: tuple[str, ...] = FLAGS) -> str:
    """Compiles `_native.c` into `folder`, by default beside this module, and tells the path.

    Raises:
        ReporterError: there is no compiler, no Python.h, or the folder cannot be written.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.path.join(folder or here, "_native" + sysconfig.get_config_var("EXT_SUFFIX"))
    temporary = target + ".tmp-%d" % os.getpid()
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if sys.platform == "darwin":
        flags = (*flags, "-undefined", "dynamic_lookup")
    command = [*compiler, *flags, "-I" + sysconfig.get_paths()["include"], "-o", temporary]
    command += [os.path.join(here, "_native.c"), "-lm"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise ReporterError("The C counter was not built: %s" % done.stdout.decode("utf-8", "replace").strip())
        os.replace(temporary, target)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReporterError("The C counter was not built: %s. The reporter works without it." % error) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return target


if __name__ == "__main__":
    try:
        sys.stdout.write(build(*sys.argv[1:2]) + "\n")
    except ReporterError as failed:
        sys.exit(str(failed))

"""Running commands, and the runner."""

from __future__ import annotations

from edgekit.devices.scripts.parts import HEAD

IN_ENVIRONMENT = r"""
site=$1/env/current/site; shift
if [ -d "$site" ]; then PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}; export PYTHONPATH; fi
exec "$@"
"""
"""$1 root, $2... a command. Runs it with what `edgekit provision` brought, if anything, before all other packages."""

RUN_NATIVE = HEAD + 'chmod u+x -- "$1" && exec "$@"'
"""$1 a program, $2... its arguments. What was uploaded is not yet executable."""

RUN_WITH_LOADER = (
    HEAD
    + r"""
loader=$1; shift
chmod u+x -- "$loader" "$1" || exit
unset LD_PRELOAD
LD_LIBRARY_PATH=${loader%/*}; export LD_LIBRARY_PATH
exec "$@"
"""
)
"""$1 a loader with its libraries beside it, $2 a program whose interpreter it is, $3... its arguments. What the device
has its own loader load into every program is for that one."""

FIND_LIBRARIES = (
    HEAD
    + r"""
root=$1; python=$2; program=$3; shift 3
if cd -- "$root/env/current/site" 2>/dev/null; then
  here=$(pwd)
  (IFS=; for pattern in "$@"; do for file in $pattern; do if [ -f "$file" ]; then echo "$here/$file"; fi; done; done)
fi
if command -v "$python" >/dev/null 2>&1; then "$python" -I -c "$program" "$@" 2>/dev/null; fi
exit 0
"""
)
"""$1 root, $2 a Python, $3 a Python program that prints paths, $4... file patterns below a folder of packages.
Prints the files of the environment that match, then what the program prints."""

WATCH = r"""
exec 3<&0
"$@" 3<&- </dev/null &
child=$!
{ while read -r _; do :; done; kill "$child"; sleep 2; kill -9 "$child"; } <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$child"
code=$?
exec 2>/dev/null
kill -9 "$watcher"
exit "$code"
"""
"""$1... a command. Runs it, and ends it when standard input does: when our channel or the link closes.

sshd and adbd leave commands without a terminal alone when their connection dies. A runner that hangs would heat the
device forever. Who waits for the end of input is the shell itself: a `cat` would outlive the shell that started it and
hold standard input, which for adbd is the same socket as standard output, so that the command would never end. It is
killed outright: mksh catches SIGTERM and loses it if it is about to wait. What the shell says of that is dropped.
"""

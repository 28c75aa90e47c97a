"""Scripts about the root folder, and files below it."""

from __future__ import annotations

from edgekit.devices.scripts.parts import DIGEST, HEAD

RESOLVE_ROOT = (
    HEAD
    + r"""
case $1 in
  "~") root=$HOME ;;
  "~/"*) root=$HOME/${1#"~/"} ;;
  /*) root=$1 ;;
  *) root=$HOME/$1 ;;
esac
mkdir -p -- "$root" && cd -- "$root" && pwd -P
"""
)
"""$1 the target's root. Makes it and prints its absolute path. A relative one is in the user's home folder."""

DIGESTS = (
    HEAD
    + r"""
cd -- "$1" 2>/dev/null || { echo absent; exit 0; }
shift
"""
    + DIGEST
    + r"""
for file in "$@"; do
  if [ -f "./$file" ]; then digest < "./$file" || echo unreadable; else echo missing; fi
done
"""
)
"""$1 a folder, $2... files in it. One line a file that begins with its sha256, or one line `absent`."""

READ_FILE = HEAD + 'cat -- "$1"'
"""$1 a path."""

RECEIVE = HEAD + 'cat > "$1" || { rm -f -- "$1"; exit 1; }'
"""$1 a path. Writes standard input to it; removes what it wrote if it cannot write all of it."""

RECEIVE_MORE = HEAD + 'cat >> "$1"'
"""$1 a path. Writes standard input at the end of it."""

DIAGNOSE = (
    HEAD
    + r"""
df -Pk -- "$1" 2>/dev/null | { free=; while read -r _ _ _ available _; do free=$available; done; echo "$free"; }
probe="$1/.edgekit-probe-$$"
(: > "$probe") && rm -f -- "$probe"
"""
)
"""$1 a folder where a write failed. Prints its free KiB; the system's message, if any, on stderr."""

KEEP_DATA = (
    HEAD
    + r"""
mkdir -p -- "$1/data" && cd -- "$1/data" || exit 1
shift
for entry in *; do
  [ -e "./$entry" ] || continue
  for kept in "$@"; do [ "$entry" != "$kept" ] || continue 2; done
  rm -rf -- "./$entry"
done
"""
)
"""$1 root, $2... names below root/data that stay; what else is there goes."""

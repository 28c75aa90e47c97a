"""Environments (`edgekit.devices.environment`)."""

from __future__ import annotations

from edgekit.devices.scripts.parts import HEAD

INSTALL = (
    HEAD
    + r"""
root=$1; folder=$2; python=$3; program=$4; shift 4
mkdir -p -- "$root/env" "$folder/site" || exit 1
[ $# -eq 0 ] && exit 0
"$python" -I -c "$program" "$folder/site" "$@" || exit 1
rm -rf -- "$folder/wheels"
"""
)
"""$1 root, $2 an uploaded environment, $3 a Python, $4 a Python program that unpacks wheels, $5... folder of the wheels
and their names; nothing to unpack without them."""

TREE_DIGESTS = (
    HEAD
    + r"""
cd -- "$1" 2>/dev/null || { echo absent; exit 0; }
if command -v sha256sum >/dev/null 2>&1; then find . -type f ! -name '*.pyc' -exec sha256sum -- {} +
elif command -v shasum >/dev/null 2>&1; then find . -type f ! -name '*.pyc' -exec shasum -a 256 -- {} +
elif command -v openssl >/dev/null 2>&1; then find . -type f ! -name '*.pyc' -exec openssl dgst -sha256 -r {} +
else echo "none of sha256sum, shasum and openssl is there" >&2; exit 69
fi
"""
)
"""$1 a folder. One line a file below it: its sha256 and its path. What Python compiled for itself does not count."""

ENVIRONMENT = (
    HEAD
    + r"""
cd -- "$1/env" 2>/dev/null || exit 0
[ -h current ] || exit 0
readlink current
cat current/env.json 2>/dev/null
exit 0
"""
)
"""$1 root. The id of the current environment and what its env.json says; nothing where there is none."""

USE_ENVIRONMENT = (
    HEAD
    + r"""
cd -- "$1/env" && [ -f "$2/env.json" ] || exit 1
rm -rf -- .new
ln -s "$2" .new || exit 1
mv -fT .new current 2>/dev/null || mv -fh .new current 2>/dev/null || { rm -f current && mv -f .new current; } || exit 1
for other in *; do
  case $other in "$2"|current|*[!0-9a-f]*) ;; *) rm -rf -- "$other" ;; esac
done
sync -- . 2>/dev/null || sync
"""
)
"""$1 root, $2 an id. Makes it the current environment, and removes the others."""

REMOVE_ENVIRONMENT = (
    HEAD
    + r"""
cd -- "$1" && [ -e env -o -h env ] || { echo none; exit 0; }
rm -f env/current
mkdir -p tmp && mv env "tmp/$2" && rm -rf "tmp/$2" && echo removed
"""
)
"""$1 root, $2 a nonce. Takes every environment away, and nothing else."""

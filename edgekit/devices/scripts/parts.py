"""What the scripts are made of: constant beginnings and functions of the shell."""

from __future__ import annotations

HEAD = "set -u; LC_ALL=C; export LC_ALL; "
"""How every script begins."""

DIGEST = r"""
if command -v sha256sum >/dev/null 2>&1; then digest() { sha256sum; }
elif command -v shasum >/dev/null 2>&1; then digest() { shasum -a 256; }
elif command -v openssl >/dev/null 2>&1; then digest() { openssl dgst -sha256 -r; }
else echo "none of sha256sum, shasum and openssl is there" >&2; exit 69
fi
"""

SUMS = r"""
sums() { echo "$1" | while read -r sum _; do echo "$sum"; done | digest | { read -r sum _; echo "$sum"; }; }
"""
"""$1 lines of `digest`: the sha256 of theirs, a line each. One word, however many files: an argument has a bound."""

COPY = r"""
copy() { dd if="./$5" bs=65536 skip="$1" count="$3" 2>/dev/null | tail -c "+$2" | head -c "$4"; }
"""
"""$1 blocks to skip, $2 the first byte of what follows, $3 blocks, $4 bytes, $5 a file: that range of it.

dd skips blocks, which is fast everywhere; the rest is tail's and head's.
"""

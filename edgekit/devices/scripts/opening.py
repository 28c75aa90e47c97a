"""What an upload asks before it sends (`edgekit.devices.opening`): four scripts in one round trip."""

from __future__ import annotations

from edgekit.devices.scripts.files import DIGESTS
from edgekit.devices.scripts.lock import LOCK
from edgekit.devices.scripts.parts import DIGEST, HEAD, SUMS
from edgekit.devices.scripts.upload import STAGE, SURVEY

OPEN = (
    HEAD
    + DIGEST
    + SUMS
    + "".join(
        f"{name}() (\n{script}\n)\n"  # in a shell of its own: each may exit, and sets what it likes
        for name, script in {"digests": DIGESTS, "lock": LOCK, "survey": SURVEY, "stage": STAGE}.items()
    )
    + r"""
root=$1; final=$2; expected=$3; nonce=$4; below=$5; model=$6; token=$7; lease=$8; owner=$9; shift 9
steal=$1; shift
if [ "$expected" != - ]; then
  told=$(digests "$root/$final" "$@") || exit
  echo "$told"
  [ "$(sums "$told")" = "$expected" ] && exit 0
fi
if [ -n "$token" ]; then
  held=$(lock "$root" acquire "$token" "$lease" "$owner" "$steal") || exit
  echo "= lock"
  printf '%s\n' "$held"
  [ "$held" = ok ] || exit 0
fi
survey "$root" "$model" || exit
stage "$root" "$nonce" "$below" "$@"
"""
)
"""$1 root, $2 a folder below it, $3 what `sums` tells of files in it, or `-`, $4 nonce, $5 `new/` or "": where
these files will be below root/tmp/nonce, $6 a model or "", $7 to $10 what `LOCK` takes from $3 on, or "" four times if
the lock is ours, $11... the files.

Prints their `DIGESTS`, unless $3 is `-`. If all are as they should be, that is all. Else it takes the lock: `= lock`,
and what `LOCK` says. If that is `ok`, it goes on to `SURVEY` and `STAGE`.
"""

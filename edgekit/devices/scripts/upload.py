"""The steps of an upload (`edgekit.devices.upload`), in their order."""

from __future__ import annotations

from edgekit.devices.scripts.parts import COPY, DIGEST, HEAD, SUMS

SURVEY = (
    HEAD
    + r"""
model=$2; kept=0; listed=0; seen=
mkdir -p -- "$1/store" "$1/runner" "$1/tmp" && cd -- "$1" || exit 1
for entry in ./tmp/* ./tmp/.[!.]*; do
  case ${entry#./tmp/} in *[!0-9a-f]*) rm -rf -- "$entry" ;; esac
done
for name in $(ls -t tmp); do
  if [ "$kept" -lt 4 ] && [ -f "tmp/$name/plan" ] && [ -z "$(find "tmp/$name/plan" -prune -mtime +6)" ] &&
    { [ -f "tmp/$name/pack" ] || [ -f "tmp/$name/ready" ]; }
  then kept=$((kept + 1))
  else rm -rf "tmp/$name"
  fi
done
{
  df -Pk . 2>/dev/null | { free=; while read -r _ _ _ available _; do free=$available; done; echo "= free $free"; }
  for unpacker in gzip gunzip zcat; do command -v "$unpacker" >/dev/null 2>&1 && echo "= unpacks" && break; done
  for name in $(ls -t tmp); do
    [ -f "tmp/$name/ready" ] && echo "= ready $name $(head -c 200 "tmp/$name/ready")"
    [ -w "tmp/$name/pack" ] && [ -w "tmp/$name" ] || continue
    echo "= partial $name $(wc -c < "tmp/$name/pack")"
    head -c 2097152 "tmp/$name/plan" | sed '/^steps$/,$d'
    echo
  done
  [ -n "$model" ] || exit 0
  for id in $(readlink "models/$model/current") $(readlink "models/$model/previous") $(ls -t store); do
    id=${id##*/}
    case $id in *[!0-9a-f]*) continue ;; esac
    case $seen in *"$id"*) continue ;; esac
    [ "$listed" -lt 8 ] || break
    seen="$seen $id"; listed=$((listed + 1))
    printf '\n= artifact %s\n' "$id"
    head -c 1048576 "store/$id/manifest.json" 2>/dev/null
    echo
    head -c 2097152 "store/$id/chunks" 2>/dev/null
  done
} | head -c 12582912
"""
)
"""$1 root, $2 a model, or "" for no artifacts. Clears old uploads away, and prints what is there that can be used.

Sections, each after a line `= HEADER`: `free KIB`; `unpacks` if something unpacks gzip; `ready NONCE NAME`: put
together, never published; `partial NONCE BYTES`, its chunk list; `artifact ID`, its manifest, its chunk list, the
model's own first.
Of cut uploads the newest four are kept, for six days; what did not write a plan is of another EdgeKit, or nobody's.
"""

RANGE_DIGESTS = (
    HEAD
    + DIGEST
    + COPY
    + r"""
cd -- "$1" || exit 1
shift
while [ $# -gt 4 ]; do
  copy "$1" "$2" "$3" "$4" "$5" | digest
  shift 5
done
"""
)
"""$1 a folder, then by fives what `copy` takes: a range of a file in it. One line a range, as `DIGESTS`."""

STAGE = (
    HEAD
    + r"""
below=$3
cd -- "$1/tmp" && mkdir -- "$2" && cd -- "./$2" || exit 1
shift 3
for file in "$@"; do
  file=./$below$file
  [ -d "${file%/*}" ] || mkdir -p -- "${file%/*}" || exit 1
done
"""
)
"""$1 root, $2 nonce, $3 `new/` or "", $4... files below that. Makes the folder of an upload, and those of its files."""

DESCRIBE = (
    HEAD
    + r"""
cd -- "$1/tmp/$2" && cat > described || exit 1
if [ "$3" != - ]; then sed '1,/^list$/d' described > "./$3" || exit 1; fi
sed '/^list$/,$d' described > plan.new && mv -f plan.new plan && rm -f described
"""
)
"""$1 root, $2 nonce, $3 where the chunk list goes, or `-`. By standard input: the plan, `list`, and the chunk list."""

UNPACK = (
    HEAD
    + r"""
if command -v gzip >/dev/null 2>&1; then exec gzip -dc >> "$1"
elif command -v gunzip >/dev/null 2>&1; then exec gunzip -c >> "$1"
else exec zcat >> "$1"
fi
"""
)
"""$1 a path. Unpacks standard input to its end."""

_PUBLISH = r"""
publish() (
root=$1; nonce=$2; name=$3; inside=$4; shift 4
flush() { sync -- "$@" 2>/dev/null || sync; }
cd -- "$root/tmp" || exit 1
rm -f -- "./$nonce/pack"
find "./$nonce" -type f -exec chmod a-w {} +
find "./$nonce" -exec sync {} + 2>/dev/null || sync
if [ -e "$root/$name" ]; then mv -- "$root/$name" "./$nonce.damaged" || exit 1; fi
mv -- "./$nonce/$inside" "$root/$name" || exit 1
flush "$root/${name%/*}"
rm -rf -- "./$nonce" "./$nonce.damaged"
for used in "$@"; do rm -rf -- "./$used"; done
)
"""

PUBLISH = HEAD + _PUBLISH + 'publish "$@"'
"""$1 root, $2 nonce, $3 final name below root, $4 what becomes it below root/tmp/nonce, $5... what goes from root/tmp.

One rename publishes it. Whatever has that name already was found damaged, and makes room.
"""

ASSEMBLE = (
    HEAD
    + DIGEST
    + SUMS
    + COPY
    + _PUBLISH
    + r"""
root=$1; nonce=$2; name=$3; first=$4; inside=$5; expected=$6; used=$7; followed=
cd -- "$root" || exit 1
shift 7
size() { set -- $(wc -c < "$1"); echo "$1"; }
inode() { set -- $(ls -i -- "$1"); echo "$1"; }
if [ "$first" != - ]; then
  pack=./tmp/$nonce/pack
  read -r word && : >> "$pack" && began=$(inode "$pack") || { echo "the upload ended early" >&2; exit 1; }
  followed=$({
    while :; do
      cat <&3
      case $word in
        flush) { sync -- "$pack" || sync; } </dev/null >/dev/null 2>&1 3<&- & ;;
        all) break ;;
      esac
      read -r word || break
    done
  } 3< "$pack" 2>/dev/null | head -c "$first" | digest)
  read -r word && [ "$word" = assemble ] || { echo "the upload ended early" >&2; exit 1; }
  [ "$(inode "$pack")" = "$began" ] || followed=
fi
shorten() {
  [ "$(size "$1")" = "$2" ] && return
  dd if=/dev/null of="$1" bs=1 seek="$2" 2>/dev/null
  [ "$(size "$1")" = "$2" ] && return
  head -c "$2" < "$1" > "$1.short" && mv -f -- "$1.short" "$1"
}
sed '1,/^steps$/d' "tmp/$nonce/plan" | {
  for file in "$@"; do
    file=./tmp/$nonce/$file
    read -r base keep ranges left || exit 1
    if [ "$base" = - ]; then made=$file; : > "$made"; else made=./$base; shorten "$made" "$keep"; fi || exit 1
    while [ "$ranges" -gt 0 ]; do
      read -r skip trim blocks count path || exit 1
      copy "$skip" "$trim" "$blocks" "$count" "$path" >> "$made" || exit 1
      ranges=$((ranges - 1))
    done
    if [ "$left" != - ]; then shorten "./tmp/$nonce/pack" "$left" || exit 1; fi
    if [ "$base" != - ]; then
      echo "$name" > "tmp/$nonce/ready"
      mv -f -- "$made" "$file" || exit 1
    fi
  done
} || exit 1
echo "$name" > "tmp/$nonce/ready"
cd -- "./tmp/$nonce" || exit 1
told=$(
  for file in "$@"; do
    shift
    if [ ! -f "./$file" ]; then echo missing
    elif [ $# -eq 0 ] && [ -n "$followed" ]; then echo "$followed"
    else digest < "./$file" || echo unreadable
    fi
  done
)
echo "$told"
[ "$inside" != - ] && [ "$(sums "$told")" = "$expected" ] || exit 0
publish "$root" "$nonce" "$name" "$inside" $used && echo published
"""
)
"""$1 root, $2 nonce, $3 final name, $4 bytes or `-`, $5 what gets that name or `-`, $6 what `sums` tells of the
files, $7 nonces with spaces between, $8... files below root/tmp/nonce, in the order of its plan.

Prints their `DIGESTS`. If they are as they should be, and $5 is not `-`, it goes on to `PUBLISH`, with $7 as what goes,
and prints `published`: a round trip less than if the host had compared them first, as it does afterwards.

With $4, the first so many bytes of the pack become the last of these files, and are hashed
while they arrive: the script is started before the pack is sent, and told by standard input when there is more of it
(`more`; `flush`, to begin writing it to the disk), when that was `all`, and then to `assemble`. Who reads is one `cat`
after another at one open file, so none begins anew; if the pack was replaced by another file since the first word,
which adbd may do, it is hashed again at the end. An input that ends early leaves everything as it is.

The steps of the plan, a file: `BASE KEEP COPIES LEFT`, and so many lines of what `copy` takes. The first KEEP bytes of
BASE become the file, or BASE is `-`; after it the pack is cut to LEFT bytes, unless that is `-`. All numbers come
from the host: some shells count with 32 bits. A base moves when its file is whole, so a cut here loses nothing that had
arrived.
"""

FORGET = (
    HEAD
    + r"""
cd -- "$1/tmp" || exit 1
shift
for nonce in "$@"; do
  case $nonce in *[!0-9a-f]*) continue ;; esac
  if [ "${#nonce}" -gt 16 ]; then rm -f -- "../store/$nonce/chunks"; else rm -rf -- "./$nonce"; fi
done
"""
)
"""$1 root, $2... cut uploads to remove, by their nonces, and artifacts whose chunk lists led astray, by their ids."""

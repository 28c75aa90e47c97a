"""The lines of shell that deployment runs on a device: constants, under the rules of `edgekit.devices.scripts`."""

from __future__ import annotations

from edgekit.devices.scripts.parts import HEAD

MODELS = (
    HEAD
    + r"""
cd -- "$1/models" 2>/dev/null || exit 0
for model in *; do
  case $model in [!A-Za-z0-9]*|*[!A-Za-z0-9._-]*) continue ;; esac
  [ -d "./$model" ] || continue
  switch=; [ -f "./$model/switch" ] && read -r switch < "./$model/switch"
  printf '%s\t%s\t%s\t%s\n' "$model" "$(readlink "./$model/current")" "$(readlink "./$model/previous")" "$switch"
done
"""
)
"""$1 root. One line a model: its name, where `current` and `previous` lead, an interrupted switch; tabs between."""

LOGS = (
    HEAD
    + r"""
cd -- "$1/models" 2>/dev/null || exit 0
shift
for model in "$@"; do
  printf '= %s\n' "$model"
  tail -c 8192 "./$model/log" 2>/dev/null
done
exit 0
"""
)
"""$1 root, $2... models. For each, `= MODEL` and the newest lines of its log (edgekit/deploy/on_device/record.py)."""

SWITCH = (
    HEAD
    + r"""
root=$1; folder=$1/models/$2; current=$3; previous=$4; kind=$5; detail=$6
flush() { sync -- "$@" 2>/dev/null || sync; }
point() {
  rm -rf -- "$folder/.new"
  ln -s "../../store/$2" "$folder/.new" || exit 1
  mv -fT "$folder/.new" "$folder/$1" 2>/dev/null && return
  mv -fh "$folder/.new" "$folder/$1" 2>/dev/null && return
  [ -h "$folder/.new" ] || exit 1
  rm -f -- "$folder/$1" && mv -f "$folder/.new" "$folder/$1" || exit 1
}
[ -d "$root/store/$current" ] || { echo "the store lost $current" >&2; exit 1; }
mkdir -p -- "$folder" || exit 1
tries=0
until mkdir -- "$folder/switching" 2>/dev/null; do
  if [ ! -d "$folder/switching" ]; then mkdir -- "$folder/switching" && break; exit 1; fi
  if [ -n "$(find "$folder/switching" -prune -mmin +1 2>/dev/null)" ]; then rmdir -- "$folder/switching"; fi
  tries=$((tries + 1))
  [ "$tries" -le 10 ] || { echo "another program is switching the links in $folder" >&2; exit 1; }
  sleep 1
done
trap 'exit 1' HUP INT TERM
trap 'rmdir -- "$folder/switching" 2>/dev/null' EXIT
now=$(readlink "$folder/current"); now=${now##*/}
case $now in *[!0-9a-f]*|"$current") ;; ????????*) previous=$now ;; esac
printf '%s %s\n' "$current" "$previous" > "$folder/.switch" || exit 1
flush "$folder/.switch"
mv -f "$folder/.switch" "$folder/switch" || exit 1
flush "$folder"
point current "$current"
if [ -n "$previous" ]; then point previous "$previous"; fi
printf '%s\t%s\t%s\t%s\n' "$(date +%s)" "$kind" "$current" "$detail" >> "$folder/log"
flush "$folder"
rm -f -- "$folder/switch"
"""
)
"""$1 root, $2 model, $3 id that becomes current, $4 id that becomes previous, or "", $5 and $6 what the log says of it.

What is current at that moment becomes previous even where $4 is another: a pull on the device came in between.
One that is ended with its link, by a signal, gives `switching` back; one that is killed outright holds others up for a
minute. The order, and what an interruption leaves, is told in edgekit/deploy/on_device/links.py, which does the same. A
link is replaced by one rename (GNU, busybox and toybox `-T`, BSD `-h`); with neither, no link is seen for a moment.
"""

PLACE = (
    HEAD
    + r"""
mkdir -p -- "$1/bin" || exit 1
rm -f -- "$1/bin/.new"
ln -s "../runner/$2" "$1/bin/.new" || exit 1
mv -f "$1/bin/.new" "$1/bin/$3"
"""
)
"""$1 root, $2 a file of the folder `runner`, $3 the name in the folder `bin` that becomes a link to it."""

FOLLOW = (
    HEAD
    + r"""
mkdir -p -- "$1/releases" && cd -- "$1/releases" || exit 1
rm -rf -- ./.new && mkdir -- ./.new ./.new/metadata && cat > ./.new/all || exit 1
head -c "$2" < ./.new/all > ./.new/metadata/root.json || exit 1
tail -c "+$(($2 + 1))" < ./.new/all > ./.new/config.json || exit 1
rm -f -- ./.new/all
sync -- ./.new/metadata/root.json ./.new/config.json 2>/dev/null || sync
rm -f -- ./config.json
rm -rf -- ./metadata
mv -- ./.new/metadata ./metadata || exit 1
[ -f ./metadata/root.json ] || { echo "a pull made the folder metadata again: wait until it has ended" >&2; exit 1; }
mv -- ./.new/config.json ./config.json || exit 1
rmdir -- ./.new
"""
)
"""$1 root, $2 bytes. Standard input is the root metadata, of so many bytes, and then the config that `pull` reads.

The config comes last: in between, a device follows nothing, and keeps what it has.
"""

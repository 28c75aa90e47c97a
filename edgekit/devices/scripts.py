"""Every line of shell that EdgeKit runs on a device: constants, with data passed as positional parameters only.

They need a POSIX `sh` and mkdir, mv, rm, ln, cat, sync, df, date, find, ls, sed, wc, dd, head, tail, uname, od, tr, and
one of sha256sum, `shasum -a 256` and openssl; that is coreutils, busybox, toybox and macOS. They are run as
`sh -c SCRIPT edgekit ARGUMENT...`. Nothing that a user, a target or a device says ever becomes part of a script.
"""

HEAD = "set -u; LC_ALL=C; export LC_ALL; "
"""How every script begins."""

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

_DIGEST = r"""
if command -v sha256sum >/dev/null 2>&1; then digest() { sha256sum; }
elif command -v shasum >/dev/null 2>&1; then digest() { shasum -a 256; }
elif command -v openssl >/dev/null 2>&1; then digest() { openssl dgst -sha256 -r; }
else echo "none of sha256sum, shasum and openssl is there" >&2; exit 69
fi
"""

DIGESTS = (
    HEAD
    + r"""
cd -- "$1" 2>/dev/null || { echo absent; exit 0; }
shift
"""
    + _DIGEST
    + r"""
for file in "$@"; do
  if [ -f "./$file" ]; then digest < "./$file" || echo unreadable; else echo missing; fi
done
"""
)
"""$1 a folder, $2... files in it. One line a file that begins with its sha256, or one line `absent`."""

_COPY = r"""
copy() { dd if="./$5" bs=65536 skip="$1" count="$3" 2>/dev/null | tail -c "+$2" | head -c "$4"; }
"""
"""$1 blocks to skip, $2 the first byte of what follows, $3 blocks, $4 bytes, $5 a file: that range of it.

dd skips blocks, which is fast everywhere; the rest is tail's and head's.
"""

RANGE_DIGESTS = (
    HEAD
    + _DIGEST
    + _COPY
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

STAGE = (
    HEAD
    + r"""
cd -- "$1/tmp" && mkdir -- "$2" && cd -- "./$2" || exit 1
shift 2
for folder in "$@"; do mkdir -p -- "./$folder" || exit 1; done
cat > plan
"""
)
"""$1 root, $2 nonce, $3... folders. Makes the folder of an upload; its plan comes by standard input."""

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

ASSEMBLE = (
    HEAD
    + _DIGEST
    + _COPY
    + r"""
nonce=$2; name=$3
cd -- "$1" || exit 1
shift 3
size() { set -- $(wc -c < "$1"); echo "$1"; }
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
for file in "$@"; do
  if [ -f "./$file" ]; then digest < "./$file" || echo unreadable; else echo missing; fi
done
"""
)
"""$1 root, $2 nonce, $3 final name, $4... files below root/tmp/nonce, in the order of its plan. Prints their `DIGESTS`.

The steps of the plan, a file: `BASE KEEP COPIES LEFT`, and so many lines of what `copy` takes. The first KEEP bytes of
BASE become the file, or BASE is `-`; after it the pack is cut to LEFT bytes, unless that is `-`. All numbers come
from the host: some shells count with 32 bits. A base moves when its file is whole, so a cut here loses nothing that had
arrived.
"""

PUBLISH = (
    HEAD
    + r"""
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
"""
)
"""$1 root, $2 nonce, $3 final name below root, $4 what becomes it below root/tmp/nonce, $5... cut uploads it replaces.

One rename publishes it. Whatever has that name already was found damaged, and makes room.
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

DIAGNOSE = (
    HEAD
    + r"""
df -Pk -- "$1" 2>/dev/null | { free=; while read -r _ _ _ available _; do free=$available; done; echo "$free"; }
probe="$1/.edgekit-probe-$$"
(: > "$probe") && rm -f -- "$probe"
"""
)
"""$1 a folder where a write failed. Prints its free KiB; the system's message, if any, on stderr."""

LOCK = (
    HEAD
    + r"""
lock=$1/lock; op=$2; token=$3; lease=$4; owner=$5; steal=$6
now=$(date +%s)
enter() { mkdir "$lock/takeover" 2>/dev/null; }
leave() { rmdir "$lock/takeover" 2>/dev/null; }
load() {
  held=; expires=
  [ -f "$lock/lease" ] && { read -r held; read -r expires; } < "$lock/lease"
  case $expires in ''|*[!0-9]*) expires=0 ;; esac
}
save() {
  printf '%s\n%s\n' "$token" "$((now + lease))" > "$lock/.lease" &&
  printf '%s\n' "$owner" > "$lock/.owner" &&
  mv -f "$lock/.owner" "$lock/owner.json" && mv -f "$lock/.lease" "$lock/lease"
}
taken() {
  [ -n "$held" ] && [ "$now" -lt "$expires" ] && [ "$held" != "$steal" ] && [ "$((expires - now))" -le 3600 ]
}
stale() {
  [ -n "$(find "$lock/takeover" -prune -mmin +1 2>/dev/null)" ] && return
  : > "$lock/.now" && [ "$lock/takeover" -nt "$lock/.now" ]
}
drop() { mv "$lock" "$lock.$token" && rm -rf "$lock.$token"; }
busy() { echo busy; echo "$expires $now"; cat "$lock/owner.json" 2>/dev/null; exit 0; }
case $op in
acquire)
  mkdir -p -- "$1" || exit 1
  for attempt in 1 2 3; do
    created=
    if mkdir "$lock" 2>/dev/null; then created=yes
    elif [ ! -d "$lock" ]; then mkdir "$lock" || exit 1; created=yes
    fi
    load
    if [ -z "$held$created" ]; then sleep 2; load; fi
    taken && busy
    [ -d "$lock/takeover" ] && stale && leave
    if enter; then
      load
      if taken; then leave; busy; fi
      save || { drop; exit 1; }
      leave
      echo ok
      exit 0
    fi
    [ -d "$lock" ] && busy
  done
  busy ;;
renew)
  enter || busy
  load
  if [ "$held" != "$token" ]; then leave; busy; fi
  save || { leave; exit 1; }
  leave
  echo ok ;;
release)
  [ -d "$lock" ] && enter || { echo ok; exit 0; }
  load
  if [ "$held" = "$token" ]; then drop; else leave; fi
  echo ok ;;
look)
  load
  if taken; then busy; fi
  echo ok ;;
esac
"""
)
"""$1 root, $2 acquire|renew|release|look, $3 token, $4 lease in s, $5 owner JSON, $6 one to take over or "".

`look` changes nothing; `release` with another's token breaks that one holding and no later one.

Prints `ok`, or `busy`, "EXPIRES NOW" and the owner. Whoever writes a lease first makes the folder lock/takeover, of
which there can be only one, and looks again; one that is a minute old is a crash's. The clock is the device's own, and
may jump: a lease that would end in more than an hour, or a takeover in the future, is from before the clock went back.
"""

READ_FILE = HEAD + 'cat -- "$1"'
"""$1 a path."""

RECEIVE = HEAD + 'cat > "$1" || { rm -f -- "$1"; exit 1; }'
"""$1 a path. Writes standard input to it; removes what it wrote if it cannot write all of it."""

RECEIVE_MORE = HEAD + 'cat >> "$1"'
"""$1 a path. Writes standard input at the end of it."""

CONDITIONS = (
    HEAD
    + r"""
section() { printf '\n== %s\n' "$1"; }
has() { command -v "$1" >/dev/null 2>&1; }
read1() { value=; [ -r "$1" ] && { IFS= read -r value || [ -n "$value" ]; } 2>/dev/null < "$1"; }
section system; uname -s
section stat; [ -r /proc/stat ] && read1 /proc/stat && echo "$value"
section vmstat; [ -r /proc/vmstat ] && while read -r key value; do
  case $key in pswpin|pswpout) echo "$key $value" ;; esac
done < /proc/vmstat
section loadavg; cat /proc/loadavg 2>/dev/null || sysctl -n vm.loadavg 2>/dev/null
section meminfo; cat /proc/meminfo 2>/dev/null
section online; read1 /sys/devices/system/cpu/online && echo "$value"
section present; read1 /sys/devices/system/cpu/present && echo "$value"
section cpus
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  [ -d "$cpu/cpufreq" ] || continue
  printf '%s' "${cpu##*/cpu}"
  for name in scaling_governor cpuinfo_max_freq scaling_max_freq scaling_cur_freq; do
    read1 "$cpu/cpufreq/$name"; printf '|%s' "$value"
  done
  echo
done
section states
for policy in /sys/devices/system/cpu/cpufreq/policy*; do
  [ -r "$policy/stats/time_in_state" ] || continue
  printf '%s' "${policy##*/policy}"
  while read -r khz ticks; do printf '|%s %s' "$khz" "$ticks"; done < "$policy/stats/time_in_state"
  echo
done
section throttles
for name in /sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count; do
  read1 "$name" && [ -n "$value" ] && echo "$value"
done
section zones
for zone in /sys/class/thermal/thermal_zone*; do
  [ -d "$zone" ] || continue
  read1 "$zone/type"; printf '%s' "$value"
  read1 "$zone/temp"; printf '|%s' "$value"
  for trip in "$zone"/trip_point_*_type; do
    read1 "$trip"; kind=$value; read1 "${trip%_type}_temp"
    [ -n "$kind" ] && printf '|%s %s' "$kind" "$value"
  done
  echo
done
section cooling
for device in /sys/class/thermal/cooling_device*; do
  [ -d "$device" ] || continue
  read1 "$device/type"; printf '%s' "$value"
  read1 "$device/cur_state"; printf '|%s' "$value"
  read1 "$device/max_state"; printf '|%s\n' "$value"
done
section supplies
for supply in /sys/class/power_supply/*; do
  [ -d "$supply" ] || continue
  for name in type capacity status online; do read1 "$supply/$name"; printf '%s|' "$value"; done
  echo
done
section throttled
if has vcgencmd; then vcgencmd get_throttled 2>/dev/null
else read1 /sys/devices/platform/soc/soc:firmware/get_throttled && echo "throttled=0x${value#0x}"; fi
section nvpmodel; has nvpmodel && nvpmodel -q 2>/dev/null
if has getprop; then
  section properties
  for name in ro.build.type ro.debuggable ro.kernel.qemu ro.boot.qemu; do echo "$name=$(getprop "$name")"; done
fi
if has dumpsys; then
  section battery; dumpsys battery 2>/dev/null
  section power; dumpsys power 2>/dev/null
  section thermalservice; dumpsys thermalservice 2>/dev/null
  section low_power; settings get global low_power 2>/dev/null
fi
if has pmset; then
  section pmset_batt; pmset -g batt 2>/dev/null
  section pmset_therm; pmset -g therm 2>/dev/null
fi
[ "${1:-1}" = 0 ] && exit 0
sleep "${1:-1}"
section stat_after; [ -r /proc/stat ] && read1 /proc/stat && echo "$value"
section vmstat_after; [ -r /proc/vmstat ] && while read -r key value; do
  case $key in pswpin|pswpout) echo "$key $value" ;; esac
done < /proc/vmstat
exit 0
"""
)
"""$1 seconds to watch, 1 unless it is given. Prints sections `== NAME` with what the system says of itself now: /proc,
/sys, and the commands of Android, of the Raspberry Pi, of the Jetson and of macOS where they are. Then it does nothing
for that time, and looks again: who else did anything? With 0 it does not."""

INTRODUCE = (
    HEAD
    + r"""
tell() { [ -n "$2" ] && printf '%s=%s\n' "$1" "$2"; }
first() { [ -r "$1" ] && { IFS= read -r line || [ -n "$line" ]; } 2>/dev/null < "$1" && printf '%s' "$line"; }
[ -r /proc/device-tree/model ] && tell model "$(tr -d '\000' < /proc/device-tree/model)"
tell machine "$(uname -m)"
if command -v getprop >/dev/null 2>&1; then
  tell model "$(getprop ro.product.manufacturer) $(getprop ro.product.model)"
  tell os "Android $(getprop ro.build.version.release)"
fi
command -v sysctl >/dev/null 2>&1 && [ "$(uname -s)" = Darwin ] && tell model "$(sysctl -n hw.model)" &&
  tell cores "$(sysctl -n hw.ncpu)" && tell performance_cores "$(sysctl -n hw.perflevel0.physicalcpu 2>/dev/null)"
command -v sw_vers >/dev/null 2>&1 && tell os "macOS $(sw_vers -productVersion)"
tell model "$(first /sys/class/dmi/id/product_name)"
[ -r /etc/os-release ] && while IFS= read -r line; do
  case $line in PRETTY_NAME=*) line=${line#PRETTY_NAME=}; line=${line#\"}; tell os "${line%\"}" ;; esac
done < /etc/os-release
tell os "$(uname -s) $(uname -r)"
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  [ -d "$cpu" ] && printf 'core=%s\n' "$(first "$cpu/cpufreq/cpuinfo_max_freq")"
done
[ -r /proc/meminfo ] && while read -r key value _; do
  [ "$key" = MemTotal: ] && tell memory_kib "$value"
done < /proc/meminfo
[ -w "${HOME:-/nonexistent}" ] && tell home "$HOME"
program=$1; shift
for python in "$@"; do
  found=$(command -v "$python" 2>/dev/null) && "$found" -I -c "$program" "$found" 2>/dev/null
done
exit 0
"""
)
"""$1 a Python program, $2... Pythons to try it in. Prints `key=value` lines, of each key the first counts."""

PLATFORM = r"""
set -u
echo "system=$(uname -s)"
echo "machine=$(uname -m)"
if [ -e /system/build.prop ] && command -v getprop >/dev/null 2>&1; then
  sdk=$(getprop ro.build.version.sdk)
  [ -n "$sdk" ] && [ -e /system/bin/linker64 -o -e /system/bin/linker ] && echo "libc=bionic $sdk"
fi
echo "libc=$(getconf GNU_LIBC_VERSION 2>/dev/null)"
for loader in /lib/ld-musl-*.so.1; do
  [ -e "$loader" ] && echo "libc=musl $("$loader" 2>&1 | while read -r word version _; do
    [ "$word" = Version ] && echo "$version"; done)"
done
for libc in /lib/*/libc.so.6 /lib64/libc.so.6 /lib/libc.so.6 /usr/lib/*/libc.so.6 /usr/lib64/libc.so.6; do
  [ -x "$libc" ] && echo "libc_says=$("$libc" 2>/dev/null | while read -r line; do echo "$line"; break; done)" && break
done
for program in /bin/sh /system/bin/sh; do
  [ -r "$program" ] && echo "elf_class=$(od -An -tx1 -j4 -N1 "$program" 2>/dev/null)" && break
done
command -v sw_vers >/dev/null 2>&1 && echo "macos=$(sw_vers -productVersion)"
command -v "$1" >/dev/null 2>&1 && "$1" -I -c "$2"
exit 0
"""
"""$1 a Python, $2 a Python program that prints more of the same. Prints `key=value` lines, of which the first one with
a value counts: which system, processor and C library. Works without Python."""

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

IN_ENVIRONMENT = r"""
site=$1/env/current/site; shift
if [ -d "$site" ]; then PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}; export PYTHONPATH; fi
exec "$@"
"""
"""$1 root, $2... a command. Runs it with what `edgekit provision` brought, if anything, before all other packages."""

RUN_NATIVE = HEAD + 'chmod u+x -- "$1" && exec "$@"'
"""$1 a program, $2... its arguments. What was uploaded is not yet executable."""

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

"""Asking a device what it is, and in what state."""

from __future__ import annotations

from edgekit.devices.scripts.parts import HEAD

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
if command -v getprop >/dev/null 2>&1; then
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

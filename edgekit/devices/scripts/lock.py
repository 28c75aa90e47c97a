"""The lock (`edgekit.devices.lock`)."""

from __future__ import annotations

from edgekit.devices.scripts.parts import HEAD

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

"""What runs beside the service, in one thread: checks, notices, retention, windows that wait for their reference.

Of several collectors on one database one does it at a time: whoever holds the lease, which ends by itself when its
holder dies. A database that cannot be used is tried again at the next turn.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgekit.errors import EdgeKitError
from edgekit.telemetry.collector import alerts, flagged, registry, retention, webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgekit.telemetry.collector.database import Database
    from edgekit.telemetry.collector.reading import SqlStore
    from edgekit.telemetry.collector.webhooks import Webhook
    from edgekit.telemetry.store import Checked, Store

    Check = Callable[[Store, int], Iterable[Checked]]

LOG = logging.getLogger("edgekit.collector")
LEASE_S = 60
TURN_S = 2.0
SWEEP_EVERY_S = 3600


@dataclass(frozen=True)
class Chores:
    """What is to be done, and how often.

    Attributes:
        check: looks at the store and tells what it found; None: nothing is checked.
        check_every_s: how often.
        webhooks: where notices go.
        cool_down_s: see `alerts`.
        raw_days, rollup_days: see `retention`.
    """

    check: Check | None = None
    check_every_s: float = 900
    webhooks: tuple[Webhook, ...] = ()
    cool_down_s: int = alerts.COOL_DOWN_S
    raw_days: int = retention.RAW_DAYS
    rollup_days: int = retention.ROLLUP_DAYS


@dataclass
class Upkeep:
    """The thread.

    Attributes:
        store: what is looked after.
        chores: what is done.
    """

    store: SqlStore
    chores: Chores
    _holder: str = field(default_factory=lambda: secrets.token_hex(8))
    _stop: threading.Event = field(default_factory=threading.Event)
    _next_check_s: float = 0.0
    _next_sweep_s: float = 0.0

    def start(self) -> None:
        """Begins. It ends with the process, or by `stop`."""
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ends after the turn that is under way."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(TURN_S):
            self._try_turn()

    def _try_turn(self) -> None:
        try:
            if take_lease(self.store.database, "upkeep", self._holder, int(time.time())):
                self.turn(time.time())
        except EdgeKitError as error:
            LOG.warning("%s", error)
        except Exception:  # a fault in a check must not end the retention and the notices with it
            LOG.exception("upkeep")

    def turn(self, now_s: float) -> None:
        """Does whatever is due.

        Raises:
            EdgeKitError: one of the chores failed; the others are done at the next turn.
        """
        chores = self.chores
        hooks = {hook.url: hook for hook in chores.webhooks}
        webhooks.deliver(self.store.database, hooks)
        if chores.check is not None and now_s >= self._next_check_s:
            self._next_check_s = now_s + chores.check_every_s
            found = list(chores.check(self.store, int(now_s)))
            alerts.record(self.store.database, found, int(now_s), urls=list(hooks), cool_down_s=chores.cool_down_s)
            flagged.record(self.store.database, found, int(now_s))
            webhooks.deliver(self.store.database, hooks)
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + SWEEP_EVERY_S
            registry.merge_all_pending(self.store.database)
            database, raw_days, rollup_days = self.store.database, chores.raw_days, chores.rollup_days
            retention.sweep(database, int(now_s), raw_days=raw_days, rollup_days=rollup_days)


def take_lease(database: Database, name: str, holder: str, now_s: int) -> bool:
    """Whether `holder` has the lease for the next `LEASE_S` seconds.

    Raises:
        StoreUnavailableError: nobody can tell.
    """
    with database.write() as cursor:
        cursor.run("INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING", (name, holder, now_s + LEASE_S))
        [(has, until_s)] = cursor.locked("SELECT holder, until_s FROM leases WHERE name = ?", (name,))
        if has != holder and until_s > now_s:
            return False
        cursor.run("UPDATE leases SET holder = ?, until_s = ? WHERE name = ?", (holder, now_s + LEASE_S, name))
    return True

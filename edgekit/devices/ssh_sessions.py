"""The sessions of one SSH connection, opened ahead: each round trip to open one is spent while nobody waits for it.

Every command takes a session, which the server has to open first. While one is used, the next is opened already; on a
link of 20 ms a push that asks eight questions waits 0.2 s less. The SFTP client, four round trips, is opened when an
upload is foreseen, and kept. A server that allows few sessions at a time (OpenSSH's MaxSessions) refuses what is to
spare. Then what nobody uses is closed, each is opened when it is needed, and nothing runs beside an upload.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import paramiko

from edgekit.devices.sftp import PipelinedSftp

if TYPE_CHECKING:
    from collections.abc import Iterator

_FREED_S = 3
"""How long a server may take to notice that a session was closed."""
_POLL_S = 0.05
_FAILURES = (EOFError, OSError, paramiko.SSHException)


class Sessions:
    """Sessions of a connection.

    Args:
        link: the authenticated connection.
        timeout_s: how long the server may take to open one, and any answer of it may take.
    """

    def __init__(self, link: Any, timeout_s: float) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._opener = ThreadPoolExecutor(4, "ssh-sessions")
        self._lock = threading.Lock()
        self._spares: list[Future[Any]] = []
        self._sftp: Future[Any] | None = None
        self._sftp_is_used = False
        self._are_few = False

    def take(self) -> Any:
        """A session for one command.

        Raises:
            EOFError, OSError, paramiko.SSHException: the server opens none.
        """
        with self._lock:
            spare = self._spares.pop(0) if self._spares else None
        session = None
        if spare is not None:
            with suppress(*_FAILURES):
                session = spare.result()
        if session is None or session.closed:
            session = self._open_if_need_be()
        self._open_ahead(1)
        return session

    def foresee_upload(self, commands: int = 3) -> None:
        """Opens ahead what an upload uses: the SFTP client if there is none, a question, and two commands beside it.

        Whoever takes one hears of its errors.
        """
        if self._sftp is None and not self._are_few:
            self._sftp = self._opener.submit(self._open_sftp)
        self._open_ahead(commands)

    def are_several(self) -> bool:
        """Whether two commands can run while the SFTP client is used; opens them ahead, to find out."""
        self.foresee_upload(2)
        with self._lock:
            waited = [self._sftp, *self._spares]
        if not self._are_few and any(one is None or one.exception() is not None for one in waited):
            self._be_sparing()
        return not self._are_few

    @contextmanager
    def sftp(self) -> Iterator[Any]:
        """The SFTP client, for one user at a time.

        Raises:
            EOFError, OSError, paramiko.SSHException: the server has none, or the link is down.
        """
        client = self._kept_sftp()
        if client is None:
            client = self._open_sftp(self._open_if_need_be())
            self._sftp = Future()
            self._sftp.set_result(client)
        self._sftp_is_used = True
        try:
            yield client
        finally:
            self._sftp_is_used = False

    def close(self) -> None:
        """Opens nothing more. The sessions go with the connection."""
        self._opener.shutdown(wait=False)

    def _open_ahead(self, count: int) -> None:
        with self._lock:
            while len(self._spares) < count and not self._are_few:
                self._spares.append(self._opener.submit(self._open))

    def _open_if_need_be(self) -> Any:
        """A session; where the server has no more of them, one that is freed for it."""
        deadline = time.monotonic() + _FREED_S
        while True:
            try:
                return self._open()
            except paramiko.SSHException:  # of several refusals at once, paramiko keeps one ChannelException only
                if time.monotonic() > deadline or not self._link.is_active():
                    raise
            self._be_sparing()
            time.sleep(_POLL_S)

    def _be_sparing(self) -> None:
        """Closes what nobody uses, and opens nothing ahead from now on."""
        self._are_few = True
        with self._lock:
            spares, self._spares = self._spares, []
        for spare in spares:
            with suppress(*_FAILURES):
                spare.result().close()
        if not self._sftp_is_used:
            client, self._sftp = self._kept_sftp(), None
            if client is not None:
                client.close()

    def _kept_sftp(self) -> Any:
        """The client that was opened already; None if there is none, or it is of no use any more."""
        client = None
        if self._sftp is not None:
            with suppress(*_FAILURES):
                client = self._sftp.result()
        return None if client is None or client.sock.closed else client

    def _open(self) -> Any:
        session = self._link.open_session(timeout=self._timeout_s)
        session.settimeout(self._timeout_s)
        return session

    def _open_sftp(self, session: Any = None) -> Any:
        session = session or self._open()
        try:
            session.invoke_subsystem("sftp")
            return PipelinedSftp(session)
        except BaseException:  # Ctrl-C too: no session stays open; it is raised again
            session.close()
            raise

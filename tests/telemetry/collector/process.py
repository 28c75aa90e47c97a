"""The collector as a process, and a client of it that keeps no state between requests."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[3]
STARTS_WITHIN_S = 60


class CollectorProcess:
    """`edgekit telemetry serve` on free ports of loopback."""

    def __init__(self, database: str, key_file: Path, *options: str) -> None:
        command = [sys.executable, "-m", "edgekit", "telemetry", "serve", "--json", "--db", database]
        command += ["--key-file", str(key_file), "--port", "0", "--admin-port", "0", *options]
        self.log = key_file.with_name(f"serve-{time.monotonic_ns()}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log)
        atexit.register(self.process.kill)  # a test that fails leaves none behind; one that has ended does not mind
        document = self._first_document()
        self.port, self.admin_port = document["port"], document["admin_port"]
        self._wait_for_health()

    def _first_document(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = b""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not text.rstrip().endswith(b"}"):
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(self.log.read_text())
            part = os.read(self.process.stdout.fileno(), 4096)
            if not part:
                raise RuntimeError(self.log.read_text())
            text += part
        found: dict[str, Any] = json.loads(text)
        return found

    def _wait_for_health(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                if self.ask("GET", "/health")[0] == 200:
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def ask(
        self, method: str, path: str, body: bytes = b"", *, admin: bool = False, timeout: float = 30
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, JSON or bytes, headers) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port if admin else self.port, timeout=timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, json.loads(content) if content[:1] in (b"{", b"[") else content, headers

    def upload(self, body: bytes) -> int:
        """Status of an upload of windows."""
        return self.ask("POST", "/v1/windows", body)[0]

    def kill(self) -> None:
        """Ends it in the middle of whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> int:
        """Ends it in good order; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


class Senders:
    """Threads that each send uploads one after another, and note what was acknowledged.

    Args:
        ports: of the collectors; senders take turns.
        uploads: (number, body); each is sent once.
    """

    def __init__(self, ports: Sequence[int], uploads: Sequence[tuple[int, bytes]], *, threads: int = 8) -> None:
        import threading

        self.acknowledged: list[int] = []
        self.statuses: list[int] = []
        self._pending = iter(uploads)
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(ports[i % len(ports)],), daemon=True) for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while True:
            with self._lock:
                upload = next(self._pending, None)
            if upload is None:
                return
            try:
                connection.request("POST", "/v1/windows", upload[1])
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return  # it was killed; what was on its way is not acknowledged
            self.statuses.append(answer.status)
            if answer.status == 200:
                self.acknowledged.append(upload[0])

    def wait_for(self, acknowledged: int, timeout_s: float = 60) -> None:
        """Until so many uploads were acknowledged."""
        deadline = time.monotonic() + timeout_s
        while len(self.acknowledged) < acknowledged:
            assert time.monotonic() < deadline, f"only {len(self.acknowledged)} were acknowledged"
            time.sleep(0.005)

    def join(self) -> None:
        """Until all are done."""
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

"""An adbd that misbehaves as real ones cannot be made to; it speaks the real protocol to the genuine adb server.

    python fake_adbd.py PORT unauthorized     nobody ever taps "Allow" on its screen
    python fake_adbd.py PORT silent           takes the connection and says nothing
    python fake_adbd.py PORT old              Android 6: it knows no shell protocol 2
    python fake_adbd.py PORT deaf             accepts services and never answers them
    python fake_adbd.py PORT dies=BYTES       is a good device until it has received so many bytes; then it is gone

A packet is six little-endian words (command, two arguments, length, checksum, inverted command) and a payload.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading

_HEADER = struct.Struct("<6I")
_VERSION, _MAX_BYTES, _TOKEN = 0x01000001, 1 << 18, 1


def _word(name: bytes) -> int:
    return int.from_bytes(name, "little")


class FakeAdbd:
    """One connection. Of services it knows a shell whose command reads nothing, and `sync:`, which it swallows."""

    def __init__(self, sock: socket.socket, mode: str) -> None:
        self._sock = sock
        self._mode, _, dies = mode.partition("=")
        self._left = int(dies or 1 << 60)

    def serve(self) -> None:
        while header := self._receive(_HEADER.size):
            command, first, second, length, _, _ = _HEADER.unpack(header)
            payload = self._receive(length)
            if self._mode == "silent":
                continue
            if (command == _word(b"CNXN") and self._mode == "unauthorized") or command == _word(b"AUTH"):
                self._send(b"AUTH", _TOKEN, 0, os.urandom(20))
            elif command == _word(b"CNXN"):
                features = "cmd" if self._mode == "old" else "shell_v2,cmd"
                self._send(b"CNXN", _VERSION, _MAX_BYTES, f"device::ro.product.model=Fake;features={features}".encode())
            elif command == _word(b"OPEN") and self._mode != "deaf":
                self._send(b"OKAY", first, first, b"")
                service = payload.rstrip(b"\0").decode()
                if service.startswith("shell,v2,raw:"):
                    self._shell(first, service.partition(":")[2])
            elif command == _word(b"WRTE"):
                self._send(b"OKAY", second, first, b"")

    def _shell(self, stream: int, command: str) -> None:
        pipe = subprocess.PIPE  # of stdin too, and never closed: its end would be the end of the command
        process = subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdout is not None
        assert process.stderr is not None
        said = ((1, process.stdout.read()), (2, process.stderr.read()), (3, bytes([process.wait() & 255])))
        packets = b"".join(struct.pack("<BI", kind, len(data)) + data for kind, data in said if data)
        self._send(b"WRTE", stream, stream, packets)

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._sock.recv(min(count - len(data), self._left))
            self._left -= len(chunk)
            if not chunk or not self._left:
                os._exit(0)
            data += chunk
        return data

    def _send(self, command: bytes, first: int, second: int, payload: bytes) -> None:
        word = _word(command)
        self._sock.sendall(_HEADER.pack(word, first, second, len(payload), 0, word ^ 0xFFFFFFFF) + payload)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=FakeAdbd(connection, sys.argv[2]).serve, daemon=True).start()

"""What an enemy sends: without a key, with a stolen one, and below HTTP. All of it is seeded.

benchmarks/collector_fuzz.py sends the same in larger numbers.
"""

from __future__ import annotations

import gzip
import hmac
import json
import os
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from edgekit.telemetry.reporter import envelope, wire

if TYPE_CHECKING:
    from random import Random

    from edgekit.telemetry.collector.keys import IssuedKey
    from tests.telemetry.collector.fleet import Fleet

PATHS = ("/v1/windows", "/v1/references", "/v1/enroll", "/health", "/ready", "/", "/v1/windows/", "/../etc/passwd", "")
METHODS = ("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "\x00")


class Request(NamedTuple):
    """One request."""

    method: str
    path: str
    body: bytes


class Enemy:
    """Makes requests. It has the key of a device, and uploads that were taken before.

    Args:
        random: everything comes from it.
        fleet: of windows that are well-formed.
        key: the stolen one.
    """

    def __init__(self, random: Random, fleet: Fleet, key: IssuedKey) -> None:
        self.random, self.fleet, self.key = random, fleet, key
        self._windows = [fleet.window(key.device, cohort="c", n=n) for n in (0, 5, 300, 900)]
        self._frames = [wire.encode(window) for window in self._windows]
        self._taken = [fleet.upload(key, [window]) for window in self._windows]
        self._bombs = [gzip.compress(bytes(size)) for size in (5 << 20, 12 << 20)]
        self._bombs.append(gzip.compress(gzip.compress(bytes(12 << 20))))
        self._bombs.append(gzip.compress(self._frames[0] * 3000))
        self._oversized_bodies = [os.urandom(64) * (size // 64) for size in (64_128, 70_016, 300_032, 3 << 20)]
        self._reference = fleet.reference.to_json()
        self._makers = [
            self._noise, self._flipped, self._taken_again, self._signed_noise, self._signed_frame, self._signed_frame,
            self._bomb, self._oversized, self._enrolment, self._odd_request, self._signed_reference, self._cut,
        ]  # fmt: skip

    def request(self) -> Request:
        """The next one."""
        return self.random.choice(self._makers)()

    def _upload(self, body: bytes, path: str = "/v1/windows") -> Request:
        return Request("POST", path, body)

    def _bytes(self, most: int) -> bytes:
        return self.random.randbytes(int(most ** self.random.random()))

    def _noise(self) -> Request:
        start = self.random.choice((b"", b"EE\x01\x01\x01", b"EE", b"EW\x01\x00", b"{", b"\x1f\x8b"))
        return self._upload(start + self._bytes(4000), self.random.choice(PATHS[:3]))

    def _flipped(self) -> Request:
        damaged = bytearray(self.random.choice(self._taken))
        for _ in range(self.random.randrange(1, 5)):
            damaged[self.random.randrange(len(damaged))] = self.random.randrange(256)
        return self._upload(bytes(damaged))

    def _cut(self) -> Request:
        whole = self.random.choice(self._taken)
        return self._upload(whole[: self.random.randrange(len(whole))])

    def _taken_again(self) -> Request:
        return self._upload(self.random.choice(self._taken), self.random.choice(PATHS[:3]))

    def _sealed(self, body: bytes, *, kind: int = envelope.WINDOWS, compress: bool = True) -> bytes:
        sent_ns = self.random.choice((None, 0, -(1 << 63), (1 << 63) - 1))
        key = self.key
        return envelope.seal(
            body, device=key.device, key_id=key.key_id, key=key.key, kind=kind, sent_ns=sent_ns, compress=compress
        )

    def _signed_noise(self) -> Request:
        return self._upload(self._sealed(self._bytes(3000), compress=self.random.random() < 0.5))

    def _signed_frame(self) -> Request:
        """A frame with damage inside and a good checksum, so that everything behind the signature is reached."""
        window = self.random.choice(self._windows)._replace(seq=self.random.randrange(1 << 40))
        payload = bytearray(wire.encode(window)[8:-4])
        for _ in range(self.random.randrange(4)):
            at = self.random.randrange(len(payload))
            if self.random.random() < 0.1:
                del payload[at : at + self.random.randrange(1, 40)]
                payload = payload or bytearray(b"\0")
            else:
                payload[at] = self.random.choice((0, 1, 4, 8, 127, 128, 129, 136, 255, self.random.randrange(256)))
        head = struct.pack("<2sBBI", b"EW", 1, 0, len(payload)) + payload
        frame = head + struct.pack("<I", zlib.crc32(head))
        return self._upload(self._sealed(frame * self.random.choice((1, 1, 1, 2, 5))))

    def _bomb(self) -> Request:
        """A body that grows a thousandfold; the signature is good, as the key is stolen."""
        packed = self.random.choice(self._bombs)
        plain = self._sealed(b"", compress=False)  # its end is a length of 0 and the signature
        signed = plain[:4] + bytes((envelope.GZIP,)) + plain[5:-36] + struct.pack("<I", len(packed)) + packed
        return self._upload(signed + hmac.digest(self.key.key, signed, "sha256"))

    def _oversized(self) -> Request:
        return self._upload(self.random.choice(self._oversized_bodies), self.random.choice(PATHS[:3]))

    def _enrolment(self) -> Request:
        nested = b"[" * 2000
        asked = self.random.choice(
            (
                nested, b'{"token":' * 300, b'{"token": "' + b"x" * 3000 + b'"}',
                b'{"token": "\\ud800", "device": "\\u0000"}',
                json.dumps({"token": self.random.choice((None, 1, "x", [], {})), "device": "d"}).encode(),
                b'{"token": 1e999999}', b"\xef\xbb\xbf{}", b"NaN",
            )
        )  # fmt: skip
        return Request("POST", "/v1/enroll", asked)

    def _odd_request(self) -> Request:
        return Request(self.random.choice(METHODS), self.random.choice(PATHS), self._bytes(100))

    def _signed_reference(self) -> Request:
        document = bytearray(self._reference)
        for _ in range(self.random.randrange(3)):
            document[self.random.randrange(len(document))] = self.random.randrange(256)
        nested = b'{"schema":1,"features":' + b"[" * 50_000
        body = self.random.choice((bytes(document), nested, b"null", b'{"schema":1}', b"[]", self._bytes(500)))
        return self._upload(self._sealed(body, kind=envelope.REFERENCE), "/v1/references")


def raw_request(random: Random, upload: bytes) -> bytes:
    """Bytes for a socket: HTTP that is wrong in some way, or not HTTP at all."""
    post = b"POST /v1/windows HTTP/1.1\r\nhost: x\r\n"
    length = random.choice((b"-1", b"0", b"1", b"99999999999999999999", b"0x10", b"%d" % len(upload), b" 5", b"5, 5"))
    chunks = random.choice(
        (b"5\r\nabcde\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"-1\r\n", b"5;" + b"x" * 9000 + b"\r\nabcde")
    )
    return random.choice(
        (
            random.randbytes(random.randrange(400)),
            post + b"content-length: " + length + b"\r\n\r\n" + upload,
            post + b"transfer-encoding: chunked\r\n\r\n" + chunks,
            post + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + chunks,
            post + b"x: " + b"y" * random.choice((100, 15_000, 40_000)) + b"\r\n\r\n",
            post + b"a: b\r\n" * random.choice((10, 2000)) + b"\r\n",
            b"GET /" + b"a" * random.choice((10, 60_000)) + b" HTTP/1.1\r\n\r\n",
            b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" * random.choice((1, 3, 40)),
            b"GET \xff\xfe HTTP/1.1\r\n\r\n",
            b"GET http://other/ HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(100),
            b"GET /health HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n",
            b"POST /v1/windows HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n",
            b"POST /v1/windows HTTP/9.9\r\n\r\n",
        )
    )  # fmt: skip

"""The envelope: a body on its way to the collector, compressed and signed with the device's key.

The HMAC-SHA256 is over every byte before it, so neither the device's name nor the time can be changed on the way. A
replayed envelope is harmless: windows have names for ever, and the collector counts each name once. Opening goes in
steps, cheap ones first, so that a stranger costs the collector little: `parse` looks at lengths only, `verify` checks
the signature, and only then `unpack` decompresses, up to a cap.
"""

from __future__ import annotations

import hmac
import os
import struct
import time
import zlib

from .errors import WireError
from .records import NamedTuple

MAGIC = b"EE"
VERSION = 1
WINDOWS, REFERENCE = 1, 2
"""What is inside: frames of `wire`, or a `reference.json` that a device cut for itself."""
PLAIN, GZIP = 0, 1
MAX_ENVELOPE_BYTES = 1 << 20
MAX_BODY_BYTES = 16 << 20
"""The most that a body may have after decompression."""
NONCE_BYTES = 16
SIGNATURE_BYTES = 32
MAX_NAME_BYTES = 64

_HEADER = struct.Struct("<2sBBB")  # magic, version, kind, encoding
_TIME = struct.Struct("<q")
_LENGTH = struct.Struct("<I")


class Envelope(NamedTuple):
    """An envelope as parsed: nothing in it is to be believed before `verify`.

    Attributes:
        kind: `WINDOWS` or `REFERENCE`.
        device, key_id: who says that it signed, and with which of its keys.
        sent_ns: the device's wall clock when it was made, ns since 1970.
        nonce: 16 random bytes, new for each envelope.
        encoding: `PLAIN` or `GZIP`.
        packed: the body as it travels.
        signed: the bytes that the signature is over.
        signature: HMAC-SHA256.
    """

    kind: int
    device: str
    key_id: str
    sent_ns: int
    nonce: bytes
    encoding: int
    packed: bytes
    signed: bytes
    signature: bytes

    def verify(self, key: bytes) -> bool:
        """Whether the key made the signature. Takes the same time wherever it differs."""
        return hmac.compare_digest(hmac.digest(key, self.signed, "sha256"), self.signature)

    def unpack(self, limit: int = MAX_BODY_BYTES) -> bytes:
        """The body, decompressed into no more than `limit` bytes.

        Raises:
            WireError: it is larger, or no whole gzip member.
        """
        if self.encoding == PLAIN:
            if len(self.packed) > limit:
                raise WireError("a body of more than %d bytes" % limit)
            return self.packed
        inflater = zlib.decompressobj(wbits=31)
        try:
            body = inflater.decompress(self.packed, limit + 1)
        except zlib.error as error:
            raise WireError("the body cannot be decompressed: %s" % error) from error
        if len(body) > limit:
            raise WireError("the body has more than %d bytes decompressed" % limit)
        if not inflater.eof or inflater.unused_data:
            raise WireError("the body is not exactly one gzip member")
        return body


def seal(
    body: bytes,
    *,
    device: str,
    key_id: str,
    key: bytes,
    kind: int = WINDOWS,
    sent_ns: int | None = None,
    nonce: bytes | None = None,
    compress: bool = True,
) -> bytes:
    """An envelope around a body, signed; `sent_ns` and `nonce` are now and random unless given.

    Raises:
        WireError: names that do not fit, or the envelope would be too large.
    """
    packed = _gzip(body) if compress else body
    try:
        head = _HEADER.pack(MAGIC, VERSION, kind, GZIP if compress else PLAIN) + _name(device) + _name(key_id)
        head += _TIME.pack(time.time_ns() if sent_ns is None else sent_ns)
    except (struct.error, ValueError) as error:
        raise WireError("this envelope cannot be written: %s" % error) from error
    nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
    if len(nonce) != NONCE_BYTES:
        raise WireError("a nonce has %d bytes" % NONCE_BYTES)
    signed = head + nonce + _LENGTH.pack(len(packed)) + packed
    if len(signed) + SIGNATURE_BYTES > MAX_ENVELOPE_BYTES:
        raise WireError("an envelope of %d bytes; %d are possible" % (len(signed), MAX_ENVELOPE_BYTES))
    return signed + hmac.digest(key, signed, "sha256")


def parse(data: bytes) -> Envelope:
    """The parts of an envelope, by its lengths; nothing is verified or decompressed.

    Raises:
        WireError: it is no envelope of this version, or too large.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise WireError("an envelope of %d bytes; %d are possible" % (len(data), MAX_ENVELOPE_BYTES))
    try:
        magic, version, kind, encoding = _HEADER.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise WireError("no envelope of version %d" % VERSION)
        if kind not in (WINDOWS, REFERENCE) or encoding not in (PLAIN, GZIP):
            raise WireError("an envelope of kind %d, encoding %d" % (kind, encoding))
        device, at = _take_name(data, _HEADER.size)
        key_id, at = _take_name(data, at)
        (sent_ns,) = _TIME.unpack_from(data, at)
        at += _TIME.size
        nonce = data[at : at + NONCE_BYTES]
        at += NONCE_BYTES
        (length,) = _LENGTH.unpack_from(data, at)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise WireError("the envelope ends within its header") from error
    at += _LENGTH.size
    end = at + length
    if end + SIGNATURE_BYTES != len(data):
        raise WireError("an envelope of %d bytes that says it has %d" % (len(data), end + SIGNATURE_BYTES))
    return Envelope(kind, device, key_id, sent_ns, nonce, encoding, data[at:end], data[:end], data[end:])


def _name(name: str) -> bytes:
    raw = name.encode("utf-8")
    if not 1 <= len(raw) <= MAX_NAME_BYTES or not name.isprintable():
        raise ValueError("%r is not 1 to %d bytes of printable text" % (name, MAX_NAME_BYTES))
    return bytes((len(raw),)) + raw


def _take_name(data: bytes, at: int) -> tuple[str, int]:
    size = data[at]
    name = data[at + 1 : at + 1 + size].decode("utf-8")
    if not 1 <= size <= MAX_NAME_BYTES or not name.isprintable():
        raise WireError("a name of %d bytes; 1 to %d of printable text are possible" % (size, MAX_NAME_BYTES))
    return name, at + 1 + size


def _gzip(body: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, 31)  # a gzip member without a time: the same bytes for the same body
    return deflater.compress(body) + deflater.flush()

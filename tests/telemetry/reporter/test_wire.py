"""The wire: round trips, vectors that other languages test against, and bytes that nobody wrote on purpose."""

from __future__ import annotations

import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.telemetry.reporter import envelope as envelopes
from edgekit.telemetry.reporter import wire
from edgekit.telemetry.reporter.errors import WireError
from edgekit.telemetry.reporter.reference import LATENCY
from edgekit.telemetry.reporter.window import FeatureCounts, Window
from tests.telemetry.strategies import names, windows

VECTORS = Path(__file__).parent / "vectors"
KEY = bytes(range(32))
RANDOM_BODIES = int(os.environ.get("EDGEKIT_FUZZ", "20000"))


def vectors() -> list[str]:
    return sorted(path.stem for path in VECTORS.glob("*.json"))


def window_of(name: str) -> Window:
    """The window that a vector's JSON describes: counts as lists, moments that were never seen as null."""
    fields = json.loads((VECTORS / (name + ".json")).read_text())["window"]
    fields["labels"] = tuple(map(tuple, fields["labels"]))
    fields["latency"] = counts_of(fields["latency"])
    fields["features"] = tuple(map(counts_of, fields["features"]))
    return Window(**fields)


def counts_of(fields: dict[str, Any]) -> FeatureCounts:
    if fields["min"] is None:
        fields = {key: value for key, value in fields.items() if key not in ("min", "max", "mean", "m2")}
    else:
        fields["m2"] = float(fields["m2"])  # "inf" is a text: JSON has none
    return FeatureCounts(**dict(fields, cells=tuple(fields["cells"])))


@pytest.mark.parametrize("name", vectors())
def test_vectors(name: str) -> None:
    frame = (VECTORS / (name + ".frame")).read_bytes()
    assert wire.decode(frame) == window_of(name)
    assert wire.encode(window_of(name)) == frame
    packed = (VECTORS / (name + ".envelope")).read_bytes()
    opened = envelopes.parse(packed)
    assert opened.verify(KEY)
    assert opened.unpack() == frame
    assert (opened.device, opened.key_id, opened.sent_ns) == ("dev-1", "k1", 1_790_000_000_000_000_000)
    sealed = envelopes.seal(
        frame, device="dev-1", key_id="k1", key=KEY, sent_ns=opened.sent_ns, nonce=opened.nonce, compress=False
    )
    assert envelopes.parse(sealed).unpack() == frame


def test_there_are_vectors_for_every_width() -> None:
    assert {"empty", "wide", "small", "categories"} <= set(vectors())


@given(windows())
def test_what_is_encoded_is_decoded(window: Window) -> None:
    assert wire.decode(wire.encode(window)) == window


@settings(max_examples=20)
@given(st.lists(windows(features=2), max_size=4))
def test_bodies_hold_several(several: list[Window]) -> None:
    assert wire.decode_body(wire.encode_body(several)) == several


@settings(max_examples=30)
@given(windows(), st.data())
def test_a_cut_or_flipped_frame_is_refused(window: Window, data: st.DataObject) -> None:
    frame = wire.encode(window)
    cut = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(WireError):
        wire.decode(frame[:cut])
    flipped = bytearray(frame)
    flipped[cut] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(WireError):
        wire.decode(bytes(flipped))
    with pytest.raises(WireError):
        wire.decode(frame + b"\0")


def _reframed(payload: bytes) -> bytes:
    head = b"EW\x01\x00" + len(payload).to_bytes(4, "little") + payload
    return head + zlib.crc32(head).to_bytes(4, "little")


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_behind_a_good_checksum(payload: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode(_reframed(payload))


def test_mutated_windows_behind_a_good_checksum_decode_or_are_refused() -> None:
    draw = random.Random(17)
    seeds = [(VECTORS / (name + ".frame")).read_bytes()[8:-4] for name in vectors()]
    refused = 0
    for _ in range(RANDOM_BODIES):
        payload = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(payload))
            choice = draw.random()
            if choice < 0.6:
                payload[at] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
            elif choice < 0.8:
                del payload[at : at + draw.randint(1, 9)]
            else:
                payload[at:at] = draw.randbytes(draw.randint(1, 9))
            if not payload:
                break
        try:
            window = wire.decode(_reframed(bytes(payload)))
        except WireError:
            refused += 1
        else:
            assert wire.decode(wire.encode(window)) == window  # what is accepted can be written again
    assert refused > RANDOM_BODIES / 10


def test_random_envelopes_are_refused() -> None:
    draw = random.Random(23)
    good = (VECTORS / "small.envelope").read_bytes()
    for _ in range(RANDOM_BODIES // 4):
        data = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        data = data[: draw.choice((len(data), draw.randrange(len(data))))]
        if bytes(data) == good:
            continue
        try:
            opened = envelopes.parse(bytes(data))
        except WireError:
            continue
        assert not opened.verify(KEY)
        try:
            body = opened.unpack(1 << 16)
        except WireError:
            continue
        assert len(body) <= 1 << 16


def test_a_claim_of_many_features_allocates_nothing() -> None:
    frame = (VECTORS / "small.frame").read_bytes()[8:-4]
    at = len(frame) - _features_bytes("small") - 2
    with pytest.raises(WireError, match="65535 features"):
        wire.decode(_reframed(frame[:at] + b"\xff\xff" + frame[at + 2 :]))
    with pytest.raises(WireError, match="ends within"):
        wire.decode(_reframed(frame[:at] + b"\x00\x10" + frame[at + 2 :]))


def _features_bytes(name: str) -> int:
    window = window_of(name)
    return len(wire.encode(window)) - len(wire.encode(window._replace(features=())))


def test_a_bomb_is_not_unpacked() -> None:
    bomb = envelopes.seal(bytes(40 << 20), device="d", key_id="k", key=KEY)
    assert len(bomb) < 50_000
    opened = envelopes.parse(bomb)
    assert opened.verify(KEY)
    with pytest.raises(WireError, match="more than 1048576 bytes"):
        opened.unpack(1 << 20)


@pytest.mark.parametrize("tail", [b"", b"more"])
def test_half_a_gzip_member_or_more_than_one_is_refused(tail: bytes) -> None:
    packed = envelopes.parse(envelopes.seal(b"body", device="d", key_id="k", key=KEY)).packed
    changed = packed[:-3] if not tail else packed + tail
    sealed = envelopes.seal(changed, device="d", key_id="k", key=KEY, compress=False)
    with pytest.raises(WireError, match="exactly one"):
        envelopes.parse(sealed)._replace(encoding=envelopes.GZIP).unpack()


@given(names, names, st.binary(max_size=200), st.booleans())
def test_envelopes_open_with_the_key_and_no_other(device: str, key_id: str, body: bytes, compress: bool) -> None:
    opened = envelopes.parse(envelopes.seal(body, device=device, key_id=key_id, key=KEY, compress=compress))
    assert opened.verify(KEY)
    assert not opened.verify(KEY[::-1])
    assert (opened.device, opened.key_id, opened.unpack()) == (device, key_id, body)


@pytest.mark.parametrize(
    "change",
    [
        {"device": ""},
        {"device": "x" * 65},
        {"boot": "ab"},
        {"artifact": "zz" * 32},
        {"seq": -1},
        {"seq": 1 << 63},
        {"inferences": -1},
        {"labels": (("b", ""), ("a", ""))},
        {"labels": (("a", "1"), ("a", "2"))},
        {"labels": tuple((chr(97 + i), "") for i in range(17))},
        {"features": (FeatureCounts((1, -1)),)},
        {"features": (FeatureCounts((0,) * 1025),)},
        {"features": (FeatureCounts((1,), min=0.0, max=1.0, mean=float("nan")),)},
        {"features": (FeatureCounts((0,), min=0.0, max=1.0),)},
        {"features": (FeatureCounts((1.5,)),)},
        {"features": (FeatureCounts.empty(3),) * 4097},
        {"model": None},
    ],
)
def test_windows_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(WireError):
        wire.encode(window_of("small")._replace(**change))


def test_latency_has_its_own_cells() -> None:
    with pytest.raises(WireError, match="latencies in 3 cells"):
        wire.decode(wire.encode(window_of("small")._replace(latency=FeatureCounts.empty(3))))
    assert len(window_of("small").latency.cells) == LATENCY.size

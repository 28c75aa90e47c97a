"""The fast way of reading frames takes only what `wire` takes, and reads the same out of it."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.telemetry.collector import scan
from edgekit.telemetry.collector.layout import Layout, merge_moments, pack, sum_packed, too_large, unpack
from edgekit.telemetry.reporter import wire
from edgekit.telemetry.reporter.errors import WireError
from edgekit.telemetry.reporter.reference import LATENCY
from edgekit.telemetry.reporter.window import FeatureCounts, Window
from tests.telemetry.collector.fleet import Fleet, a_reference, same, summed
from tests.telemetry.strategies import counts, windows

REFERENCE = a_reference()
LAYOUT = Layout.of(REFERENCE, LATENCY.size)


def fast(frame: bytes, device: str) -> tuple[scan.Head, scan.Sections] | None:
    head = scan.head(frame, device.encode())
    sections = head and scan.sections(frame, head.at, LAYOUT)
    if head is None or sections is None or not scan.matrix([sections], LAYOUT)[2][0]:
        return None
    return head, sections


def agrees(frame: bytes, window: Window) -> None:
    """Asserts that the fast way, where it takes the frame, reads that window."""
    found = fast(frame, window.device)
    if found is None:
        return
    head, sections = found
    rows, moments, _ = scan.matrix([sections], LAYOUT)
    assert rows[0].tolist() == LAYOUT.vector(window).tolist()
    assert moments[0].tolist() == LAYOUT.moments(window).tolist()
    assert (head.boot.hex(), head.seq, head.start_ns, head.end_ns) == (
        window.boot, window.seq, window.start_ns, window.end_ns,
    )  # fmt: skip
    assert (head.model.decode(), head.reference.hex()) == (window.model, window.reference)
    assert head.bootstrapped == window.bootstrapped


@given(windows(), st.data())
@settings(max_examples=30)
def test_it_reads_what_wire_reads(window: Window, data: st.DataObject) -> None:
    fitting = window._replace(
        latency=data.draw(counts(LATENCY.size)),
        features=tuple(data.draw(counts(feature.size)) for feature in REFERENCE.features),
    )
    agrees(wire.encode(fitting), fitting)


def test_ordinary_windows_go_the_fast_way() -> None:
    fleet = Fleet(REFERENCE, seed=3)
    for i in range(100):
        window = fleet.window("d1", n=(0, 5, 700)[i % 3], cohort="a")
        frame = wire.encode(window)
        assert fast(frame, "d1") is not None
        agrees(frame, window)


def test_what_wire_refuses_it_never_takes() -> None:
    random = Random(5)
    frame = wire.encode(Fleet(REFERENCE, seed=3).window("d1", n=300))
    taken = 0
    for _ in range(2500):
        damaged = bytearray(frame)
        for _ in range(random.randrange(1, 4)):
            value = random.choice((0, 1, 2, 4, 127, 128, 255, random.randrange(256)))
            damaged[random.randrange(8, len(frame) - 4)] = value
        try:
            window = wire.decode(wire_frame(bytes(damaged[8:-4])))
        except WireError:
            window = None
        found = fast(wire_frame(bytes(damaged[8:-4])), "d1")
        if window is None or too_large(window):
            assert found is None or not printable(found[0])
        elif found is not None:
            taken += 1
            agrees(wire_frame(bytes(damaged[8:-4])), window)
    assert taken > 200


def printable(head: scan.Head) -> bool:
    """What the fast way leaves to others: texts are compared with ones that `wire` took before."""
    try:
        return head.model.decode().isprintable() and b"".join([head.labels]) == b"\0"
    except UnicodeDecodeError:
        return False


def wire_frame(payload: bytes) -> bytes:
    """A frame with a good checksum around any bytes."""
    import struct
    import zlib

    head = struct.pack("<2sBBI", b"EW", 1, 0, len(payload)) + payload
    return head + struct.pack("<I", zlib.crc32(head))


@given(st.lists(st.integers(0, 1 << 41), min_size=3, max_size=3), st.integers(1, 700))
def test_packed_sums_are_exact(values: list[int], rows: int) -> None:
    import numpy as np

    vectors = [np.array(values, np.int64) // (1 + i % 4) for i in range(rows)]
    small = [vector % 256 for vector in vectors]
    packed = [pack(vector) for vector in (*vectors, *small)]
    assert all((unpack(*each) == vector).all() for each, vector in zip(packed, (*vectors, *small), strict=True))
    assert sum_packed(*zip(*packed, strict=True), 3).tolist() == np.sum([*vectors, *small], axis=0).tolist()


def test_moments_of_parts_are_the_moments_of_the_whole() -> None:
    import numpy as np

    fleet = Fleet(REFERENCE, seed=9)
    found = [fleet.window("d1") for _ in range(40)]
    merged = merge_moments(np.stack([LAYOUT.moments(window) for window in found]))
    vector = np.sum([LAYOUT.vector(window) for window in found], axis=0)
    for index, (name, expected) in enumerate(summed(REFERENCE, found).items()):
        assert same(LAYOUT.counts(vector, merged, index), expected), name


def test_a_window_without_values_spreads_nothing_however_large_others_are() -> None:
    import numpy as np

    rows = np.array([[[2.0, 1e200, 1e200, 1e200, 0.0]], [[0.0, np.inf, -np.inf, 0.0, 0.0]]])
    assert merge_moments(rows).tolist() == [[2.0, 1e200, 1e200, 1e200, 0.0]]


def test_a_joint_of_many_rows_is_no_count_that_no_device_reaches() -> None:
    rows = 1 << 31
    joint = FeatureCounts((rows, *[200 * rows] * 256))
    window = Window("d", "0b" * 16, 1, "m", "", "0" * 64, 0, 1, 1, features=(joint,))
    assert joint.n > 1 << 40
    assert not too_large(window)
    assert too_large(window._replace(features=(joint._replace(cells=(rows, 1 << 41)),)))
    assert too_large(window._replace(features=(joint._replace(out_of_range=1 << 41),)))

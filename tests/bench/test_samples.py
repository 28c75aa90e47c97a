"""Samples: every one comes back, in few bytes; damage is told."""

from __future__ import annotations

import base64
import random
import re
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.samples import MOST, Samples, pack


@given(st.lists(st.integers(0, (1 << 62) - 1), max_size=60))
def test_every_latency_comes_back_in_order(latencies: list[int]) -> None:
    made = pack(latencies)
    assert made.unpack().tolist() == latencies
    assert msgspec.json.decode(msgspec.json.encode(made), type=Samples) == made
    assert made.median_ns == (float(np.median(latencies)) if latencies else None)


def test_fast_models_take_about_a_byte_a_sample() -> None:
    draw = random.Random(1)
    made = pack([round(draw.gauss(6500, 30)) for _ in range(100_000)])
    assert len(made.packed) < 1.4 * 100_000  # as a list in JSON: 500,000


@pytest.mark.parametrize("bad", [[-1], [1 << 62], [1.5], [True], ["1"], [None]])
def test_what_is_no_latency_is_refused(bad: list[object]) -> None:
    with pytest.raises(ValueError, match="whole number"):
        pack(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "made",
    [
        Samples(3, 1.0, "not base64!"),
        Samples(3, 1.0, base64.b64encode(b"not zlib").decode()),
        Samples(4, 1.0, pack([1, 2, 3]).packed),
        Samples(2, 1.0, pack([1, 2, 3]).packed),
        Samples(-1, 1.0, pack([1]).packed),
        Samples(MOST + 1, 1.0, pack([1]).packed),
        Samples(1, 1.0, base64.b64encode(zlib.compress(bytes(10_000_000))).decode()),
    ],
)
def test_damage_is_told_and_a_bomb_does_not_go_off(made: Samples) -> None:
    with pytest.raises(ValueError, match="damaged|cannot|can have"):
        made.unpack()


def test_the_page_s_own_decoder_works() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats" / "run.md").read_text()
    code = "\n".join(line[4:] for line in page.splitlines() if re.match(r"    (rows|folded|latencies_ns) = ", line))
    made = pack([5, 3, 900, 2])
    names = {"np": np, "zlib": zlib, "base64": base64, "packed": made.packed, "n": made.n}
    exec(code, names)
    assert names["latencies_ns"].tolist() == [5, 3, 900, 2]  # type: ignore[attr-defined]

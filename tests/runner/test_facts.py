"""Every fact has a value or a reason; memory comes from the kernel."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgekit.runner import facts, memory


def test_a_fact_without_a_value_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(facts._STEADY, "broken", lambda: int("x"))
    monkeypatch.setitem(facts._STEADY, "silent", lambda: None)
    gathered = facts.gather()
    assert "invalid literal" in gathered["missing"]["broken"]
    assert gathered["missing"]["silent"] == "the system does not tell"
    assert {n for n, v in gathered["values"].items() if v is None} == set(gathered["missing"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_seen_and_can_be_reset() -> None:
    if not memory.reset_peak():
        pytest.skip("this kernel does not reset the peak")
    before = memory.peak_rss_bytes()
    block = np.ones(64 << 20, "uint8")
    during = memory.peak_rss_bytes()
    del block
    assert before is not None
    assert during is not None
    assert during - before > 60 << 20
    assert memory.peak_rss_bytes() >= during - (2 << 20), "a peak stays, but for the kernel's batched counters"
    memory.reset_peak()
    assert memory.peak_rss_bytes() < during

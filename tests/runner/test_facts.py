"""Every fact has a value or a reason; memory comes from the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekit.runner import facts


def test_a_fact_without_a_value_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(facts._STEADY, "broken", lambda: int("x"))
    monkeypatch.setitem(facts._STEADY, "silent", lambda: None)
    gathered = facts.gather()
    assert "invalid literal" in gathered["missing"]["broken"]
    assert gathered["missing"]["silent"] == "the system does not tell"
    assert {n for n, v in gathered["values"].items() if v is None} == set(gathered["missing"])


PEAK = """
import numpy as np
from edgekit.runner import memory

resettable = memory.reset_peak()
before = memory.peak_rss_bytes()
block = np.ones(64 << 20, "uint8")
during = memory.peak_rss_bytes()
del block
after = memory.peak_rss_bytes()
memory.reset_peak()
print(int(resettable), before, during, after, memory.peak_rss_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_seen_and_can_be_reset() -> None:
    """In a process of its own: one that has freed gigabytes before need not grow for a block."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    resettable, before, during, after, reset = map(int, done.stdout.split())
    if not resettable:
        pytest.skip("this kernel does not reset the peak")
    assert during - before > 60 << 20
    assert after >= during - (2 << 20), "a peak stays, but for the kernel's batched counters"
    assert reset < during

"""The doctor, where what a device says is not what it should: a finding, and never a traceback."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgekit.bench import doctor


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"browser": "Chromium 1", "clock_resolution_ns": None, "cross_origin_isolated": True},
        {"browser": "Chromium 1", "clock_resolution_ns": 5, "cross_origin_isolated": True, "wasm_features": [1]},
    ],
)
@pytest.mark.parametrize("part", [doctor._page, doctor._runner])
def test_facts_that_make_no_sense_are_a_finding(
    monkeypatch: pytest.MonkeyPatch, part: Any, values: dict[str, Any]
) -> None:
    monkeypatch.setattr(doctor, "runner_for", lambda _: SimpleNamespace(kind="native"))
    monkeypatch.setattr(
        doctor, "device_info", lambda _: {"python": None, "facts": {"values": values, "missing": {}}, "runtimes": {}}
    )
    device: Any = SimpleNamespace(name="The browser 'page'")
    (finding,) = doctor._looked_at("runner", part(device))
    assert finding.level == "missing"
    assert "sent events that make no sense" in finding.what


@pytest.mark.parametrize(
    ("python", "reason", "says"),
    [
        ("/usr/bin/python3", "No module named 'ai_edge_litert'", "its Python has none of litert"),
        (
            "/usr/bin/python3",
            "libGL.so.1: cannot open",
            "its Python has none of litert (litert: libGL.so.1: cannot open)",
        ),
        (None, "it is LiteRT 2.1", "there is none of litert (litert: it is LiteRT 2.1)"),
    ],
)
def test_a_runtime_that_is_there_and_broken_says_so(
    monkeypatch: pytest.MonkeyPatch, python: str | None, reason: str, says: str
) -> None:
    monkeypatch.setattr(doctor, "install_remedy", lambda *_: "provision")
    device: Any = SimpleNamespace(name="The device 'pi'")
    info = {"python": python, "runtimes": {"litert": {"reason": reason}}}
    (finding,) = doctor._runtimes(device, info)
    assert (finding.level, finding.what) == ("missing", says)

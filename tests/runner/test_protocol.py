"""Event lines."""

from __future__ import annotations

import io
import json

import pytest

from edgekit.runner import protocol


def test_one_line_an_event() -> None:
    stream = io.StringIO()
    protocol.Events(stream).emit("golden", text="two\nlines – and ü", number=1)
    assert json.loads(stream.getvalue()) == {"event": "golden", "text": "two\nlines – and ü", "number": 1}
    assert stream.getvalue().count("\n") == 1


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        protocol.Events(io.StringIO()).emit("x", value=float("nan"))


def test_signs_of_life_only_into_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(protocol.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    events = protocol.Events(stream)
    events.emit("hello")
    for _ in range(20):  # five seconds
        now[0] += 0.25
        events.heartbeat()
    assert stream.getvalue().count("progress") == 10

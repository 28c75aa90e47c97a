"""The commands around the collector: what an operator types, and what it says when it cannot."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edgekit.cli.telemetry import command as telemetry
from edgekit.errors import AccessError, TelemetryError
from edgekit.telemetry.collector.keys import IssuedKey
from tests.telemetry.collector.fleet import Fleet, a_reference
from tests.telemetry.collector.process import CollectorProcess

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object) -> dict[str, Any]:
    """The document that a command prints."""
    answer = CliRunner().invoke(telemetry, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.output)


def test_from_a_token_to_counts_in_a_file(tmp_path: Path) -> None:
    database = tmp_path / "telemetry.db"
    reference = a_reference()
    reference.save(tmp_path / "reference.json")
    token = run("keys", "token", "--db", database, "--cohort", "pilot")["token"]
    process = CollectorProcess(str(database), tmp_path / "telemetry.db.key")
    status, answer, _ = process.ask("POST", "/v1/enroll", json.dumps({"token": token, "device": "board"}).encode())
    assert status == 200
    key = IssuedKey("board", answer["key_id"], base64.b64decode(answer["key"]))
    fleet = Fleet(reference, seed=1)
    assert process.upload(fleet.upload(key, [fleet.window("board", n=50)])) == 200
    assert run("register", tmp_path, "--db", database)["merged"] == 1
    assert process.upload(fleet.upload(key, [fleet.window("board", n=50)])) == 200
    status, models, _ = process.ask("GET", "/api/models", admin=True)
    assert (status, models[0]["windows"], models[0]["cohorts"]) == (200, 2, ["pilot"])
    question = f"model=tiny&reference={reference.id}&since=0&until=9999999999"
    for path, found in (("totals", lambda answer: answer), ("series", lambda answer: answer[0])):
        status, answer, _ = process.ask("GET", f"/api/{path}?{question}&phase=hour-of-day:5&cohort=pilot", admin=True)
        assert status == 200
        status, answer, _ = process.ask("GET", f"/api/{path}?{question}", admin=True)
        assert sum(found(answer)["features"]["x0"]["cells"]) == 100
        assert process.ask("GET", f"/api/{path}?{question}&phase=x", admin=True)[0] == 400
        assert process.ask("GET", f"/api/{path}?model=tiny", admin=True)[0] == 400
    assert process.ask("GET", "/api/totals?model=tiny&reference=x&since=0&until=1", admin=True)[0] == 404
    assert process.ask("GET", "/api/models")[0] == 404, "devices do not see it"
    assert b"edgekit_windows_accepted_total 2" in process.ask("GET", "/metrics", admin=True)[1]
    assert process.ask("GET", "/api/devices?silent_for_s=1000", admin=True)[1] == []
    second = run("keys", "add", "board", "--db", database)
    assert len(run("keys", "list", "board", "--db", database)["keys"]) == 2
    assert run("keys", "revoke", answer_id := key.key_id, "--key-id", "--db", database)["revoked"] == [answer_id]
    assert process.upload(fleet.upload(key, [fleet.window("board")])) == 401
    new = IssuedKey("board", second["key_id"], base64.b64decode(second["key"]))
    assert process.upload(fleet.upload(new, [fleet.window("board")])) == 200
    assert run("export", "--parquet", tmp_path / "out", "--last", "7d", "--db", database)["parquet_rows"] == 5
    assert process.stop() == 0


def test_what_cannot_be_done_says_why(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with pytest.raises(AccessError, match="no key in use"):
        run("keys", "revoke", "nobody", "--db", database)
    with pytest.raises(TelemetryError, match="no reference"):
        run("register", tmp_path, "--db", database)
    (tmp_path / "reference.json").write_text("{}")
    with pytest.raises(TelemetryError):
        run("register", tmp_path, "--db", database)
    with pytest.raises(TelemetryError, match="key's file must be named"):
        run("serve", "--db", "postgresql://nobody@127.0.0.1:9/none")
    answer = CliRunner().invoke(telemetry, ["serve", "--db", str(database), "--webhook", "http://h/"])
    assert answer.exit_code == 2
    assert "--webhook-secret" in answer.output
    assert CliRunner().invoke(telemetry, ["export", "--db", str(database)]).exit_code == 2
    assert "ReplacingMergeTree" in run("export", "--clickhouse-sql")["sql"]["tables"]


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TelemetryError, match="Nothing can listen"):
            run("serve", "--db", tmp_path / "t.db", "--port", taken.getsockname()[1])

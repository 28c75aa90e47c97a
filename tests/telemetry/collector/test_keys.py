"""Who may send: enrolment, rotation, revocation, and what a thief of the database gets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.errors import AccessError, TelemetryError
from edgekit.telemetry.collector.keys import IssuedKey, MasterKeys
from edgekit.telemetry.reporter import envelope
from tests.telemetry.collector.fleet import Fleet, a_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.telemetry.collector.conftest import Collector

UNAUTHORISED = 401


async def enrol(collector: Collector, **asked: object) -> tuple[int, Any]:
    return await collector.client.ask("POST", "/v1/enroll", json.dumps(asked).encode())


async def send(collector: Collector, fleet: Fleet, key: IssuedKey) -> int:
    return (await collector.client.ask("POST", "/v1/windows", fleet.upload(key, [fleet.window(key.device)])))[0]


def test_a_device_enrols_itself_with_a_token_and_reports(collector: Collector, fleet: Fleet) -> None:
    token = collector.keys.new_token(uses=2, valid_s=60, cohort="pilot")

    async def go() -> None:
        status, answer = await enrol(collector, token=token, device="dé 1")
        assert status == 200
        key = IssuedKey(answer["device"], answer["key_id"], base64.b64decode(answer["key"]))
        assert await send(collector, fleet, key) == 200
        assert (await enrol(collector, token=token, device="dé 1"))[0] == 409
        status, named = await enrol(collector, token=token)
        assert status == 200
        assert named["device"].startswith("device-")
        assert (await enrol(collector, token=token, device="d3"))[0] == UNAUTHORISED, "two uses were two"
        await collector.app.close()

    asyncio.run(go())
    rows = {row.device: row for row in collector.store.devices()}
    assert rows["dé 1"].cohort == "pilot"
    assert rows["dé 1"].active_keys == 1
    assert rows["dé 1"].last_seen_s is not None
    assert rows["dé 1"].models == ("tiny",)


def test_tokens_run_out_and_nonsense_is_refused(collector: Collector) -> None:
    old = collector.keys.new_token(uses=5, valid_s=-1)
    good = collector.keys.new_token(uses=5, valid_s=60)

    async def go() -> None:
        assert (await enrol(collector, token=old, device="d"))[0] == UNAUTHORISED
        assert (await enrol(collector, token="x" * 40, device="d"))[0] == UNAUTHORISED
        assert (await enrol(collector, token=good, device="a\nb"))[0] == 400
        assert (await enrol(collector, token=good, device="x" * 65))[0] == 400
        assert (await enrol(collector, token=good, device="\ud800"))[0] in (400, UNAUTHORISED)
        assert (await enrol(collector, token=3))[0] == 400
        for body in (b"", b"[]", b"{", b"\xff", b"[" * 4000):
            assert (await collector.client.ask("POST", "/v1/enroll", body))[0] == 400
        assert (await collector.client.ask("POST", "/v1/enroll", b" " * 5000))[0] == 413

    asyncio.run(go())
    assert collector.keys.rows() == []


def test_keys_are_rotated_without_a_gap_and_a_revoked_one_is_worth_nothing(
    url: str, make_collector: Callable[[str], Collector], fleet: Fleet
) -> None:
    collector, other = make_collector(url), make_collector(url)
    old = collector.device("d1")

    async def go() -> None:
        assert await send(collector, fleet, old) == 200
        assert await send(other, fleet, old) == 200
        new = other.keys.add("d1")
        assert await send(collector, fleet, new) == 200
        assert await send(collector, fleet, old) == 200
        other.keys.revoke(key_id=old.key_id)
        for each in (collector, other):  # the first has the key in memory; the commit tells
            assert await send(each, fleet, old) == UNAUTHORISED
            assert await send(each, fleet, new) == 200
        other.keys.revoke(device="d1")
        assert await send(collector, fleet, new) == UNAUTHORISED
        await asyncio.gather(collector.app.close(), other.app.close())

    asyncio.run(go())
    assert [row.revoked_s is None for row in collector.keys.rows("d1")] == [False, False]
    with pytest.raises(AccessError):
        collector.keys.revoke(device="d1")
    with collector.store.database.read() as cursor:
        assert cursor.rows("SELECT COUNT(*) FROM windows") == [(6,)]


def test_a_stolen_key_signs_for_its_own_device_only(collector: Collector, fleet: Fleet) -> None:
    stolen, victim = collector.device("thief"), collector.device("victim")

    async def go() -> None:
        forged = IssuedKey("victim", stolen.key_id, stolen.key)
        assert await send(collector, fleet, forged) == UNAUTHORISED
        mixed = IssuedKey("victim", victim.key_id, stolen.key)
        assert await send(collector, fleet, mixed) == UNAUTHORISED
        body = fleet.upload(stolen, [fleet.window("victim")])
        assert (await collector.client.ask("POST", "/v1/windows", body))[0] == 400
        unknown = IssuedKey("thief", "00000000-000000000000", stolen.key)
        assert await send(collector, fleet, unknown) == UNAUTHORISED
        await collector.app.close()

    asyncio.run(go())
    with collector.store.database.read() as cursor:
        assert cursor.rows("SELECT COUNT(*) FROM windows") == [(0,)]


def test_the_database_holds_neither_keys_nor_tokens(
    sqlite_url: str, make_collector: Callable[[str], Collector], tmp_path: Path
) -> None:
    collector = make_collector(sqlite_url)
    token = collector.keys.new_token(uses=1, valid_s=60)
    key = collector.device()
    collector.store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("telemetry.db*"))
    for secret in (key.key, key.key.hex().encode(), base64.b64encode(key.key), token.encode()):
        assert secret not in content
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600


def test_the_master_key_is_rotated_by_a_line_before_the_old_one(
    sqlite_url: str, make_collector: Callable[[str], Collector], tmp_path: Path, fleet: Fleet
) -> None:
    file = tmp_path / "master.key"
    before = make_collector(sqlite_url)
    old = before.device("d1")
    file.write_text("ab" * 32 + "\n" + file.read_text())
    after = before.__class__(sqlite_url, MasterKeys.load(file))
    new = after.device("d2")
    assert new.key_id.partition("-")[0] != old.key_id.partition("-")[0]

    async def go() -> None:
        assert await send(after, fleet, old) == 200
        assert await send(after, fleet, new) == 200
        assert await send(before, fleet, new) == UNAUTHORISED, "it does not have that master key"
        await asyncio.gather(before.app.close(), after.app.close())

    asyncio.run(go())


def test_a_master_key_that_others_may_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "key"
    MasterKeys.load(file)
    file.chmod(0o640)
    with pytest.raises(AccessError, match="Others"):
        MasterKeys.load(file)
    file.chmod(0o600)
    for content in ("", "abc\n", "ab" * 16):
        file.write_text(content)
        with pytest.raises(AccessError):
            MasterKeys.load(file)
    with pytest.raises(AccessError):
        MasterKeys.load(tmp_path / "none", create=False)


def test_a_device_sends_the_reference_that_it_cut_itself(collector: Collector) -> None:
    own = a_reference("bare", bootstrapped=True)
    key = collector.device("d1")
    fleet = Fleet(own, seed=1)

    def sealed(document: bytes) -> bytes:
        return envelope.seal(document, device="d1", key_id=key.key_id, key=key.key, kind=envelope.REFERENCE)

    async def reference(body: bytes) -> tuple[int, Any]:
        return await collector.client.ask("POST", "/v1/references", body)

    async def go() -> None:
        assert await send(collector, fleet, key) == 200
        assert await reference(sealed(own.to_json())) == (200, {"merged": 1})
        assert await reference(sealed(own.to_json())) == (200, {"merged": 0})
        assert (await reference(sealed(a_reference("made").to_json())))[0] == 400, "only `register` brings those"
        assert (await reference(sealed(b"[" * 50_000)))[0] == 400
        assert (await reference(fleet.upload(key, [fleet.window("d1")])))[0] == 400
        assert (await collector.client.ask("POST", "/v1/windows", sealed(own.to_json())))[0] == 400
        await collector.app.close()

    asyncio.run(go())
    [model] = collector.store.models()
    assert (model.bootstrapped, model.known, model.pending) == (True, True, 0)


@pytest.mark.parametrize("odd", ["schema 2 without a joint", "schema true", "whole edges"])
def test_a_reference_written_in_another_way_is_refused_and_ends_nobodys_uploads(collector: Collector, odd: str) -> None:
    key = collector.device("d1")
    document = json.loads(a_reference("odd", bootstrapped=True).to_json())
    del document["id"]
    if odd == "whole edges":
        document["features"][0]["edges"] = [round(1000 * edge) for edge in document["features"][0]["edges"]]
    else:
        document["schema"] = 2 if odd == "schema 2 without a joint" else True
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    body = json.dumps(dict(document, id=hashlib.sha256(canonical).hexdigest())).encode()

    async def go() -> None:
        sealed = envelope.seal(body, device="d1", key_id=key.key_id, key=key.key, kind=envelope.REFERENCE)
        assert (await collector.client.ask("POST", "/v1/references", sealed))[0] == 400
        assert await send(collector, Fleet(a_reference("other"), seed=1), key) == 200
        await collector.app.close()

    asyncio.run(go())


def test_names_that_no_envelope_could_carry_are_refused(collector: Collector) -> None:
    for name in ("", "x" * 65, "a\x00b"):
        with pytest.raises(TelemetryError):
            collector.keys.add(name)

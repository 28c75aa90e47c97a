"""The tables, as numbered migrations for SQLite and PostgreSQL. docs/formats/telemetry-store.md explains every column.

A database says its number in `meta`. Opening one brings it up to `SCHEMA` in one transaction; a newer one is refused.
The SQL is the same for both kinds but for three words, which are filled in.
"""

from __future__ import annotations

SCHEMA = 2

WORDS = {
    "sqlite": {"bytes": "BLOB", "serial": "INTEGER PRIMARY KEY", "rowless": " WITHOUT ROWID"},
    "postgresql": {"bytes": "BYTEA", "serial": "BIGSERIAL PRIMARY KEY", "rowless": ""},
}

MIGRATIONS = {
    1: """
CREATE TABLE devices (
    device TEXT PRIMARY KEY, cohort TEXT NOT NULL, enrolled_s BIGINT, last_seen_s BIGINT,
    skewed INTEGER NOT NULL DEFAULT 0, clock_off_s BIGINT NOT NULL DEFAULT 0);
CREATE TABLE device_keys (key_id TEXT PRIMARY KEY, device TEXT NOT NULL, created_s BIGINT NOT NULL, revoked_s BIGINT);
CREATE INDEX device_keys_of ON device_keys (device);
CREATE TABLE tokens (
    digest TEXT PRIMARY KEY, cohort TEXT NOT NULL, note TEXT NOT NULL, created_s BIGINT NOT NULL,
    expires_s BIGINT NOT NULL, uses_left INTEGER NOT NULL);

CREATE TABLE reference_files (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, document {bytes} NOT NULL, registered_s BIGINT NOT NULL);
CREATE TABLE streams (
    stream {serial}, model TEXT NOT NULL, reference TEXT NOT NULL, bootstrapped INTEGER NOT NULL,
    windows BIGINT NOT NULL DEFAULT 0, UNIQUE (model, reference));

CREATE TABLE windows (
    device TEXT NOT NULL, boot {bytes} NOT NULL, seq BIGINT NOT NULL, received_s BIGINT NOT NULL,
    stream BIGINT NOT NULL, cohort TEXT NOT NULL, artifact TEXT NOT NULL, span BIGINT NOT NULL,
    start_ns BIGINT NOT NULL, end_ns BIGINT NOT NULL, state INTEGER NOT NULL, marks INTEGER NOT NULL,
    frame {bytes} NOT NULL, UNIQUE (device, boot, seq));
CREATE INDEX windows_received ON windows (received_s);
CREATE INDEX windows_pending ON windows (stream) WHERE state = 1;
CREATE TABLE delivered (
    device TEXT NOT NULL, boot {bytes} NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
    PRIMARY KEY (device, boot, first)){rowless};

CREATE TABLE rollups (
    stream BIGINT NOT NULL, cohort TEXT NOT NULL, span BIGINT NOT NULL, width INTEGER NOT NULL,
    counts {bytes} NOT NULL, moments {bytes} NOT NULL, UNIQUE (stream, span, cohort));
CREATE TABLE presence (
    stream BIGINT NOT NULL, day BIGINT NOT NULL, cohort TEXT NOT NULL, device TEXT NOT NULL, artifact TEXT NOT NULL,
    PRIMARY KEY (stream, day, cohort, device, artifact)){rowless};

CREATE TABLE alerts (
    id {serial}, model TEXT NOT NULL, reference TEXT NOT NULL, cohort TEXT NOT NULL, feature TEXT NOT NULL,
    rule TEXT NOT NULL, summary TEXT NOT NULL, details TEXT NOT NULL, state TEXT NOT NULL, opened_s BIGINT NOT NULL,
    last_found_s BIGINT NOT NULL, recovered_s BIGINT, times_found INTEGER NOT NULL, notified_s BIGINT);
CREATE UNIQUE INDEX alerts_open ON alerts (model, reference, cohort, feature, rule) WHERE state = 'open';
CREATE TABLE notices (
    id {serial}, alert BIGINT NOT NULL, kind TEXT NOT NULL, url TEXT NOT NULL, body TEXT NOT NULL,
    created_s BIGINT NOT NULL, due_s BIGINT NOT NULL, attempts INTEGER NOT NULL);
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_s BIGINT NOT NULL)
""",
    2: """
CREATE TABLE flagged (
    id {serial}, model TEXT NOT NULL, reference TEXT NOT NULL, cohort TEXT NOT NULL, artifacts TEXT NOT NULL,
    start_s BIGINT NOT NULL, end_s BIGINT NOT NULL, features TEXT NOT NULL, opened_s BIGINT NOT NULL,
    last_found_s BIGINT NOT NULL, times_found INTEGER NOT NULL, ended_s BIGINT, done_s BIGINT, note TEXT NOT NULL);
CREATE UNIQUE INDEX flagged_lasting ON flagged (model, reference, cohort) WHERE ended_s IS NULL;
CREATE TABLE flagged_results (
    flagged BIGINT NOT NULL, metric TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, expected DOUBLE PRECISION,
    samples BIGINT, source TEXT NOT NULL, given_s BIGINT NOT NULL, PRIMARY KEY (flagged, metric))
""",
}


def statements(kind: str, have: int) -> list[str]:
    """What brings a database of that kind from schema `have` (0: empty) to `SCHEMA`."""
    scripts = [MIGRATIONS[number].format(**WORDS[kind]) for number in range(have + 1, SCHEMA + 1)]
    return [statement.strip() for script in scripts for statement in script.split(";")]

"""The collector: a service that takes windows in, keeps them, adds them up, and tells when a check finds something.

An upload goes down this list, and its answer comes back once its transaction is durable:

    server        the whole under uvicorn, two ports, with bounds on every connection (`protocol`)
    app           the ASGI application for devices; `admin` is the one for people, `http` what both need
    group_commit  a thread that commits all uploads that wait in one transaction
    uploads       how frames are read before that; `scan` is the fast way, `layout` makes vectors of them
    ingest        what one transaction does: each window once, and into its sum; `placing` says where in time
    database      SQLite or PostgreSQL under one interface; `schema` has the tables

Beside it:

    reading       `Store` of `edgekit.telemetry.store`, over the sums that `ingest` keeps
    registry      references, and the windows that waited for theirs
    keys          enrolment, the devices' keys, revocation
    alerts        findings over time: opened, cooled down, recovered; `webhooks` delivers the notices
    upkeep        what runs in the background: checks, notices, `retention`
    export        Parquet, OTLP, ClickHouse
"""

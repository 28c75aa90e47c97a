"""The collector: a service that takes windows in, keeps them, adds them up, and tells when a check finds something.

app         the ASGI application: takes uploads, answers with what was committed
envelope checks, then `commit`: a thread that commits all uploads that wait in one transaction (group commit)
placing     where in time a window belongs, whatever the device's clock says
layout      a window as one vector of integers, so that adding windows up is adding vectors
ingest      what one transaction does with a batch of uploads
tallies     reading: `Store` of `edgekit.telemetry.store`, over the sums that `ingest` keeps
keys        enrolment, the devices' keys, revocation
database    SQLite or PostgreSQL under one interface; `schema` has the tables
alerts      findings over time: opened, cooled down, recovered; `webhooks` delivers the notices
upkeep      what runs beside: checks, notices, retention
export      Parquet, OTLP, ClickHouse
server      the whole under uvicorn, with limits on everything, and a shutdown that loses nothing
"""

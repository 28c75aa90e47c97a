"""Telemetry: what a model sees and answers on its devices, counted there, and compared with what it was made from.

    reporter/    inside the user's program on the device: counts, a journal, upload. Standard library only
    collector/   the service that takes windows in
    drift/       rules, distances, thresholds, verdicts

The three meet at two values and one wire, all in `reporter`: a `Reference` (docs/formats/reference.md), a `Window`
of counts over its cells, and the frames that windows travel in (docs/formats/telemetry-wire.md).
"""

"""The checker: what devices saw against what the model was made for, and what changed.

    layout      a reference's features as flat arrays, so that all of them are judged in one pass
    distances   KS, D1, PSI, JS, Wasserstein, KL from counts
    rules       what no distance is needed for: missing, infinite, impossible, stuck, sentinel, unseen
    judge       rules and distances of one window, feature by feature
    joint       whether features moved together, though none of them moved alone
    shapes      sudden, gradual, periodic, temporary: the kind of drift, from distances over time
    baseline    a reference made of earlier windows: the same hours of other days, or latencies of before
    check       a span of a store's counts, its cohorts and its history, to one verdict
    schedule    every model of a store, as the collector runs it
    check_data  the same for a table: a CSV or NPZ against a reference
    verdict     the values that come out, and how they read in Markdown

docs/telemetry-drift.md tells how to read a verdict, and docs/formats/drift-verdict.md has every field.
"""

from edgekit.telemetry.drift.check import check
from edgekit.telemetry.drift.check_data import check_data
from edgekit.telemetry.drift.verdict import DriftVerdict

__all__ = ["DriftVerdict", "check", "check_data"]

"""OpenTelemetry: gauges of what devices reported last, as OTLP over HTTP in its JSON encoding.

JSON is one of the two encodings that every OTLP receiver takes, and needs no package; at some kB a minute its size is
no matter. Per model, reference and cohort: windows, inferences, errors, and per feature n, the shares that were missing
and out of range, mean, min and max. Names begin with `edgekit.`.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from edgekit.errors import TelemetryError, first_line
from edgekit.telemetry.collector.export.rows import count_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.telemetry.collector.reading import SqlStore

TIMEOUT_S = 30
PER_REQUEST = 2000
"""Data points in one request."""


def points(store: SqlStore, since: int, until: int, *, model: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """(name of the metric, data point as OTLP's JSON has it) of every span in [since, until).

    Raises:
        StoreUnavailableError: the database cannot be used.
    """
    found = []
    whole = None
    for row in count_rows(store, since, until, model=model):
        common = {"model": row.model, "reference": row.reference, "cohort": row.cohort}
        span = (row.start_s, row.end_s)
        if whole != (common, span):
            whole = (common, span)
            totals = {"windows": row.windows, "inferences": row.inferences, "errors": row.errors}
            found += [(f"edgekit.{name}", _point(value, common, span)) for name, value in totals.items()]
        asked = row.n + row.missing
        values = {
            "n": row.n,
            "missing_ratio": row.missing / asked if asked else None,
            "out_of_range_ratio": row.out_of_range / row.n if row.n else None,
            "mean": row.mean,
            "min": row.min,
            "max": row.max,
        }
        attributes = {**common, "feature": row.feature}
        found += [
            (f"edgekit.feature.{name}", _point(value, attributes, span))
            for name, value in values.items()
            if value is not None
        ]
    return found


def _point(value: float, attributes: Mapping[str, str], span: tuple[int, int]) -> dict[str, Any]:
    start_s, end_s = span
    number = {"asInt": str(value)} if isinstance(value, int) else {"asDouble": value}
    return {
        "attributes": [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()],
        "startTimeUnixNano": str(start_s * 1_000_000_000),
        "timeUnixNano": str(end_s * 1_000_000_000),
        **number,
    }


def document(some: list[tuple[str, dict[str, Any]]]) -> bytes:
    """An `ExportMetricsServiceRequest` in JSON."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for name, point in some:
        by_name.setdefault(name, []).append(point)
    metrics = [{"name": name, "unit": "1", "gauge": {"dataPoints": each}} for name, each in by_name.items()]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "edgekit-collector"}}]}
    scope = {"scope": {"name": "edgekit.telemetry"}, "metrics": metrics}
    return json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}).encode()


def export_otlp(store: SqlStore, url: str, since: int, until: int, *, model: str | None = None) -> int:
    """Sends the gauges to a receiver's `/v1/metrics`; tells how many data points.

    Raises:
        TelemetryError: the receiver cannot be reached, or refuses them.
        StoreUnavailableError: the database cannot be used.
    """
    if not url.startswith(("http://", "https://")):
        raise TelemetryError(f"{url!r} is no OTLP receiver.", remedy="Give http://HOST:4318/v1/metrics.")
    found = points(store, since, until, model=model)
    for at in range(0, len(found), PER_REQUEST):
        body = document(found[at : at + PER_REQUEST])
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - likewise
                pass
        except (urllib.error.URLError, OSError) as error:
            raise TelemetryError(
                f"The OTLP receiver {url} did not take {len(found)} data points: {first_line(error)}.",
                remedy="Check its address (…/v1/metrics) and its log; sending the same again does no harm.",
            ) from error
    return len(found)

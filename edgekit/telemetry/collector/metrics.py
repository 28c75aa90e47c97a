"""What the collector tells about itself, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Durations in cumulative buckets."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one."""
        self.sum_s += seconds
        for index, bound in enumerate(BUCKETS_S):
            if seconds <= bound:
                self.counts[index] += 1
                return
        self.counts[-1] += 1

    def lines(self, name: str, about: str) -> list[str]:
        """As text."""
        out = [f"# HELP {name} {about}", f"# TYPE {name} histogram"]
        total = 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            total += count
            out.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*out, f"{name}_sum {self.sum_s:.6f}", f"{name}_count {total}"]


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self.started_s = time.time()
        self.requests: Counter[int] = Counter()
        self.accepted = 0
        self.duplicates = 0
        self.bytes = 0
        self.answer_s = Histogram()

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> bytes:
        """Everything, with (name, help, value) of what is measured when it is asked for."""
        lines = ["# HELP edgekit_requests_total Requests by status.", "# TYPE edgekit_requests_total counter"]
        lines += [f'edgekit_requests_total{{status="{status}"}} {n}' for status, n in sorted(self.requests.items())]
        counters = [
            ("edgekit_windows_accepted_total", "Windows stored.", self.accepted),
            ("edgekit_windows_duplicate_total", "Windows that were there before.", self.duplicates),
            ("edgekit_upload_bytes_total", "Bytes of bodies taken in, as they travel.", self.bytes),
        ]
        for name, about, value in counters:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} counter", f"{name} {value}"]
        for name, about, gauge in [("edgekit_start_time_seconds", "When this began.", self.started_s), *gauges]:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", f"{name} {gauge:g}"]
        lines += self.answer_s.lines("edgekit_upload_seconds", "From a whole upload to its durable answer.")
        return "\n".join(lines).encode() + b"\n"

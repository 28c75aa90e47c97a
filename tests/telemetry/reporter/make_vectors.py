"""Writes the test vectors anew: `python -m tests.telemetry.reporter.make_vectors`. Only for a new wire version."""

from __future__ import annotations

import json
import math
from pathlib import Path

from edgekit.telemetry.reporter import envelope, wire
from edgekit.telemetry.reporter.joint import Joint, Sums
from edgekit.telemetry.reporter.reference import LATENCY
from edgekit.telemetry.reporter.window import FeatureCounts, Window

FOLDER = Path(__file__).parent / "vectors"
NAMED = Window("dev-1", "00112233445566778899aabbccddeeff", 7, "digits_cnn", "a1" * 32, "b2" * 32, 0, 0, 0)
NONE = FeatureCounts.empty(LATENCY.size)
TIMES = {"start_ns": 1_789_996_400_000_000_000, "end_ns": 1_790_000_000_000_000_001, "span_ns": 3_600_000_000_042}

VECTORS = {
    "empty": NAMED._replace(artifact="", features=(FeatureCounts.empty(5),)),
    "small": NAMED._replace(
        **TIMES,
        synced=True,
        labels=(("app", "1.4.2"), ("cohort", "größer")),
        inferences=300,
        errors=2,
        latency=NONE._replace(
            cells=(*NONE.cells[:40], 300, *NONE.cells[41:]), min=1e6, max=1.05e6, mean=1.02e6, m2=1e9
        ),
        features=(
            FeatureCounts((0, 100, 150, 49, 1), 0, 1, 0, 3, -1.5, 2.25, 0.125, 150.0),
            FeatureCounts.empty(4)._replace(missing=300),
        ),
    ),
    "wide": NAMED._replace(
        **TIMES,
        synced=False,
        bootstrapped=True,
        inferences=70_000,
        dropped=129,
        coalesced=719,
        features=(
            FeatureCounts((300, 65_535), 128, 0, 0, 0, 0.0, 0.0, 0.0, 0.0),
            FeatureCounts((65_536, 1 << 32), 16_384, 65_536, 1 << 32, 1 << 32),
            FeatureCounts((1 << 31, 1), 0, 0, 0, 0, -1e308, 1e308, 1.0, math.inf),
        ),
    ),
    "categories": NAMED._replace(**TIMES, inferences=1000, features=(FeatureCounts((500, 255, 245, 0)),)),
}


def _counts(counts: FeatureCounts) -> dict[str, object]:
    fields: dict[str, object] = dict(counts._asdict(), m2="inf" if math.isinf(counts.m2) else counts.m2)
    return fields if counts.has_moments else dict(fields, min=None, max=None, mean=None, m2=None)


JOINT = Joint(
    ("a", "b", "c"),
    ((-127, -40, 0, 40, 127), (-64, 64), (-127, 5, 127)),
    ((75, -310, 12), (-1, 32_767, -32_767), (0, 0, 0), (512, 512, -512)),
    0.5,
)
EDGES = ((-1.0, -0.25, 0.5, 2.0), (0.0,), (10.0, 20.0))
ROWS = (
    (0.0, 1.0, 15.0),
    (-5.0, -1.0, 25.0),
    (2.0, 0.0, 9.5),
    (None, 1.0, 12.0),
    (0.75, None, 20.0),
    (1e300, -1e300, 10.0),
)


def main() -> None:
    """Writes NAME.json, NAME.frame and NAME.envelope for each; joint/sums.json: what rows add to a joint's vector."""
    (FOLDER / "joint").mkdir(parents=True, exist_ok=True)
    rows = [[math.nan if value is None else value for value in row] for row in ROWS]
    each = [Sums(JOINT, EDGES)([row]) for row in rows]
    joint = {"joint": JOINT._asdict(), "edges": EDGES, "rows": ROWS, "each": each, "sums": Sums(JOINT, EDGES)(rows)}
    (FOLDER / "joint" / "sums.json").write_text(json.dumps(joint) + "\n")
    for name, window in VECTORS.items():
        fields = dict(
            window._asdict(), latency=_counts(window.latency), features=[_counts(counts) for counts in window.features]
        )
        frame = wire.encode(window)
        sealed = envelope.seal(
            frame,
            device="dev-1",
            key_id="k1",
            key=bytes(range(32)),
            sent_ns=1_790_000_000_000_000_000,
            nonce=bytes(range(16)),
        )
        (FOLDER / (name + ".json")).write_text(json.dumps({"window": fields}, ensure_ascii=False) + "\n")
        (FOLDER / (name + ".frame")).write_bytes(frame)
        (FOLDER / (name + ".envelope")).write_bytes(sealed)


if __name__ == "__main__":
    main()

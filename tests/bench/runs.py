"""Runs made by hand, for what reads them."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from edgekit.artifact import OutputParity
from edgekit.bench.run import Block, Context, Facts, Run, new_run_id
from edgekit.bench.samples import pack
from edgekit.bench.statistics import summarise
from edgekit.recipe import Recipe

FACTS = {"cpu_model": "A53", "machine": "aarch64", "cores": 4, "affinity": [0, 1, 2, 3], "os": "Debian 13",
         "kernel": "Linux 6.12", "governor": ["performance"]}  # fmt: skip
CONTEXT = Context("board", "ssh", "litert", "ai_edge_litert", "2.1.0", 1, "cd" * 32)


def make_block(*samples_ns: int, steady: bool = True, **facts: Any) -> Block:
    """A block with these samples; `facts` differ from `FACTS`."""
    answer = OutputParity(
        "y", 8, finite=True, exact=False, snr_db=71.5, max_abs_error=0.1, cosine=1.0, top1_agreement=None
    )
    values = Facts({**FACTS, **facts}, {})
    return Block(
        init_ns=1, first_ns=2, input_ns=3, output_ns=4, golden=(answer,), warmup=pack((9, 8)), steady=steady,
        samples=pack(samples_ns), stop="precise", median_half_width=0.01, peak_rss_bytes=100, before_load_bytes=60,
        before=values, after=values,
    )  # fmt: skip


def make_run(*medians_ns: int, precision: str = "int8", started_at: str = "2026-11-24T16:00:00Z", steady: bool = True,
             facts: dict[str, Any] | None = None, **context: Any) -> Run:  # fmt: skip
    """A run with a block of three samples for each median; `context` differs from `CONTEXT`."""
    blocks = tuple(make_block(m - 1, m, m + 5, steady=steady, **(facts or {})) for m in medians_ns)
    return Run(
        id=new_run_id(),
        started_at=started_at,
        artifact="ab" * 32,
        model="digits_cnn",
        recipe=Recipe("tflite", precision),
        payload_bytes=46_200,
        context=msgspec.structs.replace(CONTEXT, **context),
        blocks=blocks,
        summary=summarise([sample for block in blocks for sample in block.samples.unpack().tolist()]),
    )


def noisy_run(seed: int, n: int = 10, *, ns: float = 1e6, spread: float = 0.005, **more: Any) -> Run:
    """A run of n blocks around a latency."""
    draw = random.Random(seed)
    return make_run(*(round(ns * draw.gauss(1, spread)) for _ in range(n)), **more)

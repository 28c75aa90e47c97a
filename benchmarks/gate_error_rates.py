"""How often `edgekit gate` errs: false alarms on equal artifacts, and what it sees of slow-downs that are really there.

    edgekit convert models/crepe_tiny --to tflite:float32
    python benchmarks/gate_error_rates.py check artifacts/crepe_tiny/tflite-float32
    python benchmarks/gate_error_rates.py collect artifacts/crepe_tiny/tflite-float32 --on ssh --out gates.jsonl
    python benchmarks/gate_error_rates.py table gates.jsonl

`collect` runs whole gates: `edgekit.bench.gate`, with its plan, its order, its extension and its retries, on this
machine (`local`), on an sshd of its own on loopback (`ssh`), or on the tests' emulated board (`board`). A gate of A/A
has the same artifact on both sides. In the others the candidate is slower, because it does more work inside the timed
invoke (`slowed_runtime.py`); its baseline has the same wrapper, and no work. Nothing that was recorded is multiplied.
Cases take turns, so that what the machine does in the meantime meets all of them. Each gate is appended to `--out` as a
line of JSON with all samples, so a collection that was stopped goes on where it was, and rules can be replayed on it.

`check` measures the slow-down itself, with a bare loop: in fresh processes, plain and slowed invokes of one interpreter
in turn; the ratio of the two medians, process by process.

`table` prints rates with Clopper and Pearson's 95 % intervals; what other tools' rules say of the same samples
(`other_rules.py`); how long a gate took; and what a block costs beside its samples and warm-up.

With `--max-load` a gate begins only below that load: a machine that is overbooked never settles, every gate is then
inconclusive after minutes, and says nothing of the statistics. The load at the start of each gate is kept and told.

Blocks are shortened to `--min-s` (0.25 s of samples instead of 1 s), so that hundreds of gates fit into a night;
shorter blocks are noisier, if anything. Goals: at most 5 % false alarms; 95 % power or more at a slow-down of 5 %.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import slowed_runtime_host as slowing
from other_rules import RULES
from report import machine, spread

from edgekit.artifact import Artifact, open_artifact
from edgekit.bench.aa_test import rate
from edgekit.bench.gate import Plan, gate
from edgekit.bench.samples import Samples
from edgekit.cli.aa_tests import share
from edgekit.devices import Target, connect, load_target
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.errors import EdgeKitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.run import Run
    from edgekit.devices.runners import Runner

SLOW_DOWNS = (0.01, 0.02, 0.03, 0.05, 0.10)
MOST_FAILURES = 20


class Block(msgspec.Struct, frozen=True):
    """A block: its samples, the nanoseconds that its warm-up took, and how many samples each turn has."""

    samples: Samples
    warmup_ns: int
    turns: tuple[int, ...] = ()
    steady: bool = True


class Record(msgspec.Struct, frozen=True):
    """A gate. slow_down: what was injected into the candidate; 0 is A/A. seconds: wall time, pushing left out."""

    at: str
    target: str
    model: str
    slow_down: float
    load: float
    seconds: float
    pairs: int
    added_pairs: int
    outcome: str
    ratio: float | None
    low: float | None
    high: float | None
    confidence: float | None
    seed: int
    min_s: float
    baseline: tuple[Block, ...]
    candidate: tuple[Block, ...]


def main() -> None:
    parser = argparse.ArgumentParser()
    does = parser.add_subparsers(dest="do", required=True)
    check = does.add_parser("check")
    check.add_argument("artifact", type=Path)
    check.add_argument("--processes", type=int, default=10)
    check.add_argument("--max-load", type=float)
    collect = does.add_parser("collect")
    collect.add_argument("artifact", type=Path)
    collect.add_argument("--on", choices=["local", "ssh", "board"], default="ssh")
    collect.add_argument("--out", type=Path, required=True)
    collect.add_argument("--aa", type=int, default=200, help="gates of A/A")
    collect.add_argument("--power", type=int, default=100, help="gates of each slow-down")
    collect.add_argument("--slow-downs", type=float, nargs="+", default=SLOW_DOWNS, metavar="SHARE",
                         help="those to inject, such as 0.05; those of an earlier call stay in the file")  # fmt: skip
    collect.add_argument("--pairs", type=int, default=10)
    collect.add_argument("--max-pairs", type=int, default=30)
    collect.add_argument("--min-s", type=float, default=0.25)
    collect.add_argument("--turn-s", type=float, default=0.02, help="0: whole blocks, one after the other")
    collect.add_argument("--hours", type=float, default=8)
    collect.add_argument("--max-load", type=float, help="begin no gate above this load of the last minute")
    table = does.add_parser("table")
    table.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    if options.do == "check":
        _check(options.artifact, options.processes, options.max_load)
    elif options.do == "collect":
        _collect(options)
    else:
        _print([record for path in options.files for record in read(path)])


def _check(path: Path, processes: int, max_load: float | None) -> None:
    artifact = open_artifact(path)
    found: dict[float, list[float]] = {slow_down: [] for slow_down in (0.0, *SLOW_DOWNS)}
    for _ in range(processes):
        for slow_down, percents in found.items():
            _wait_for_load(max_load, math.inf)
            percents.append(100 * (slowing.bare_ratio(artifact, slow_down) - 1))
    print(machine("ai-edge-litert"))
    for slow_down, percents in found.items():
        print(f"{artifact.title}: {slow_down:6.1%} wanted, {spread(percents, 2)} % in a bare loop")


def _wait_for_load(most: float | None, end: float) -> None:
    """Waits until the load of the last minute is small enough, or until `end`."""
    while most is not None and os.getloadavg()[0] > most and time.monotonic() < end:
        time.sleep(2)


def _collect(options: argparse.Namespace) -> None:
    wanted = {0.0: options.aa, **dict.fromkeys(options.slow_downs, options.power)}
    cases = {case: count for case, count in wanted.items() if count}
    done = Counter(record.slow_down for record in (read(options.out) if options.out.exists() else []))
    end, failures = time.monotonic() + options.hours * 3600, 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        target = _target(options, folder, stack)
        plain = open_artifact(options.artifact)
        sides = {s: slowing.slowed(plain, s, folder / f"{s:g}") for s in (0.0, *options.slow_downs)}
        runner = slowing.runner()
        while failures < MOST_FAILURES:
            _wait_for_load(options.max_load, end)
            if time.monotonic() >= end:
                break
            slow_down = min(cases, key=lambda case: done[case] / cases[case])
            if done[slow_down] >= cases[slow_down]:
                break
            a, b = (plain, plain) if slow_down == 0 else (sides[0.0], sides[slow_down])
            plan = Plan(pairs=options.pairs, max_pairs=options.max_pairs)
            try:
                record = _gate(target, a, b, slow_down, plan, runner if slow_down else None)
            except EdgeKitError as error:
                failures += 1
                print(f"{datetime.now(timezone.utc):%H:%M:%S} not measured: {error}", flush=True)
                continue
            _append(options.out, record)
            done[slow_down] += 1
            print(f"{record.at} {slow_down:5.1%} {record.outcome:12} {record.pairs + record.added_pairs} pairs, "
                  f"{record.seconds:.0f} s, load {record.load:.1f}, {done.total()}/{sum(cases.values())}",
                  flush=True)  # fmt: skip


def _target(options: argparse.Namespace, folder: Path, stack: ExitStack) -> Target:
    root = str(folder / "device")
    if options.on == "local":
        target = Target(name="local", transport="local", root=root, python=sys.executable)
    elif options.on == "ssh":
        sshd = stack.enter_context(ThrowawaySshd())
        target = load_target(str(sshd.write_target(folder / "ssh.toml", "ssh", root)))
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "devices"))
        from board import Board
        from link import Link

        board = stack.enter_context(Board(stack.enter_context(Link()), folder / "board"))
        target = load_target(str(board.write_target(folder / "board.toml", "board")))
    changes = {"min_s": options.min_s, "turn_s": options.turn_s, "max_warmup_s": 10.0, "min_samples": 50}
    bench = msgspec.structs.replace(target.bench, **changes)
    return msgspec.structs.replace(target, bench=bench)


def _gate(target: Target, a: Artifact, b: Artifact, slow_down: float, plan: Plan, runner: Runner | None) -> Record:
    at, load = datetime.now(timezone.utc), os.getloadavg()[0]
    began = 0.0

    def on_block(*_: object) -> None:
        nonlocal began
        began = began or time.monotonic()

    with connect(target) as device, device.lock("error rates"):
        if runner is not None:
            device.runners["slowed"] = runner
        found = gate(device, a, b, plan=plan, threads=1, on_block=on_block)
    seconds, verdict = time.monotonic() - began, found.comparison.verdict
    interval = verdict.interval
    return Record(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", target.name, a.manifest.model, slow_down, load, seconds, plan.pairs,
        found.added_pairs, verdict.outcome, interval and interval.ratio, interval and interval.low,
        interval and interval.high, interval and interval.confidence, plan.seed, target.bench.min_s,
        _blocks(found.baseline), _blocks(found.candidate),
    )  # fmt: skip


def _blocks(run: Run) -> tuple[Block, ...]:
    return tuple(
        Block(block.samples, int(block.warmup.unpack().sum()), block.turns, block.steady) for block in run.blocks
    )


def _append(path: Path, record: Record) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.encode(record) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Record]:
    """The gates of a file; a last line that was cut off is left out."""
    lines = path.read_bytes().split(b"\n")
    if lines[-1]:
        shutil.copyfile(path, path.with_suffix(".cut"))
        path.write_bytes(b"".join(line + b"\n" for line in lines[:-1]))
    return [msgspec.json.decode(line, type=Record) for line in lines[:-1] if line]


def _print(records: Sequence[Record]) -> None:
    for target, model in sorted({(record.target, record.model) for record in records}):
        _print_one([record for record in records if (record.target, record.model) == (target, model)])


def _print_one(records: Sequence[Record]) -> None:
    first, loads = records[0], [record.load for record in records]
    medians = [block.samples.median_ns or 0 for record in records for block in record.baseline]
    print(f"\n{first.model} on {first.target}, {statistics.median(medians) / 1e6:.3g} ms, {len(records)} gates from "
          f"{first.at} to {records[-1].at}, load {spread(loads, 1)}, blocks of {first.min_s:g} s\n")  # fmt: skip
    print("| slow-down | gates | regressed | improved | equivalent | inconclusive | extended | measured |")
    print("|---|---|---|---|---|---|---|---|")
    cases = sorted({record.slow_down for record in records})
    for case in cases:
        some = [record for record in records if record.slow_down == case]
        said = [share(rate([r.outcome == outcome for r in some]))
                for outcome in ("regressed", "improved", "equivalent", "inconclusive")]  # fmt: skip
        ratios = [100 * (r.ratio - 1) for r in some if r.ratio is not None]
        extended = sum(r.added_pairs > 0 for r in some)
        print(f"| {case:.0%} | {len(some)} | {' | '.join(said)} | {extended} | {spread(ratios, 1)} % |")
    print(f"\n| says regressed, of the same samples | {' | '.join(f'{case:.0%}' for case in cases)} |")
    print("|---" * (1 + len(cases)) + "|")
    print(f"| `edgekit gate` | {' | '.join(_told(records, case, None) for case in cases)} |")
    for name in RULES:
        print(f"| {name} | {' | '.join(_told(records, case, name) for case in cases)} |")
    seconds = [r.seconds for r in records]
    blocks = [(r, len(r.baseline) + len(r.candidate)) for r in records]
    beside = [(r.seconds - _inside_s(r)) / count for r, count in blocks]
    print(f"\nseconds a gate: {spread(seconds, 0)}; not extended: "
          f"{spread([r.seconds for r in records if not r.added_pairs] or [0], 0)}")  # fmt: skip
    print(f"seconds a block beside its samples and its warm-up: {spread(beside, 2)}")


def _told(records: Sequence[Record], case: float, rule: str | None) -> str:
    some = [record for record in records if record.slow_down == case]
    if rule is None:
        return share(rate([record.outcome == "regressed" for record in some]))
    said = [RULES[rule](*([b.samples.unpack() for b in side] for side in (r.baseline, r.candidate))) for r in some]
    return share(rate([word == "regressed" for word in said]))


def _inside_s(record: Record) -> float:
    blocks = [*record.baseline, *record.candidate]
    return sum(block.warmup_ns + int(block.samples.unpack().sum()) for block in blocks) / 1e9


if __name__ == "__main__":
    main()

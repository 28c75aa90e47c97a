"""Carries out one request: `python3 runner.pyz '{"do": "bench", ...}'`. See docs/formats/runner-protocol.md.

A second argument is for a process of two that take turns, and is given by `pair` alone.

Exit status: 0 done; 1 an `error` event says what went wrong; 3 the golden check failed.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from . import READS, SCHEMA, compare, cores, energy, facts, measure, memory, pair, profile, runtimes, sustain, turns
from .answer import answer_samples
from .protocol import Events
from .session import get_sample, run_samples, set_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType


class Failure(Exception):
    """Ends the run with an `error` event of this kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _runtime(name: str) -> tuple[ModuleType, dict[str, Any]]:
    try:
        module = runtimes.find(name)
    except ModuleNotFoundError as error:
        raise Failure("unknown-runtime", str(error)) from error
    try:
        return module, module.probe()
    except ImportError as error:
        raise Failure("runtime-missing", "%s (Python %s)" % (error, sys.executable)) from error


def _load_golden(folder: str, names: Sequence[str]) -> list[Any]:
    import numpy as np

    return [np.load(os.path.join(folder, name), allow_pickle=False) for name in names]


def _check_golden(session: Any, request: dict[str, Any], events: Events) -> bool:
    """Every golden input through the session, against the golden outputs. Returns whether all are good enough."""
    golden = request["golden"]
    inputs = _load_golden(request["artifact"], golden["inputs"])
    expected = _load_golden(request["artifact"], golden["outputs"])
    outputs = run_samples(session, inputs, tick=events.heartbeat)
    results = [compare.compare(a, b) for a, b in zip(expected, outputs)]
    others = [_at_size(session, request["artifact"], size, events) for size in golden.get("sizes", ())]
    every = results + [result for size in others for result in size["outputs"]]
    passed = all(compare.at_least(result, golden["min_snr_db"]) for result in every)
    told = {"sizes": others} if others else {}
    events.emit("golden", outputs=results, min_snr_db=golden["min_snr_db"], passed=passed, **told)
    return passed


def _at_size(session: Any, folder: str, size: dict[str, Any], events: Events) -> dict[str, Any]:
    """The golden inputs of another size through the same session, against their outputs."""
    outputs = run_samples(session, _load_golden(folder, size["inputs"]), tick=events.heartbeat)
    expected = _load_golden(folder, size["outputs"])
    return {"sizes": size["sizes"], "outputs": [compare.compare(a, b) for a, b in zip(expected, outputs)]}


def _first_sample(request: dict[str, Any]) -> list[Any]:
    return [array[0] for array in _load_golden(request["artifact"], request["golden"]["inputs"])]


def _payload(request: dict[str, Any]) -> str:
    return str(os.path.join(request["artifact"], request["payload"]))


def _load(runtime: ModuleType, request: dict[str, Any], threads: int) -> Any:
    """The payload in the runtime, by the delegate that the request asks for, if it asks for one."""
    if request.get("delegate") is None:
        return runtime.load(_payload(request), threads, request["bindings"])
    if not hasattr(runtime, "load_with"):
        raise Failure("failed", "the runtime %s takes no choice of delegate" % runtime.NAME)
    return runtime.load_with(request["delegate"], _payload(request), threads, request["bindings"])


def _delegation(session: Any) -> dict[str, Any]:
    """The fields of a `delegation` event: which operators a delegate took, or why that is not known."""
    if hasattr(session, "delegation"):
        return dict(session.delegation())
    return {"backends": [], "operators": None, "left": None, "because": "this runtime has no delegates"}


def _bench(request: dict[str, Any], events: Events, turn: turns.Turn | None = None) -> int:
    if "cores" in request:
        cores.use(request["cores"])
    if turn is not None:
        turn.take()
    events.emit("facts", when="before", **facts.gather())
    runtime, version = _runtime(request["runtime"])
    events.emit("runtime", name=runtime.NAME, threads=request["threads"], **version)
    sample = _first_sample(request)
    meter = energy.Meter()
    if turn is None:
        meter.idle()
    resettable = memory.reset_peak()
    before = memory.peak_rss_bytes()

    clock = time.perf_counter_ns
    start = clock()
    session = _load(runtime, request, request["threads"])
    init_ns = clock() - start
    start = clock()
    set_sample(session, sample)
    input_ns = clock() - start
    start = clock()
    session.invoke()
    first_ns = clock() - start
    start = clock()
    get_sample(session)
    output_ns = clock() - start
    events.emit("first", init_ns=init_ns, first_ns=first_ns, input_ns=input_ns, output_ns=output_ns)
    events.emit("delegation", asked=request.get("delegate"), **_delegation(session))

    if not _check_golden(session, request, events):
        return 3
    set_sample(session, sample)
    warm, steady = measure.warm_up(session.invoke, request["max_warmup_ns"], events.heartbeat)
    events.emit("warmup", samples_ns=warm, steady=steady)
    if turn is None:
        _sample_alone(session.invoke, request, events, meter)
    else:
        _sample_in_turns(session.invoke, request, events, turn)
    events.emit("memory", peak_rss_bytes=memory.peak_rss_bytes(), before_load_bytes=before, peak_was_reset=resettable)
    events.emit("facts", when="after", **facts.gather())
    return 0


def _bounds(request: dict[str, Any]) -> tuple[int, int, int]:
    return request["min_samples"], request["min_ns"], request["max_ns"]


def _sample_alone(invoke: Callable[[], object], request: dict[str, Any], events: Events, meter: energy.Meter) -> None:
    def between() -> None:
        events.heartbeat()
        meter.tick()

    meter.start()
    samples, stop, width = measure.sample(invoke, *_bounds(request), between)
    spent = meter.stop(len(samples))
    events.emit("samples", samples_ns=samples, stop=stop, median_half_width=width)
    events.emit("energy", **spent)


def _sample_in_turns(invoke: Callable[[], object], request: dict[str, Any], events: Events, turn: turns.Turn) -> None:
    turn.give(turns.MORE)
    samples, counts = turns.sample(turn, invoke, request["turn_ns"], _bounds(request), events.heartbeat)
    width = measure.median_half_width(samples)
    told = width if math.isfinite(width) else None
    events.emit("samples", samples_ns=samples, stop="turns", median_half_width=told, turns=counts)
    events.emit("energy", **energy.not_measured("two processes took turns, and a counter would count both"))


def _turns(request: dict[str, Any], events: Events) -> int:
    """Two of `bench`, each in a process of its own."""
    requests = request["requests"]
    if len(requests) != 2 or not all(isinstance(one, str) for one in requests):
        raise Failure("protocol", "`requests` are not two texts")
    return pair.run(requests, events.pass_on)


def _check(request: dict[str, Any], events: Events) -> int:
    """The golden check alone, for `edgekit verify`."""
    runtime, version = _runtime(request["runtime"])
    events.emit("runtime", name=runtime.NAME, threads=1, **version)
    session = _load(runtime, request, 1)
    return 0 if _check_golden(session, request, events) else 3


def _answer(request: dict[str, Any], events: Events) -> int:
    """Samples of the host's through the payload, their outputs to the host, for `edgekit evaluate`."""
    runtime, version = _runtime(request["runtime"])
    events.emit("runtime", name=runtime.NAME, threads=request["threads"], **version)
    answer_samples(_load(runtime, request, request["threads"]), request["samples"], events)
    return 0


def _sustain(request: dict[str, Any], events: Events) -> int:
    """The golden check, then invoke after invoke, told second by second."""
    events.emit("facts", when="before", **facts.gather())
    runtime, version = _runtime(request["runtime"])
    events.emit("runtime", name=runtime.NAME, threads=request["threads"], **version)
    session = _load(runtime, request, request["threads"])
    if not _check_golden(session, request, events):
        return 3
    set_sample(session, _first_sample(request))
    sustain.sustain(
        session.invoke,
        request["duration_ns"],
        request["chunk_ns"],
        lambda **fields: events.emit("chunk", **fields),
        events.heartbeat,
    )
    events.emit("facts", when="after", **facts.gather())
    return 0


def _profile(request: dict[str, Any], events: Events) -> int:
    """What each operator costs; nothing that is timed here counts as a latency."""
    runtime, version = _runtime(request["runtime"])
    events.emit("runtime", name=runtime.NAME, threads=request["threads"], **version)
    because = profile.reason(runtime)
    if because is None:
        sample, most = _first_sample(request), request["max_ns"]
        try:
            found = profile.profile(
                runtime, _payload(request), request["threads"], request["bindings"], sample, most, events.heartbeat
            )
        except LookupError as error:
            because = str(error)
        else:
            events.emit("profile", **found)
    if because is not None:
        events.emit("no-profile", reason=because)
    return 0


def _info(request: dict[str, Any], events: Events) -> int:
    events.emit("facts", when="now", **facts.gather())
    for name in request["runtimes"]:
        try:
            module, version = _runtime(name)
            events.emit("runtime", name=module.NAME, threads=None, **version)
        except Failure as failure:
            events.emit("no-runtime", name=name, reason=str(failure))
    return 0


_ACTIONS: dict[str, Callable[[dict[str, Any], Events], int]] = {
    "answer": _answer,
    "bench": _bench,
    "check": _check,
    "info": _info,
    "profile": _profile,
    "sustain": _sustain,
    "turns": _turns,
}


def _carry_out(request: dict[str, Any], events: Events, turn: str | None) -> int:
    if (turn is not None) != ("turn_ns" in request):
        raise Failure("protocol", "only who is started for a `turns` request has a turn, and the field turn_ns")
    if turn is None:
        return _ACTIONS[request["do"]](request, events)
    if request["do"] != "bench":
        raise Failure("protocol", "only `bench` takes turns")
    return _bench(request, events, turns.Turn.of(turn))


def main(argv: Sequence[str]) -> int:
    events = Events.on_stdout()
    try:
        request = json.loads(argv[1])
        if request.get("schema") not in READS:
            raise Failure("protocol", "this runner speaks schema %d" % SCHEMA)  # noqa: TRY301 - it ends as one event
        events.emit("hello", schema=SCHEMA, pid=os.getpid(), python=sys.executable, runner="python")
        status = _carry_out(request, events, argv[2] if len(argv) > 2 else None)
        events.emit("done", status=status)
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more; the exit handlers would only fail again
    except pair.Told:
        return 1
    except pair.Ended as ended:
        return ended.code
    except Failure as failure:
        events.emit("error", kind=failure.kind, message=str(failure))
        return 1
    except Exception as error:  # the last line of defence: whatever it is, the host gets it as one event
        events.emit("error", kind="failed", message="%s: %s" % (type(error).__name__, error))
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""Why a model has two speeds on a machine: invokes and probes in turn, in CPU time, on one processor.

    python benchmarks/two_speeds.py artifacts/mobilenet_v2/tflite-int8 [--seconds 45] [--cpu 0 1]

Probes that tell causes apart run between invokes, a few hundred microseconds each (`PROBES` below, compiled with gcc):

- chain: multiplications that wait for each other. Their time is the clock's frequency, and little else;
- adds: six independent additions at once. They fill the core's integer ports;
- vnni: eight independent int8 dot products of 512 bits, which fill its vector ports;
- l2: half a megabyte read over and over, out of the second-level cache, which belongs to the core;
- l3: eight megabytes, out of the cache that all cores share.

A turn is slow when its l2 takes more than 1.2 × what it takes in the best fifth of all. Prints how each median differs
between slow and fast turns, how long phases last, and whether two processors are slow at the same time. Then starts
processes as they come, with fixed addresses, and with huge pages: the fastest invoke and the share of slow turns of
each (0 % where a process met one phase alone).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from report import machine

from edgekit.artifact import open_artifact

PROBES = r"""
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
void chain(long n) { unsigned long a = 3; while (n--) __asm__ volatile("imul $3, %0, %0" : "+r"(a)); }
void adds(long n) {
  unsigned long a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
  while (n--) __asm__ volatile("add $1,%0\n add $1,%1\n add $1,%2\n add $1,%3\n add $1,%4\n add $1,%5"
                               : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
}
void vnni(long n) {
  __m512i a[8] = {0}, x = _mm512_set1_epi32(0x01020304), y = _mm512_set1_epi32(0x01010101);
  while (n--) for (int j = 0; j < 8; j++) {
    a[j] = _mm512_dpbusd_epi32(a[j], x, y);
    __asm__ volatile("" : "+v"(a[j]));
  }
}
static void sweep(char **memory, size_t size, long n) {
  if (*memory == NULL) memset(*memory = aligned_alloc(4096, size), 1, size);
  while (n--) for (size_t i = 0; i < size; i += 64) {
    __m512i v = _mm512_load_si512(*memory + i);
    __asm__ volatile("" :: "v"(v));
  }
}
static char *small, *large;
void l2(long n) { sweep(&small, 1 << 19, n); }
void l3(long n) { sweep(&large, 8 << 20, n); }
"""
TURNS = {"chain": 400_000, "adds": 400_000, "vnni": 100_000, "l2": 10, "l3": 1}
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "as it comes": ([], {}),
    "fixed addresses": (["setarch", "-R"], {"PYTHONHASHSEED": "0"}),
    "huge pages": ([], {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--cpu", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--processes", type=int, default=12)
    parser.add_argument("--series", nargs=3, metavar=("CPU", "LIBRARY", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    artifact = open_artifact(options.artifact)
    payload = str(artifact.path / artifact.manifest.payload)
    if options.series:
        cpu, library, seconds = options.series
        print(json.dumps(series(payload, int(cpu), library, float(seconds))))
        return
    print(machine("ai-edge-litert"), artifact.title)
    with tempfile.TemporaryDirectory() as name:
        library = f"{name}/probes.so"
        build = ["gcc", "-O2", "-march=native", "-shared", "-fPIC", "-xc", "-", "-o", library]
        subprocess.run(build, input=PROBES.encode(), check=True)
        started = [start(options.artifact, cpu, library, options.seconds) for cpu in options.cpu]
        found = [json.loads(process.communicate()[0]) for process in started]
        for cpu, one in zip(options.cpu, found, strict=True):
            compare(cpu, one)
        if len(found) == 2:
            together(*found)
        print(f"\n{options.processes} processes each, in turn: the fastest invoke in ms; slow turns; huge pages in MB")
        rows: dict[str, list[dict]] = {way: [] for way in WAYS}
        for _ in range(options.processes):
            for way, (before, more) in WAYS.items():
                process = start(options.artifact, -1, library, 0.7, before, more)
                rows[way].append(json.loads(process.communicate()[0]))
        for way, ones in rows.items():
            fastest = sorted(min(one["invoke"]) for one in ones)
            slow = sorted(float(np.mean(is_slow(one))) for one in ones)
            huge = max(one["huge_kib"] for one in ones) / 1024
            print(f"{way:18} {fastest[0]:.2f} to {fastest[-1]:.2f}   {slow[0]:.0%} to {slow[-1]:.0%}   {huge:.0f}")


def start(
    artifact: Path, cpu: int, library: str, seconds: float, before: list[str] | None = None,
    more: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:  # fmt: skip
    command = [sys.executable, __file__, str(artifact), "--series", str(cpu), library, str(seconds)]
    return subprocess.Popen(
        [*(before or []), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(more or {})},
    )


def series(payload: str, cpu: int, library: str, seconds: float) -> dict:
    """CPU time of invokes and probes in ms, and when, in turn on one processor (-1: any)."""
    from ai_edge_litert.interpreter import Interpreter

    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})
    interpreter = Interpreter(model_path=payload, num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    probes = ctypes.CDLL(library)
    turns = {"invoke": interpreter.invoke}
    for name, count in TURNS.items():
        turns[name] = partial(getattr(probes, name), ctypes.c_long(count))
    for turn in turns.values():
        turn()
    took: dict = {name: [] for name in ("at", *turns)}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        took["at"].append(time.monotonic())
        for name, turn in turns.items():
            began = time.thread_time_ns()
            turn()
            took[name].append((time.thread_time_ns() - began) / 1e6)
    lines = Path("/proc/self/smaps").read_text().splitlines()
    took["huge_kib"] = sum(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages:"))
    return took


def is_slow(one: dict) -> np.ndarray:
    """Which turns met a slow core, by the l2 probe; fast is what it takes in the best fifth."""
    l2 = np.array(one["l2"])
    return l2 > 1.2 * np.quantile(l2, 0.2)


def compare(cpu: int, one: dict) -> None:
    slow = is_slow(one)
    print(f"\nprocessor {cpu}: {len(slow)} turns, {slow.mean():.0%} slow")
    for name in ("invoke", *TURNS):
        fast, late = (float(np.median(np.array(one[name])[part])) for part in (~slow, slow))
        print(f"  {name:7} fast {fast:6.3f} ms   slow {late:6.3f} ms   ratio {late / fast:.2f}")
    changes = np.flatnonzero(np.diff(slow.astype(int)))
    at = np.array(one["at"])
    lengths = np.diff(at[changes]) if len(changes) > 1 else np.array([0.0])
    print(f"  {len(changes)} changes within this one process; phases of up to {lengths.max():.1f} s")


def together(one: dict, other: dict) -> None:
    """How often both are slow in the same quarter of a second, against what chance would give."""
    bins = [np.floor(np.array(each["at"]) / 0.25).astype(int) for each in (one, other)]
    common = sorted(set(bins[0]) & set(bins[1]))
    a, b = ([bool(np.median(is_slow(each)[which == k]) > 0.5) for k in common]
            for each, which in zip((one, other), bins, strict=True))  # fmt: skip
    both, chance = np.mean(np.logical_and(a, b)), np.mean(a) * np.mean(b)
    print(f"\nboth slow in {both:.0%} of {len(common)} quarters of a second; {chance:.0%} by chance")


if __name__ == "__main__":
    main()

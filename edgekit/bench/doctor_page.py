"""What a browser is good for, by its page's own word: its clock, what it cannot do, and whether it is in front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.bench.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

COARSE_NS = 20_000
"""A clock that moves in larger steps than this makes a sample of many invokes."""


def about_page(values: dict[str, Any], missing: dict[str, str]) -> Iterator[Finding]:
    """Findings from a page's facts."""
    system = ", ".join(str(values[name]) for name in ("os", "machine") if values.get(name))
    yield Finding("ok", "browser", f"{values['browser']}{'; ' + system if system else ''}")
    step = values["clock_resolution_ns"]
    isolated = "cross-origin isolated" if values["cross_origin_isolated"] else "not cross-origin isolated"
    clock = f"steps of {step / 1e3:g} µs, the page is {isolated}"
    if step > COARSE_NS:
        yield Finding(
            "warning", "clock", f"{clock}: a sample takes {200 * step / 1e6:g} ms of invokes at least",
            "Open the page as http://127.0.0.1 (on a phone: adb reverse tcp:PORT tcp:PORT), which counts as secure.",
        )  # fmt: skip
    else:
        yield Finding("ok", "clock", clock)
    yield Finding("ok", "wasm", ", ".join(values["wasm_features"]) or "none of relaxedSimd, threads, jspi")
    if values["webgpu"] is None:
        yield Finding("absent", "WebGPU", missing.get("webgpu", "the browser does not tell"))
    else:
        yield Finding("ok", "WebGPU", f"{values['webgpu']} (--delegate webgpu)")
    if not values["visible"]:
        yield Finding(
            "warning", "page", "it is in the background, where browsers slow pages down", "Bring it to front."
        )

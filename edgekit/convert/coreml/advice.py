"""What Core ML's documentation says of operators and precisions, for `--explain`.

Which unit runs an operator depends on the device and the system, and is told by a Mac only. These are the few things
that hold everywhere; each says where it comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA_DEPENDENT = ("non_zero", "while_loop", "cond", "list_gather", "list_write", "list_read", "list_scatter")
"""Their shapes or their flow are not known when the program is compiled."""


def advice_on(operator: str) -> str:
    """What to change about an operator; empty if nothing."""
    if operator in DATA_DEPENDENT:
        return "its shape or flow depends on data: unroll it, or give it a fixed size, before you look for more speed"
    if operator == "dequantize":
        return "int8 arithmetic needs an A17 Pro or M4; elsewhere values are expanded to float16 first"
    return ""


def general_advice(counts: Mapping[str, int], *, float16: bool) -> tuple[str, ...]:
    """Sentences on the program as a whole."""
    advice = []
    if not float16:
        advice.append(
            "float32 never runs on the Neural Engine (coremltools guide, Typed Execution): take float16 or a precision "
            "that computes in it."
        )
    casts = counts.get("cast", 0)
    if float16 and casts:
        advice.append(
            f"{casts} cast(s), most of them at the inputs and outputs, which are float32 as the model has them. "
            "A caller that has float16 data could save them."
        )
    return tuple(advice)

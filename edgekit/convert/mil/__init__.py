"""A reference evaluator for ML Program (MIL), the language of Core ML models: Core ML itself runs on Apple only.

    read_program(path)     an `.mlpackage`: its functions, and how often each operator occurs   program.py
    Evaluator(program)     runs it, one operator after the other, with torch                    evaluator.py
    operators/             what each operator computes, grouped by kind: one small function each
    values.py              how values are held, and how results are rounded

It proves that a program says what its source computes: float32 to more than 90 dB. It is written from the operators'
documentation in coremltools (`coremltools.converters.mil.mil.ops.defs`) and shares no arithmetic with coremltools.

Float16: each operator is computed in float32 and its result rounded to float16, once, to the nearest even. So the
evaluator models what float16 storage costs. It does not model a device's order of summation, float16 accumulation on
the GPU or the Neural Engine, operators that are fused and so rounded less often, approximate `exp` and `tanh`, or
flushed denormals (docs/decisions/0010-a-reference-evaluator-for-mil.md).

What is refused: a program with an operator that is not in the table. All that are missing are told at once, before
anything runs.
"""

from __future__ import annotations

from edgekit.convert.mil.evaluator import Evaluator
from edgekit.convert.mil.program import Program, missing_operators, read_program

__all__ = ["Evaluator", "Program", "missing_operators", "read_program"]

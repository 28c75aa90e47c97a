"""Accuracy on the device: samples through its runtime, the answers back here, and the model's metric of them.

samples     what is run, cut into pieces that go to the device as files
kept        answers that arrived, kept on this machine until the evaluation is through: a cut costs what was on its way
asking      one connection: pushes what is needed, asks for the samples that are missing, takes batches in
collecting  asks until all are there, over again after a cut, a kill or a reboot, with a bound
judge       the metric here against the metric there, on the same samples; and what that is worth
result      what came of it, and its file
summary     the same for a pull request, and in a sentence

Nothing here knows a model: its data and its metric come from `edgekit.workflows.evaluate`.
"""

from edgekit.bench.evaluation.collecting import Collected, collect
from edgekit.bench.evaluation.result import Evaluated, read_evaluated, write_evaluated
from edgekit.bench.evaluation.samples import SampleSet

__all__ = ["Collected", "Evaluated", "SampleSet", "collect", "read_evaluated", "write_evaluated"]

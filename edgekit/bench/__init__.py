"""Measuring an artifact on a device: from the runner's events to a Run, and to its file.

statistics  what may be said of n samples, and what may not
run         the Run and its file format
facts       what a device said of itself, and of what it does not tell, why
guards      whether a device is fit to be measured, and stayed what it was
measure     pushes what is needed, runs the blocks, assembles the Run
reading     from a runner's events to a block
extras      what is run beside the blocks: sustained (latency against time), profile (what each operator costs)
delegation  what was asked to execute a model, and what did
energy      joules per inference
size        bytes as shipped
stored      runs from files, folders and git revisions
effect      how much slower one thing is than another, and how well that is known
verdict     regressed, improved, equivalent, inconclusive or incomparable, one or a family
comparable  whether two runs were measured alike
compare     stored runs against stored runs
steps       where the level of a series changes, at a known error rate
history     the stored runs of a target as series: levels, steps, breaks
order       how two artifacts take turns on a device
gate        two artifacts in turn on a device, judged
aa_test     a target's gate against itself: false alarms, power, what it can see
race        many arms, one winner: what is clearly beaten is measured no further
report/     a page of runs, and its plots
ci          verdicts as JUnit XML and as a pull request's comment
"""

from edgekit.bench.measure import bench
from edgekit.bench.run import Run, read_run, write_run
from edgekit.bench.statistics import Summary, summarise

__all__ = ["Run", "Summary", "bench", "read_run", "summarise", "write_run"]

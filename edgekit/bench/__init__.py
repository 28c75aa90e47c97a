"""Measuring an artifact on a device: from the runner's events to a Run, and to its file.

statistics  what may be said of n samples, and what may not
run         the Run and its file format
measure     pushes what is needed, runs the blocks, assembles the Run
"""

from edgekit.bench.measure import bench
from edgekit.bench.run import Run, read_run, write_run
from edgekit.bench.statistics import Summary, summarise

__all__ = ["Run", "Summary", "bench", "read_run", "summarise", "write_run"]

"""A report of runs: one HTML file that needs nothing else, and its plots as files.

figures  the plots, as matplotlib figures: distributions, the Pareto plot, latency against time
theme    from a figure to SVG that follows the page's light or dark colours; or to a file with colours of its own
page     the page: verdicts first, then the table, the plots, the environment, the raw data

The page asks no network for anything, runs with scripts off (but for the download of the raw data), and prints.
"""

from edgekit.bench.report.figures import Plot, plots
from edgekit.bench.report.page import page

__all__ = ["Plot", "page", "plots"]

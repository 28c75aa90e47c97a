"""A report of runs: one HTML file that needs nothing else, and its plots as files.

figures  the plots, as matplotlib figures: distributions, the Pareto plot, latency against time
extra_figures  those of extra runs: sustained, and what each operator costs
history  series of runs over months: their levels and steps
remarks  the conditions of a run, in sentences
theme    from a figure to SVG that follows the page's light or dark colours; or to a file with colours of its own
page     the page: verdicts first, then the table, the plots, the environment, the raw data

The page asks no network for anything, runs with scripts off (but for the download of the raw data), and prints.
"""

from edgekit.bench.report.figures import Plot, plots
from edgekit.bench.report.history import history_plots, told_of
from edgekit.bench.report.page import page

__all__ = ["Plot", "history_plots", "page", "plots", "told_of"]

"""The plots of a report. Distributions instead of bars of means: two modes stay two modes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from edgekit.bench.report.extra_figures import draw_profile, draw_sustained
from edgekit.bench.report.theme import FAINT, INK, STYLE, series

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from edgekit.bench.evaluation import Evaluated
    from edgekit.bench.run import Block, Run

WIDTH_IN = 7.6
BINS = 80
WINDOWS = 120
"""Points that a block's latencies are drawn with against time."""
SHOWN = 0.98
"""The share of samples that a distribution's axis reaches to; what lies beyond is said."""


@dataclass(frozen=True)
class Plot:
    """A figure, its name as a file, its heading, and what it shows in words."""

    name: str
    title: str
    says: str
    figure: Figure


def plots(runs: Sequence[Run], evaluations: Mapping[str, Evaluated] | None = None) -> list[Plot]:
    """Every plot that the runs have data for; runs of one model share a plot.

    Args:
        runs: a colour each.
        evaluations: by a run's id, its artifact's accuracy on the device.
    """
    found = []
    for model, group in groupby(sorted(runs, key=lambda run: run.model), key=lambda run: run.model):
        members = list(group)
        found.append(_distributions(model, members))
        if len(members) > 1:
            found.append(_pareto(model, members, _on_device(evaluations or {})))
        found.append(_over_time(model, members))
        if any(run.sustained is not None and run.sustained.seconds for run in members):
            found.append(_sustained(model, members))
        found += [_profile(run) for run in members if run.profile is not None and run.profile.operators]
    return found


def label(run: Run) -> str:
    """A run as a plot names it."""
    return f"{run.recipe} ×{run.context.threads} on {run.context.target}"


def figure_of(height_in: float) -> Figure:
    """An empty figure of the page's width."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def styled(draw: Callable[[], Plot]) -> Plot:
    """What `draw` makes, in the report's style."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return draw()


def _latencies(run: Run) -> NDArray[np.int64]:
    """All latencies of a run in ns, block after block."""
    import numpy as np

    return np.concatenate([block.samples.unpack() for block in run.blocks])


def unit_of(highest_ns: float) -> tuple[str, float]:
    """The unit that suits an axis up to a latency, and its ns."""
    for unit, ns in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        if highest_ns < 1000 * ns:
            return unit, ns
    return "s", 1e9


def _distributions(model: str, runs: Sequence[Run]) -> Plot:
    def draw() -> Plot:
        import numpy as np

        figure = figure_of(0.9 + 0.62 * len(runs))
        axes = figure.subplots()
        samples = [_latencies(run) for run in runs]
        highest = max(float(np.quantile(one, SHOWN)) for one in samples)
        lowest = min(float(one.min()) for one in samples)
        unit, ns = unit_of(highest)
        edges = np.linspace(lowest, highest if highest > lowest else lowest + 1, BINS + 1)
        beyond = 0
        for row, (run, one) in enumerate(zip(runs, samples, strict=True)):
            counts, _ = np.histogram(one, edges)
            beyond += int((one > edges[-1]).sum())
            heights = 0.7 * counts / max(1, counts.max())
            axes.fill_between(edges[:-1] / ns, -row, -row + heights, step="post", color=series(row), alpha=0.45, lw=0)
            medians = [block.median_ns / ns for block in run.blocks]
            axes.plot(medians, [-row - 0.09] * len(medians), "|", color=series(row), ms=7, mew=1.6)
            axes.plot([float(np.median(one)) / ns] * 2, [-row, -row + 0.78], color=INK, lw=1.1)
        axes.set_yticks([-row for row in range(len(runs))], [label(run) for run in runs])
        axes.set_ylim(-len(runs) + 0.72, 0.9)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"latency, {unit}")
        says = (
            "Every latency as a histogram per run, the median as a line; the ticks below are the medians of the single "
            f"processes. {beyond} of {sum(map(len, samples))} samples lie beyond the right edge."
        )
        return Plot(f"{model}-latency", f"{model}: latency", says, figure)

    return styled(draw)


def _on_device(evaluations: Mapping[str, Evaluated]) -> dict[str, float]:
    """By a run's id, the metric on the device over all samples: of fewer it is no match for a manifest's."""
    return {
        key: made.accuracy.device
        for key, made in evaluations.items()
        if made.accuracy.device is not None and made.data.samples == made.data.of
    }


def _pareto(model: str, runs: Sequence[Run], on_device: Mapping[str, float]) -> Plot:
    def draw() -> Plot:
        figure = figure_of(3.4)
        axes = figure.subplots()
        unit, ns = unit_of(max(_p50(run) for run in runs))
        height, ordinate, better = _ordinate(runs, on_device)
        largest = max(run.payload_bytes for run in runs)
        for number, run in enumerate(runs):
            x, y = _p50(run) / ns, height(run)
            area = 30 + 270 * run.payload_bytes / largest
            axes.scatter([x], [y], s=area, color=series(number), alpha=0.55, lw=0)
            if run.id in on_device:
                axes.scatter([x], [y], s=area, facecolors="none", edgecolors=INK, lw=1.2)
            axes.scatter([], [], s=30, color=series(number), alpha=0.55, lw=0, label=label(run))  # of the legend's size
        best = _front([(_p50(run) / ns, height(run)) for run in runs], better)
        axes.plot([x for x, _ in best], [y for _, y in best], color=FAINT, lw=1, ls="--", zorder=0)
        axes.margins(x=0.12)
        axes.set_ylim(*_around([height(run) for run in runs]))
        figure.legend(loc="outside upper left", fontsize=8, frameon=False, ncols=2)
        axes.set_xlabel(f"p50 latency, {unit}")
        axes.set_ylabel(ordinate)
        says = (
            "Latency against what it buys; the area is the payload's size. On the dashed line nothing is better in "
            "both respects."
        )
        if on_device:
            says += " A ring marks what was evaluated on the device; the others have the host's metric."
        return Plot(f"{model}-pareto", f"{model}: what the latency buys", says, figure)

    return styled(draw)


def _ordinate(
    runs: Sequence[Run], on_device: Mapping[str, float]
) -> tuple[Callable[[Run], float], str, int]:  # fmt: skip
    """What the Pareto plot's ordinate is: the model's metric if every run has it, on the device where it was evaluated
    there; else size. 1: higher is better."""
    first = runs[0].accuracy
    if first is not None and all(run.accuracy is not None and run.accuracy.artifact is not None for run in runs):
        scale = 100 if first.unit == "%" else 1
        return (
            lambda run: scale * on_device.get(run.id, _metric(run)),
            f"{first.metric}, {first.unit}" if first.unit else f"{first.metric}",
            1 if first.higher_is_better else -1,
        )
    return lambda run: run.payload_bytes / 1e6, "payload, MB", -1


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Limits that hold the values with some air, and do not blow up differences of a hundredth into cliffs."""
    low, high = min(values), max(values)
    air = max(0.2 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-9)
    return low - air, high + air


def _metric(run: Run) -> float:
    assert run.accuracy is not None
    assert run.accuracy.artifact is not None
    return run.accuracy.artifact


def _front(points: Sequence[tuple[float, float]], better: int) -> list[tuple[float, float]]:
    """The points that no other beats in both respects, by latency."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -better * point[1])):
        if not front or better * y > better * front[-1][1]:
            front.append((x, y))
    return front


def _p50(run: Run) -> float:
    """A run's median latency in ns; of few samples the mean of block medians is as good as any."""
    value = run.summary.p50.value_ns
    return value if value is not None else sum(block.median_ns for block in run.blocks) / len(run.blocks)


def _over_time(model: str, runs: Sequence[Run]) -> Plot:
    def draw() -> Plot:
        hot = any(_temperatures(run) for run in runs)
        figure = figure_of(2.6 + (1.2 if hot else 0))
        made = figure.subplots(2 if hot else 1, sharex=True, height_ratios=[2, 1] if hot else [1], squeeze=False)
        latency = made[0][0]
        unit, ns = unit_of(max(_p50(run) for run in runs))
        for number, run in enumerate(runs):
            _draw_blocks(latency, run, ns, series(number))
            if hot:
                points = _temperatures(run)
                made[1][0].plot([s for s, _ in points], [c for _, c in points], "o-", ms=3, lw=1, color=series(number))
        latency.set_ylabel(f"latency, {unit}")
        latency.set_ylim(bottom=0)
        if len(runs) > 1:
            figure.legend(loc="outside upper left", fontsize=8, frameon=False, ncols=2)
        if hot:
            made[1][0].set_ylabel("°C")
        made[-1][0].set_xlabel("seconds of measurement since the run's start")
        says = "Medians of short windows, with the 10th to 90th percentiles around them, process after process" + (
            ", and the hottest thermal zone before and after each." if hot else "; the devices told no temperature."
        )
        return Plot(f"{model}-time", f"{model}: latency against time", says, figure)

    return styled(draw)


def _draw_blocks(axes: Axes, run: Run, ns: float, colour: str) -> None:
    """A run's blocks one after another, each in its own windows, with a gap in the line between them."""
    began = 0.0
    for number, block in enumerate(run.blocks):
        seconds, low, middle, high = _windows(block)
        axes.fill_between(began + seconds, low / ns, high / ns, color=colour, alpha=0.2, lw=0)
        axes.plot(began + seconds, middle / ns, color=colour, lw=1.2, label=label(run) if number == 0 else None)
        began += _seconds(block)


def _sustained(model: str, runs: Sequence[Run]) -> Plot:
    def draw() -> Plot:
        recorded = [run for run in runs if run.sustained is not None and run.sustained.seconds]
        highest = max(max(run.sustained.p50_ns) for run in recorded if run.sustained is not None)
        unit, ns = unit_of(highest)
        figure, says = draw_sustained(recorded, figure_of, label, ns, unit)
        return Plot(f"{model}-sustained", f"{model}: sustained", says, figure)

    return styled(draw)


def _profile(run: Run) -> Plot:
    def draw() -> Plot:
        assert run.profile is not None
        unit, ns = unit_of(max(operator.total_ns for operator in run.profile.operators))
        figure, says = draw_profile(run, figure_of, ns, unit)
        name = f"{run.model}-{run.recipe.slug}-{run.context.threads}-{run.context.target}-operators"
        return Plot(name, f"{run.model}: operators of {label(run)}", says, figure)

    return styled(draw)


def _seconds(block: Block) -> float:
    return float(block.samples.unpack().sum()) / 1e9


def _windows(block: Block) -> tuple[Any, Any, Any, Any]:
    """Seconds, and the 10th, 50th and 90th percentiles in ns, of at most `WINDOWS` windows of equal counts.

    Where the samples cannot be shared out equally, the first windows have one more. All windows of a size are computed
    at once: a report has tens of thousands.
    """
    import numpy as np

    samples = block.samples.unpack()
    count = min(WINDOWS, max(1, len(samples) // 10))
    size, longer = divmod(len(samples), count)
    cut = longer * (size + 1)
    parts = [part for part in (samples[:cut].reshape(longer, size + 1), samples[cut:].reshape(-1, size)) if len(part)]
    ends = np.cumsum(np.concatenate([part.sum(axis=1) for part in parts])) / 1e9
    low, middle, high = np.concatenate([np.quantile(part, (0.1, 0.5, 0.9), axis=1) for part in parts], axis=1)
    return ends, low, middle, high


def _temperatures(run: Run) -> list[tuple[float, float]]:
    """(seconds, hottest zone in °C) before and after each block."""
    found = []
    began = 0.0
    for block in run.blocks:
        for at, facts in ((began, block.before), (began + _seconds(block), block.after)):
            zones = facts.values.get("temperature_c")
            if isinstance(zones, dict) and zones:
                found.append((at, max(zones.values())))
        began += _seconds(block)
    return found

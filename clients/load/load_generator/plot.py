"""The plot: throughput and latency over time, as an image file."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from load_generator.timeline import Second

COUNTS = {"sent": "sent", "echo": "echoed", "delivery": "delivered to the\nother side"}
LINES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}


def plot(seconds: list[Second], measured: int, title: str, rate: float, file: Path) -> None:
    """Write the plot in the format that the file's ending names: .png, .svg or .pdf."""
    draw(seconds, measured, title, rate).savefig(file, dpi=100)


def draw(seconds: list[Second], measured: int, title: str, rate: float) -> Figure:
    """Draw it, and shade the seconds that are measured: so many, from the first of them."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    figure.suptitle(title)
    throughput, *latencies = figure.subplots(3, 1, sharex=True)
    times = [second.second for second in seconds]
    for key, label in COUNTS.items():
        throughput.plot(times, [second.counts.get(key, 0) for second in seconds], label=label)
    throughput.axhline(rate, linestyle="--", color="gray", label="wanted")
    throughput.set_ylabel("messages/s")
    throughput.set_ylim(bottom=0)
    for axes, kind in zip(latencies, ("echo", "delivery"), strict=True):
        for field, label in LINES.items():
            values = [getattr(second.latency[kind], field) if kind in second.latency else None for second in seconds]
            axes.plot(times, [float("nan") if value is None else value for value in values], label=label)
        axes.set_yscale("log")
        # By default the axis has a number at each power of ten only, and the lines may lie between two of them.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylabel(f"{kind} latency, ms")
    first = next((second.second for second in seconds if second.measured), None)
    for axes in (throughput, *latencies):
        if first is not None:
            # What comes behind them is the end of the load.
            axes.axvspan(first, first + measured - 1, alpha=0.08, label="measured")
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    latencies[-1].set_xlabel("seconds since the start")
    return figure

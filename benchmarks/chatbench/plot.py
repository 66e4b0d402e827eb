"""The plot: cost of a message, latency at the fixed rates, and growth, as an image file."""

from collections.abc import Callable
from pathlib import Path

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from chatbench.peers import OURS, all_peers
from chatbench.result import Result

Panel = Callable[[Axes, Result, list[str]], None]


def plot(result: Result, file: Path) -> None:
    """Write the plot in the format that the file's ending names: .svg, .png or .pdf."""
    # The same figures give the same file.
    rcParams["svg.hashsalt"] = "live-support"
    keys = [key for key in all_peers() if key in result.peers]
    panels: list[Panel] = [
        panel
        for panel, figure_name in {_cost: "cpu_us", _latency: "p50@", _growth: "cpu_us@chats:"}.items()
        if result.figures(figure_name)
    ]
    figure = Figure(figsize=(11, 3.7 * len(panels)), layout="constrained")
    for panel, axes in zip(panels, figure.subplots(len(panels), 1, squeeze=False)[:, 0], strict=True):
        panel(axes, result, keys)
    figure.savefig(file, dpi=100, metadata={"Date": None} if file.suffix == ".svg" else None)


def _cost(axes: Axes, result: Result, keys: list[str]) -> None:
    rows = [(key, value) for key in keys if (value := result.range(key, "cpu_us"))]
    for place, (key, value) in enumerate(reversed(rows)):
        error = [[value.median - value.low], [value.high - value.median]]
        axes.errorbar(value.median, place, xerr=error, fmt="o", markersize=9, capsize=4, color=_color(key))
        axes.annotate(f"{value.median:.0f}", (value.median, place), (0, 9), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(rows)), [all_peers()[key].label for key, _ in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.3)
    axes.set_xlabel("server CPU a message, saturated, us: median and range")
    _logarithmic(axes, "x")
    axes.grid(alpha=0.3)


def _latency(axes: Axes, result: Result, keys: list[str]) -> None:
    rates = [name for name in result.figures("p50@") if ":" not in name]
    for key in keys:
        for percentile, style in {"p50": "-", "p99": ":"}.items():
            points = [
                (float(name.partition("@")[2]), value.median)
                for name in rates
                if (value := result.range(key, name.replace("p50", percentile)))
            ]
            label = all_peers()[key].label if percentile == "p50" else None
            axes.plot(*zip(*points, strict=True), style, marker="o", color=_color(key), label=label) if points else None
    _logarithmic(axes, "xy")
    axes.set_xlabel("messages/s, paced")
    axes.set_ylabel("latency, ms: p50 solid, p99 dotted")
    _finish(axes)


def _growth(axes: Axes, result: Result, keys: list[str]) -> None:
    for key in keys:
        points = [
            (int(name.rpartition(":")[2]), value.median)
            for name in result.figures("cpu_us@chats:")
            if (value := result.range(key, name))
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", color=_color(key), label=all_peers()[key].label)
    _logarithmic(axes, "xy")
    axes.set_xlabel(f"chats, at {result.options['growth_rate']} messages/s in all")
    axes.set_ylabel("server CPU a message, us")
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")


def _logarithmic(axes: Axes, which: str) -> None:
    for name in which:
        axes.set(**{f"{name}scale": "log"})
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def _color(key: str) -> str:
    others = [other for other in all_peers() if other != OURS]
    return "tab:green" if key == OURS else f"C{(0, 1, 3, 4, 5, 6, 7, 8, 9)[others.index(key)]}"

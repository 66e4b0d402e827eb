"""The tables that are shown at the end."""

from rich.console import Console
from rich.table import Table

from chatbench.peers import OURS, all_peers
from chatbench.result import Range, Result

BUSY = 0.9
"""A core that is used so much has no more to give."""
LOUD = 0.2
"""Other work that uses so much of a core makes figures doubtful."""


def show(console: Console, result: Result) -> None:
    """Show all that was measured."""
    machine = result.machine
    parts = f"Python {machine['python']}, {machine['redis']}; {machine['pinned']}"
    head = f"\n{parts}; medians [lowest-highest] of the rounds"
    console.print(head, style="dim", markup=False, highlight=False)
    if "cpu_us" in result.figures("cpu_us"):
        _saturated(console, result)
    if _places(result, "cpu_us@workers:"):
        _workers(console, result)
    for where in _places(result, "p50@"):
        if not where.startswith("chats:"):
            _paced(console, result, where)
    if _places(result, "cpu_us@chats:"):
        _growth(console, result)
    _notes(console, result)


def _saturated(console: Console, result: Result) -> None:
    chats, outstanding = result.options["chats"], result.options["outstanding"]
    table = _table(
        f"Saturated: {chats} chats, {outstanding} messages on their way in each, the server as busy as it gets"
    )
    for column in ("CPU us a message", "ours / it", "target", "messages/s", "its core", "generator", "Redis us"):
        table.add_column(column, justify="right")
    for key, label, target in _rows(result):
        ratio = result.ratio(key, "cpu_us")
        share, generator = result.range(key, "server_share"), result.range(key, "generator_share")
        table.add_row(
            label,
            _range(result.range(key, "cpu_us")),
            "" if key == OURS else _range(ratio, 2),
            "" if target is None else f"<= {target:g}",
            ("" if share is None or share.median > BUSY else ">") + _range(result.range(key, "messages_per_second"), 0),
            _percent(share),
            _percent(generator),
            _range(result.range(key, "redis_us")),
        )
    console.print(table)


def _workers(console: Console, result: Result) -> None:
    quota, counts = result.options["quota"], _places(result, "cpu_us@workers:")
    bound = f"each with {100 * quota:g} % of the server's core" if quota else "all on the server's core"
    table = _table(f"Several workers on one port, {bound}: {result.options['chats']} chats, as busy as they get")
    # On one core without a quota several workers do no more than one.
    rates = ("messages/s", f"times {counts[0]}", "of their quota") if quota else ()
    for column in ("CPU us a message, all", *rates, "Redis us", "Redis full at", "Redis and generator"):
        table.add_column(column, justify="right")
    for count in counts:
        at = f"@workers:{count}"
        redis = result.range(OURS, f"redis_us{at}")
        server, *rest = (result.range(OURS, f"{name}_share{at}") for name in ("server", "redis", "generator"))
        scaled = result.times(OURS, f"messages_per_second{at}", f"messages_per_second@workers:{counts[0]}")
        used = server.median / int(count) if server else 0
        table.add_row(
            f"{count} worker{'s' if count != '1' else ''}",
            _range(result.range(OURS, f"cpu_us{at}")),
            *(
                _range(result.range(OURS, f"messages_per_second{at}"), 0),
                _range(scaled, 2),
                f"{100 * used / quota:.0f}%" if quota else "",
            )[: len(rates)],
            _range(redis),
            "-" if redis is None else f"{10**6 / redis.median:,.0f}/s",
            f"{100 * sum(each.median for each in rest if each):.0f}%",
        )
    console.print(table)


def _paced(console: Console, result: Result, rate: str) -> None:
    table = _table(f"Paced: {rate} messages/s; latency in ms from the time at which a message was to be sent")
    for column in ("CPU us a message", "p50", "p99", "p99.9", "generator's own p99"):
        table.add_column(column, justify="right")
    for key, label, _ in _rows(result):
        figures = ("cpu_us", "p50", "p99", "p999", "late_p99")
        values = [result.range(key, f"{figure}@{rate}") for figure in figures]
        sustained = result.range(key, f"sustained@{rate}")
        if sustained is None:
            table.add_row(label, "more than it can do")
        else:
            table.add_row(label if sustained.low else f"{label} (fell behind)", *map(_range, values))
    console.print(table)


def _growth(console: Console, result: Result) -> None:
    sizes = _places(result, "cpu_us@chats:")
    table = _table(f"Growth: CPU us a message at {result.options['growth_rate']} messages/s; idle connections")
    for size in sizes:
        table.add_column(f"{int(size):,} chats", justify="right")
    for column in ("KiB a connection", "connections", "CPU us a join", "idle CPU"):
        table.add_column(column, justify="right")
    for key, label, _ in _rows(result):
        table.add_row(
            label,
            *(_range(result.range(key, f"cpu_us@chats:{size}"), 0) for size in sizes),
            _range(result.range(key, f"kib_per_connection@idle:{sizes[-1]}")),
            _range(result.range(key, f"connections@idle:{sizes[-1]}"), 0),
            _range(result.range(key, f"connect_us@idle:{sizes[-1]}"), 0),
            _percent(result.range(key, f"server_share@idle:{sizes[-1]}"), 1),
        )
    console.print(table)
    table = _table("The same on top of what the server uses when nobody says anything")
    for size in sizes:
        table.add_column(f"{int(size):,} chats", justify="right")
    rate = result.options["growth_rate"]
    for key, label, _ in _rows(result):
        table.add_row(label, *(_range(result.above_idle(key, size, rate), 0) for size in sizes))
    console.print(table)


def _notes(console: Console, result: Result) -> None:
    loud, stolen = _highest(result, "others_share"), _highest(result, "stolen_share")
    console.print(f"Other work on this machine used up to {loud:.2f} of a core, its host took up to {stolen:.2f}.")
    if loud > LOUD:
        console.print("[yellow]That is a lot: read medians and ratios, and nothing below 30 %.[/]")
    generator = max(
        (
            value.median + (redis.median if (redis := result.range(key, "redis_share")) else 0)
            for key in result.peers
            if (value := result.range(key, "generator_share"))
        ),
        default=0,
    )
    if generator > BUSY:
        console.print(
            f"[yellow]The load generator and Redis used up to {generator:.2f} of a core: rates marked > are theirs.[/]"
        )
    for key, why in result.skipped.items():
        console.print(f"[yellow]{all_peers()[key].label}: skipped, {why}[/]")
    for violation in result.violations:
        console.print(f"[red]{violation}[/]", soft_wrap=True)
    if not result.violations:
        console.print("[green]Every message came to both participants, once, in one order.[/]")


def _highest(result: Result, prefix: str) -> float:
    ranges = (result.range(key, figure) for key in result.peers for figure in result.figures(prefix))
    return max((value.high for value in ranges if value), default=0.0)


def _places(result: Result, prefix: str) -> list[str]:
    return [figure.removeprefix(prefix) for figure in result.figures(prefix)]


def _rows(result: Result) -> list[tuple[str, str, float | None]]:
    return [(key, peer.label, peer.target) for key, peer in all_peers().items() if key in result.peers]


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    return table


def _range(value: Range | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    if value.low == value.high:
        return f"{value.median:,.{digits}f}"
    return f"{value.median:,.{digits}f} [{value.low:,.{digits}f}-{value.high:,.{digits}f}]"


def _percent(value: Range | None, digits: int = 0) -> str:
    return "-" if value is None else f"{100 * value.median:.{digits}f}%"

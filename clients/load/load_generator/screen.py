"""What is shown: the progress of a run, and its summary."""

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from load_generator.result import KINDS, Result
from load_generator.timeline import EMPTY, Second

ROWS_SHOWN = 12


def progress(seconds: list[Second], note: str) -> Group:
    """The last seconds as a table, for 80 columns; what the processes use of a core is below it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("sec", "chats", "due/s", "echoed/s", "delivered/s", "echo p50", "p99", "max ms", "errors"):
        table.add_column(column, justify="right", no_wrap=True)
    for second in seconds[-ROWS_SHOWN:]:
        counts, echo = second.counts, second.latency.get("echo", EMPTY)
        table.add_row(
            str(second.second),
            str(second.chats),
            *(str(counts.get(key, 0)) for key in ("sent", "echo", "delivery")),
            *(_milliseconds(value) for value in (echo.p50, echo.p99, echo.max)),
            str(counts.get("errors", 0)),
        )
    parts: list[Text | Table] = [Text(note, style="dim"), table]
    if seconds:
        last = seconds[-1]
        load = " ".join(_percent(share) for share in last.generator_cpu)
        parts.append(Text(f"CPU of a core: load generator {load}"))
        if last.server_cpu:
            parts.append(Text(f"               {_shares(last.server_cpu)}"))
    return Group(*parts)


def show_summary(console: Console, result: Result) -> None:
    """The whole run on one page."""
    rates = result.per_second
    options = result.options
    console.print(
        f"\n[bold]{options['chats']} chats, {options['rate']:g} messages/s for {result.seconds_measured} s[/]"
    )
    console.print(
        f"messages/s: {rates['sent']:,.0f} sent, {rates['echoed']:,.0f} echoed, "
        f"{rates['delivered']:,.0f} delivered to the other side"
    )
    counts = result.counts
    console.print(
        f"chats: {counts.get('begun', 0)} begun and {counts.get('ended', 0)} ended while measured, "
        f"{counts.get('refreshed', 0)} refreshes"
    )
    if not result.is_sustained:
        unsent = counts.get("unsent", 0)
        console.print(f"[yellow]This rate is not sustained: {unsent:,} messages were due and not sent in time.[/]")
    console.print(_latencies(result))
    console.print(f"load generator: {', '.join(_percent(share) for share in result.generator_cpu)} of a core")
    if result.server_cpu:
        console.print(f"server: {_shares(result.server_cpu)} of a core")
    if result.generator_is_busy:
        console.print("[yellow]The load generator was busy: the latencies may be its own, not the server's.[/]")
    for code, count in sorted(result.errors.items()):
        console.print(f"[yellow]error {code}: {count}[/]")
    if "rate_limited" in result.errors:
        console.print("A participant says more than the server allows: more --chats, or LIVE_SUPPORT_MESSAGE_RATE.")
    for violation in result.violations:
        console.print(f"[red]{violation}[/]", soft_wrap=True)
    if result.violation_count:
        console.print(f"[bold red]FAILED: {result.violation_count} chats were not delivered as promised.[/]")
    elif not result.passed:
        console.print("[bold red]FAILED: no message came back.[/]")
    else:
        console.print("[green]Every message came to both sides, once, in one order.[/]")


def _latencies(result: Result) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("latency in ms", no_wrap=True)
    for column in ("count", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(column, justify="right")
    for kind, label in KINDS.items():
        brief = result.latency_ms[kind]
        if brief.count:
            values = (brief.p50, brief.p90, brief.p99, brief.p999, brief.max)
            table.add_row(label, f"{brief.count:,}", *(f"{value:.2f}" for value in values))
    return table


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _shares(cpu: dict[str, float]) -> str:
    return ", ".join(f"{name} {_percent(share)}" for name, share in cpu.items())

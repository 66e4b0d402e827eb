"""Loads both services as users and agents do, through the SDK, and checks that everybody gets everything.

    task load -- --start --chats 500 --rate 2000 --seconds 30

docs/performance.md says how to read what it prints.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
# Run by its path: neither the SDK nor the parts of this program need to be installed.
sys.path[:0] = [str(HERE / "python"), str(HERE / "load")]

from rich.console import Console  # noqa: E402
from rich.live import Live  # noqa: E402

from live_support_client import ChatClient, JoinsClient, LiveSupportError  # noqa: E402
from load_generator.options import Options, parse  # noqa: E402
from load_generator.result import Result  # noqa: E402
from load_generator.run import LoadError, Run  # noqa: E402
from load_generator.screen import progress, show_summary  # noqa: E402
from load_generator.server import Server, ServerError, running_server  # noqa: E402
from load_generator.worker import OPTIONS  # noqa: E402

NOBODY = "Start the services with `LIVE_SUPPORT_JOIN_RATE=100000/second task up`, or let the test do it with --start."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options, console = parse(arguments), Console()
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with ExitStack() as stack:
            server: Server | None = None
            if options.start:
                server = stack.enter_context(running_server(options.workers))
                options.url, options.joins_url = server.url, server.joins_url
            else:
                asyncio.run(_knock(options))
            result = _run(options, server, console)
    except (LoadError, ServerError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    show_summary(console, result)
    if options.json:
        result.write(options.json)
    if options.plot:
        # Takes a second to load.
        from load_generator.plot import plot

        title = f"{options.chats} chats, {options.rate:g} messages/s"
        plot(result.seconds, result.seconds_measured, title, options.rate, options.plot)
    return 0 if result.passed else 1


def _run(options: Options, server: Server | None, console: Console) -> Result:
    with Live(console=console, transient=True, auto_refresh=False) as live:
        run = Run(options, server, lambda seconds, note: live.update(progress(seconds, note), refresh=True))
        run.run()
    given = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    return Result.of(run.timeline, given, run.violations, run.violation_count)


async def _knock(options: Options) -> None:
    """Check that both services are there."""
    try:
        async with ChatClient(options.url, options=OPTIONS) as client:
            health = await client.health()
            if health.status != "ok":
                raise LoadError(f"{options.url} is not healthy: {health.reason}")
        async with JoinsClient(options.joins_url, options=OPTIONS):
            pass
    except LiveSupportError as error:
        raise LoadError(f"{error}. {NOBODY}") from None


if __name__ == "__main__":
    sys.exit(main())

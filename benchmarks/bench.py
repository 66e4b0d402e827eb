"""Measures what a chat message costs, here and with the peers, in one run on the same Redis.

    task bench -- --quick

docs/performance.md says how to read what it prints.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
# Run by its path: its parts need not be installed. The histogram is the load test's.
sys.path[:0] = [str(HERE), str(HERE.parent / "clients" / "load")]

from rich.console import Console  # noqa: E402

from chatbench.guard import guarded, verdict  # noqa: E402
from chatbench.options import parse  # noqa: E402
from chatbench.rounds import BenchError, run  # noqa: E402
from chatbench.screen import show  # noqa: E402

WIDTH = 150
"""Of the tables, in a file or a log."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options, console = parse(arguments), Console()
    if not console.is_terminal:
        console.width = WIDTH
    if options.guard:
        options = guarded(options)
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        result = run(options, lambda line: console.print(line, style="dim", markup=False, highlight=False))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    show(console, result)
    if options.json:
        result.write(options.json)
    if options.plot:
        # Takes a second to load.
        from chatbench.plot import plot

        plot(result, options.plot)
    well = not result.violations
    if options.guard:
        fast, text = verdict(result)
        console.print(text, markup=False, highlight=False)
        well = well and fast
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

"""Runs a command of `live-support` with a wall clock that jumps: SIGUSR1 sets it an hour forward, SIGUSR2 an hour back.

The monotonic clock, by which timers go, is left alone, as it is when somebody sets a machine's clock. `datetime.now`
does not jump: it asks the kernel past Python, and replacing the class would break those who compare types.
"""

import signal
import sys
import time

HOUR = 3600.0

_real_time = time.time
_offset = 0.0


def _jump(number: int, _: object) -> None:
    global _offset
    _offset += HOUR if number == signal.SIGUSR1 else -HOUR


def _time() -> float:
    return _real_time() + _offset


def main() -> int:
    """Jump as told, and do what the command does."""
    time.time = _time
    time.time_ns = lambda: round(_time() * 1e9)
    signal.signal(signal.SIGUSR1, _jump)
    signal.signal(signal.SIGUSR2, _jump)
    from live_support.cli.main import main as live_support

    return live_support()


if __name__ == "__main__":
    sys.exit(main())

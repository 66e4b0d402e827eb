"""Standard streams and signals, handled alike in every process."""

import os
import signal
import sys
from contextlib import suppress


def open_standard_streams() -> None:
    """Open closed standard streams as `/dev/null`.

    Otherwise the next files, pipes and sockets would get their numbers, and children would use these as their streams.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115


def say(text: str) -> None:
    """Print a line on standard output. That it is not read is not an error."""
    _write(1, text)


def complain(text: str) -> None:
    """Print a line on standard error, in the same way."""
    _write(2, text)


def _write(number: int, text: str) -> None:
    # Not by `print`: unwritten text would stay in its buffer, and Python would complain about it again at the end.
    data = f"{text}\n".encode(errors="backslashreplace")
    with suppress(OSError):
        while data:
            data = data[os.write(number, data) :]


def handle_signals() -> None:
    """Handle SIGHUP, as of a closed terminal, like SIGTERM; ignore SIGUSR1 and SIGUSR2. By default each kills."""
    # A process that `nohup` has started ignores SIGHUP already.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def exit_on(*numbers: signal.Signals) -> None:
    """Exit with code 0 at the first of these signals; later ones would only interrupt the exit."""

    def leave(*_: object) -> None:
        ignore(*numbers)
        sys.exit(0)

    for number in numbers:
        signal.signal(number, leave)


def ignore(*numbers: signal.Signals) -> None:
    """Let these signals change nothing any more."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)

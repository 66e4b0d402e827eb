"""What every process of ours does about its streams and signals, whatever started it."""

import os
import signal
import sys
from contextlib import suppress


def open_standard_streams() -> None:
    """Let the standard streams that are closed lead nowhere.

    Otherwise the next files that are opened, as pipes and sockets, would get their numbers, and children take these for
    their own streams.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115


def say(text: str) -> None:
    """Print a line on standard output. Where nobody reads that is no reason to end."""
    _write(1, text)


def complain(text: str) -> None:
    """Print a line on standard error, in the same way."""
    _write(2, text)


def _write(number: int, text: str) -> None:
    # Not by `print`: what it cannot write stays in its buffer, and makes Python complain once more at the end.
    data = f"{text}\n".encode(errors="backslashreplace")
    with suppress(OSError):
        while data:
            data = data[os.write(number, data) :]


def handle_signals() -> None:
    """Take SIGHUP for SIGTERM, as when a terminal goes, and SIGUSR1 and SIGUSR2 for nothing: by default each kills."""
    # Who is started by `nohup` is told to ignore it.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)

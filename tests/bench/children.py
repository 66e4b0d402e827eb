"""Processes that work when they are told to."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def child(program: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that reads a line before it works, and writes one when it has."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def let_work(process: subprocess.Popen[str]) -> str:
    """Let the child work, and wait until it has; returns the line it writes."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, "it has ended"
    return line

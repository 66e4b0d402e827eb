"""What processes use, from the kernel's own accounting. Linux only.

`schedstat` counts the nanoseconds that a thread ran: exact where `stat` counts ticks, and without the time that a
virtual machine's host took away.
"""

import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


def cpu_ns(pid: int) -> int:
    """Nanoseconds that the living threads of a process have run.

    Raises:
        OSError: no such process.
    """
    total = 0
    for thread in (PROC / str(pid) / "task").iterdir():
        try:
            total += int((thread / "schedstat").read_bytes().split()[0])
        except FileNotFoundError:
            if not (PROC / "self" / "schedstat").exists():
                return _ticks_ns(pid)
            # The thread has ended meanwhile.
    return total


def _ticks_ns(pid: int) -> int:
    """The same from `stat`, for kernels without scheduler statistics."""
    # The name in parentheses may hold spaces.
    fields = (PROC / str(pid) / "stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 10**9 // os.sysconf("SC_CLK_TCK")


def rss_kib(pid: int) -> int:
    """KiB of memory that a process holds."""
    for line in (PROC / str(pid) / "status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


class Machine(NamedTuple):
    """What the cores did since the start, in nanoseconds summed over all of them."""

    busy: int
    """For anybody here."""
    stolen: int
    """Taken away by the host."""

    @classmethod
    def now(cls) -> "Machine":
        """Read it."""
        first = (PROC / "stat").read_text("utf-8").split("\n", 1)[0]
        user, nice, system, _, _, irq, softirq, stolen = map(int, first.split()[1:9])
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        return cls((user + nice + system + irq + softirq) * tick, stolen * tick)

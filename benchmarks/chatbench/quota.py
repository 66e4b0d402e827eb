"""Quota: a bound on the CPU time of a process, so that what it does with it can be compared on a machine of few cores.

By cgroups of version 1, whose controller for the CPU is a folder tree that root may write to.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CPU = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 10_000
"""Short, so that a message does not wait long for the next one: a closed loop would be bound by that."""
LEAST = 0.1
"""The kernel takes no quota of less than a millisecond a period."""


def missing() -> str | None:
    """Why there is no quota here; None if there is."""
    try:
        with quota(os.getpid(), 1):
            return None
    except OSError as error:
        return f"no CPU quota by cgroups of version 1 ({error.strerror})"


@contextmanager
def quota(pid: int, share: float) -> Iterator[None]:
    """Let a process have so much of a core, and no more, until the block ends.

    Raises:
        OSError: there are no such cgroups, or they may not be written to.
    """
    # Where it is now: it goes back there, since a group with a process in it cannot be removed.
    before = _group_of(pid)
    group = CPU / f"live-support-bench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(round(share * PERIOD_US)))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            (before / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _group_of(pid: int) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return CPU / path.lstrip("/")
    return CPU

"""A quota bounds what a process uses, as long as its block lasts, and leaves nothing behind."""

from pathlib import Path

import pytest

from chatbench import quota as module
from chatbench.quota import missing, quota
from tests.bench.children import child, let_work

needs_quota = pytest.mark.skipif(missing() is not None, reason=missing() or "")

BUSY_SECONDS, SHARE = 0.2, 0.1
BUSY = f"""
import sys, time
for _ in sys.stdin:
    begin, end = time.monotonic(), time.thread_time() + {BUSY_SECONDS}
    while time.thread_time() < end: pass
    print(time.monotonic() - begin, flush=True)
"""


def groups() -> list[str]:
    """The groups of ours."""
    return [group.name for group in module.CPU.glob("live-support-bench-*")]


@needs_quota
def test_a_process_gets_no_more_than_its_quota() -> None:
    with child(BUSY) as process:
        with quota(process.pid, SHARE):
            # Other load can only make it slower. It is let off a tick or two of what it used too much.
            assert float(let_work(process)) > 0.7 * BUSY_SECONDS / SHARE
        assert groups() == []
        assert process.poll() is None


@needs_quota
def test_a_process_that_has_ended_leaves_no_group() -> None:
    with child(BUSY) as process, quota(process.pid, SHARE):
        process.kill()
        process.wait()
    assert groups() == []


def test_where_there_are_no_groups_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU", tmp_path / "nothing")
    assert "No such file or directory" in (missing() or "")

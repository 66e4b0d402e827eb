"""CPU accounting: work is counted to whoever does it, and sleeping is free."""

import os
import time
from pathlib import Path

import pytest

from chatbench import cpu
from chatbench.cpu import Machine, cpu_ns, rss_kib
from tests.bench.children import child, let_work

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")

BUSY_NS = 100_000_000
BUSY = f"""
import sys, threading, time
def work():
    end = time.thread_time_ns() + {BUSY_NS}
    while time.thread_time_ns() < end: pass
sys.stdin.readline()
{{}}
print(flush=True)
sys.stdin.readline()
"""
IN_THE_MAIN_THREAD = BUSY.format("work()")
# It must not end before it is counted.
IN_A_THREAD = BUSY.format("""
done = threading.Event()
threading.Thread(target=lambda: (work(), done.set(), time.sleep(60)), daemon=True).start()
done.wait()
""")
NOTHING = BUSY.format("")
MEMORY = BUSY.format("held = bytearray(b'x') * 50_000_000")


def used_by(program: str) -> int:
    """Nanoseconds that a child's work took, as accounted."""
    with child(program) as process:
        # It has started up when it waits: it uses nothing any more.
        before = -1
        while (now := cpu_ns(process.pid)) != before:
            before = now
            time.sleep(0.05)
        let_work(process)
        return cpu_ns(process.pid) - before


@pytest.mark.parametrize("program", [IN_THE_MAIN_THREAD, IN_A_THREAD], ids=["main thread", "other thread"])
def test_work_is_counted(program: str) -> None:
    # Told by the child's own clock, so no other load on this machine matters.
    assert BUSY_NS <= used_by(program) < 2 * BUSY_NS


def test_waiting_is_free() -> None:
    assert used_by(NOTHING) < BUSY_NS / 10


def test_ticks_stand_in_where_the_kernel_keeps_no_scheduler_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "42" / "task" / "42").mkdir(parents=True)
    fields = ["S", *("0" for _ in range(10)), "150", "50", *("0" for _ in range(20))]
    (tmp_path / "42" / "stat").write_text(f"42 (a (strange) name) {' '.join(fields)}\n")
    monkeypatch.setattr(cpu, "PROC", tmp_path)
    assert cpu_ns(42) == 200 * 10**9 // os.sysconf("SC_CLK_TCK")


def test_memory_is_counted() -> None:
    with child(MEMORY) as process:
        before = rss_kib(process.pid)
        let_work(process)
        assert 45_000 < rss_kib(process.pid) - before < 90_000


def test_the_machine_is_as_busy_as_its_processes() -> None:
    before, mine = Machine.now(), time.process_time_ns()
    while time.process_time_ns() - mine < BUSY_NS:
        pass
    # Counted in ticks of 10 ms.
    assert Machine.now().busy - before.busy >= BUSY_NS - 2 * 10**7


def test_a_process_that_is_gone_is_an_error() -> None:
    with child(NOTHING) as process:
        pass
    with pytest.raises(OSError, match=str(process.pid)):
        cpu_ns(process.pid)

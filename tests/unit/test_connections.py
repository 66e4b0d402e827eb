"""The registry's clock: who is looked at when."""

import asyncio

import pytest

from core.connections import NEVER, TICK_SECONDS, Connections
from schemas.errors import CloseCode
from tests.support import eventually


class Sleeper:
    """Has one deadline after the other."""

    def __init__(self, *deadlines: float) -> None:
        self.due = NEVER
        self.swept: list[float] = []
        self.flushed = 0
        self._deadlines = list(deadlines)

    def sweep(self, now: float) -> float:
        self.swept.append(now)
        return self._deadlines.pop(0) if self._deadlines else NEVER

    def flush(self) -> None:
        self.flushed += 1

    @property
    def working(self) -> bool:
        raise NotImplementedError

    def stop_receiving(self) -> None:
        raise NotImplementedError

    def close(self, code: CloseCode) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_connection_is_looked_at_when_it_is_due_and_not_much_later() -> None:
    connections, began = Connections(), now()
    sleeper = Sleeper(began + 0.2)
    connections.add(sleeper, began)
    await eventually(lambda: len(sleeper.swept) == 2)
    assert sleeper.swept[1] >= began + 0.2 - 0.002
    assert sleeper.due == NEVER
    connections.close()


async def test_an_earlier_deadline_counts_and_a_later_one_changes_nothing() -> None:
    connections, began = Connections(), now()
    sleeper, marker = Sleeper(), Sleeper()
    connections.add(sleeper, began + 3600)
    connections.wake(sleeper, began + 2 * TICK_SECONDS)
    connections.wake(sleeper, began + 7200)
    connections.add(marker, began + 4 * TICK_SECONDS)
    await eventually(lambda: marker.swept)
    assert len(sleeper.swept) == 1
    connections.close()


async def test_who_is_gone_is_not_looked_at() -> None:
    connections, began = Connections(), now()
    gone, marker = Sleeper(), Sleeper()
    connections.add(gone, began + TICK_SECONDS)
    connections.add(marker, began + 2 * TICK_SECONDS)
    connections.discard(gone)
    assert list(connections) == [marker]
    await eventually(lambda: marker.swept)
    assert gone.swept == []
    connections.close()


async def test_a_deadline_in_the_past_is_met_at_the_next_tick_and_stops_nobody() -> None:
    connections, began = Connections(), now()
    hasty = Sleeper(*[0.0] * 5)
    connections.add(hasty, began)
    await eventually(lambda: len(hasty.swept) == 6)
    assert all(later - earlier > TICK_SECONDS / 2 for earlier, later in zip(hasty.swept, hasty.swept[1:], strict=False))
    connections.close()


async def test_thousands_in_one_slot_are_looked_at_together() -> None:
    connections, began = Connections(), now()
    sleepers = [Sleeper() for _ in range(5000)]
    for sleeper in sleepers:
        connections.add(sleeper, began + TICK_SECONDS)
    assert len(connections) == 5000
    await eventually(lambda: sleepers[-1].swept)
    assert {len(sleeper.swept) for sleeper in sleepers} == {1}
    connections.close()


async def test_a_connection_that_fails_does_not_stop_the_clock(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Sleeper):
        def sweep(self, now: float) -> float:
            raise RuntimeError(f"broken at {now}")

    connections, began = Connections(), now()
    broken, marker = Broken(), Sleeper()
    connections.add(broken, began + TICK_SECONDS)
    connections.add(marker, began + TICK_SECONDS)
    await eventually(lambda: marker.swept)
    assert "sweep_failed" in capsys.readouterr().out
    connections.close()


async def test_all_who_have_sent_are_flushed_at_the_end_of_the_turn(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Sleeper):
        def flush(self) -> None:
            raise RuntimeError("broken")

    connections = Connections()
    first, broken, last = Sleeper(), Broken(), Sleeper()
    for sleeper in (first, broken, last):
        connections.flush_soon(sleeper)
    assert (first.flushed, last.flushed) == (0, 0)
    await asyncio.sleep(0)
    assert (first.flushed, last.flushed) == (1, 1)
    assert "flush_failed" in capsys.readouterr().out
    connections.flush_soon(first)
    await asyncio.sleep(0)
    assert (first.flushed, last.flushed) == (2, 1)

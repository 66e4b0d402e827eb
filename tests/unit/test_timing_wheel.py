"""The timing wheel: which object is called when."""

import asyncio
import math
import weakref

import pytest

from live_support.timing_wheel import NEVER, Timed, TimingWheel
from tests.helpers.services import eventually

TICK_SECONDS = 0.05


class Noting(Timed):
    """Has one deadline after the other."""

    def __init__(self, *deadlines: float) -> None:
        super().__init__()
        self.called: list[float] = []
        self._deadlines = list(deadlines)

    def on_deadline(self, now: float) -> float:
        self.called.append(now)
        return self._deadlines.pop(0) if self._deadlines else NEVER


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_an_object_is_called_when_it_is_due_and_not_much_later() -> None:
    wheel, began = TimingWheel(TICK_SECONDS), now()
    timed = Noting(began + 0.2)
    wheel.schedule(timed, began)
    await eventually(lambda: len(timed.called) == 2)
    assert timed.called[1] >= began + 0.2 - 0.002
    assert timed.due == NEVER
    wheel.close()


async def test_an_earlier_deadline_counts_and_a_later_one_changes_nothing() -> None:
    wheel, began = TimingWheel(TICK_SECONDS), now()
    timed, marker = Noting(), Noting()
    wheel.schedule(timed, began + 3600)
    wheel.schedule(timed, began + 2 * TICK_SECONDS)
    wheel.schedule(timed, began + 7200)
    wheel.schedule(marker, began + 4 * TICK_SECONDS)
    await eventually(lambda: marker.called)
    assert len(timed.called) == 1
    wheel.close()


async def test_a_cancelled_object_is_not_called() -> None:
    wheel, began = TimingWheel(TICK_SECONDS), now()
    gone, marker = Noting(), Noting()
    wheel.schedule(gone, began + TICK_SECONDS)
    wheel.schedule(marker, began + 2 * TICK_SECONDS)
    wheel.cancel(gone)
    assert gone.due == NEVER
    await eventually(lambda: marker.called)
    assert gone.called == []
    wheel.close()


async def test_a_deadline_in_the_past_is_met_at_the_next_tick_and_stops_nobody() -> None:
    wheel, began = TimingWheel(TICK_SECONDS), now()
    hasty = Noting(*[0.0] * 5)
    wheel.schedule(hasty, began)
    await eventually(lambda: len(hasty.called) == 6)
    # The machine may be late for a tick, and then early for the next. The clock of uvloop has milliseconds.
    ticks = {math.floor((at + 0.002) / TICK_SECONDS) for at in hasty.called}
    assert len(ticks) == 6
    wheel.close()


async def test_thousands_in_one_slot_are_called_together() -> None:
    wheel, began = TimingWheel(TICK_SECONDS), now()
    many = [Noting() for _ in range(5000)]
    for timed in many:
        wheel.schedule(timed, began + TICK_SECONDS)
    await eventually(lambda: many[-1].called)
    assert {len(timed.called) for timed in many} == {1}
    wheel.close()


async def test_one_that_fails_does_not_stop_the_clock(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Noting):
        def on_deadline(self, now: float) -> float:
            raise RuntimeError(f"broken at {now}")

    wheel, began = TimingWheel(TICK_SECONDS), now()
    broken, marker = Broken(), Noting()
    wheel.schedule(broken, began + TICK_SECONDS)
    wheel.schedule(marker, began + TICK_SECONDS)
    await eventually(lambda: marker.called)
    assert "deadline_failed" in capsys.readouterr().out
    wheel.close()


async def test_an_object_that_another_cancels_at_the_same_tick_is_not_called() -> None:
    wheel, began = TimingWheel(TICK_SECONDS), now()
    cancelling: list[Noting] = []

    class Cancelling(Noting):
        def on_deadline(self, now: float) -> float:
            for other in cancelling:
                if other is not self:
                    wheel.cancel(other)
            return super().on_deadline(now)

    cancelling += [Cancelling(), Cancelling()]
    marker = Noting()
    for timed in cancelling:
        wheel.schedule(timed, began + TICK_SECONDS)
    wheel.schedule(marker, began + 2 * TICK_SECONDS)
    await eventually(lambda: marker.called)
    assert sorted(len(timed.called) for timed in cancelling) == [0, 1]
    wheel.close()


async def test_nothing_of_a_cancelled_object_is_kept() -> None:
    wheel, timed = TimingWheel(TICK_SECONDS), Noting()
    gone = weakref.ref(timed)
    wheel.schedule(timed, now() + 3600)
    wheel.schedule(timed, now() + 1800)
    wheel.cancel(timed)
    del timed
    assert gone() is None
    wheel.close()


async def test_the_slots_of_cancelled_objects_do_not_pile_up() -> None:
    wheel, began = TimingWheel(TICK_SECONDS), now()
    stays = Noting()
    wheel.schedule(stays, began + 3600)
    for number in range(1000):
        timed = Noting()
        wheel.schedule(timed, began + 3600 + number)
        wheel.cancel(timed)
    assert len(wheel._slots) == 1
    assert len(wheel._order) < 100
    wheel.schedule(stays, began + TICK_SECONDS)
    await eventually(lambda: stays.called)
    wheel.close()

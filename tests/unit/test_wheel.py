"""The wheel: who is looked at when."""

import asyncio
import math
import weakref

import pytest

from live_support.timing_wheel import NEVER, Wheel
from tests.helpers.services import eventually

TICK_SECONDS = 0.05


class Napper:
    """Has one deadline after the other."""

    def __init__(self, *deadlines: float) -> None:
        self.due = NEVER
        self.swept: list[float] = []
        self._deadlines = list(deadlines)

    def sweep(self, now: float) -> float:
        self.swept.append(now)
        return self._deadlines.pop(0) if self._deadlines else NEVER


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_one_is_looked_at_when_it_is_due_and_not_much_later() -> None:
    wheel, began = Wheel(TICK_SECONDS), now()
    sleeper = Napper(began + 0.2)
    wheel.wake(sleeper, began)
    await eventually(lambda: len(sleeper.swept) == 2)
    assert sleeper.swept[1] >= began + 0.2 - 0.002
    assert sleeper.due == NEVER
    wheel.close()


async def test_an_earlier_deadline_counts_and_a_later_one_changes_nothing() -> None:
    wheel, began = Wheel(TICK_SECONDS), now()
    sleeper, marker = Napper(), Napper()
    wheel.wake(sleeper, began + 3600)
    wheel.wake(sleeper, began + 2 * TICK_SECONDS)
    wheel.wake(sleeper, began + 7200)
    wheel.wake(marker, began + 4 * TICK_SECONDS)
    await eventually(lambda: marker.swept)
    assert len(sleeper.swept) == 1
    wheel.close()


async def test_who_is_gone_is_not_looked_at() -> None:
    wheel, began = Wheel(TICK_SECONDS), now()
    gone, marker = Napper(), Napper()
    wheel.wake(gone, began + TICK_SECONDS)
    wheel.wake(marker, began + 2 * TICK_SECONDS)
    wheel.forget(gone)
    assert gone.due == NEVER
    await eventually(lambda: marker.swept)
    assert gone.swept == []
    wheel.close()


async def test_a_deadline_in_the_past_is_met_at_the_next_tick_and_stops_nobody() -> None:
    wheel, began = Wheel(TICK_SECONDS), now()
    hasty = Napper(*[0.0] * 5)
    wheel.wake(hasty, began)
    await eventually(lambda: len(hasty.swept) == 6)
    # The machine may be late for a tick, and then early for the next. The clock of uvloop has milliseconds.
    ticks = {math.floor((at + 0.002) / TICK_SECONDS) for at in hasty.swept}
    assert len(ticks) == 6
    wheel.close()


async def test_thousands_in_one_slot_are_looked_at_together() -> None:
    wheel, began = Wheel(TICK_SECONDS), now()
    sleepers = [Napper() for _ in range(5000)]
    for sleeper in sleepers:
        wheel.wake(sleeper, began + TICK_SECONDS)
    await eventually(lambda: sleepers[-1].swept)
    assert {len(sleeper.swept) for sleeper in sleepers} == {1}
    wheel.close()


async def test_one_that_fails_does_not_stop_the_clock(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Napper):
        def sweep(self, now: float) -> float:
            raise RuntimeError(f"broken at {now}")

    wheel, began = Wheel(TICK_SECONDS), now()
    broken, marker = Broken(), Napper()
    wheel.wake(broken, began + TICK_SECONDS)
    wheel.wake(marker, began + TICK_SECONDS)
    await eventually(lambda: marker.swept)
    assert "sweep_failed" in capsys.readouterr().out
    wheel.close()


async def test_who_is_forgotten_by_another_at_the_same_tick_is_not_looked_at() -> None:
    wheel, began = Wheel(TICK_SECONDS), now()
    forgetting: list[Napper] = []

    class Forgetting(Napper):
        def sweep(self, now: float) -> float:
            for other in forgetting:
                if other is not self:
                    wheel.forget(other)
            return super().sweep(now)

    forgetting += [Forgetting(), Forgetting()]
    marker = Napper()
    for napper in forgetting:
        wheel.wake(napper, began + TICK_SECONDS)
    wheel.wake(marker, began + 2 * TICK_SECONDS)
    await eventually(lambda: marker.swept)
    assert sorted(len(napper.swept) for napper in forgetting) == [0, 1]
    wheel.close()


async def test_who_is_forgotten_leaves_nothing_behind() -> None:
    wheel, napper = Wheel(TICK_SECONDS), Napper()
    gone = weakref.ref(napper)
    wheel.wake(napper, now() + 3600)
    wheel.wake(napper, now() + 1800)
    wheel.forget(napper)
    del napper
    assert gone() is None
    wheel.close()


async def test_the_slots_of_the_forgotten_do_not_gather() -> None:
    wheel, began = Wheel(TICK_SECONDS), now()
    stays = Napper()
    wheel.wake(stays, began + 3600)
    for number in range(1000):
        napper = Napper()
        wheel.wake(napper, began + 3600 + number)
        wheel.forget(napper)
    assert len(wheel._slots) == 1
    assert len(wheel._order) < 100
    wheel.wake(stays, began + TICK_SECONDS)
    await eventually(lambda: stays.swept)
    wheel.close()

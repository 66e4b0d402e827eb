"""Wheel: the deadlines of thousands, on one timer."""

import asyncio
import math
from heapq import heappop, heappush
from typing import Protocol

import structlog

log = structlog.get_logger()

NEVER = math.inf

_SPARE_SLOTS = 64
"""So many numbers of empty slots may be left over, besides as many as there are slots."""


class Timed(Protocol):
    """Who has deadlines. `due` belongs to the wheel, and is `NEVER` at first."""

    due: float

    def sweep(self, now: float) -> float:
        """Do what is due; return when the next thing will be."""


class Wheel:
    """A timing wheel (Varghese and Lauck, 1987), with slots only where somebody waits.

    A timer for each deadline would cost a handle of 500 bytes, and a new one whenever the deadline moves. Here whoever
    sleeps waits in the slot of the earliest deadline, and one timer, for the earliest slot, serves all. A deadline
    that moves away changes nothing: one is looked at in vain, and waits again.

    Args:
        tick_seconds: deadlines that fall into the same tick are looked at together, at its end.
    """

    def __init__(self, tick_seconds: float) -> None:
        self._tick = tick_seconds
        self._slots: dict[int, set[Timed]] = {}
        self._order: list[int] = []
        self._swept = 0
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, sleeper: Timed, at: float) -> None:
        """Look at a sleeper at a time of the event loop's clock, unless it is done earlier anyway."""
        if at == NEVER:
            return
        slot = max(math.ceil(at / self._tick), self._swept + 1)
        due = slot * self._tick
        if sleeper.due <= due:
            return
        self.forget(sleeper)
        sleeper.due = due
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = {sleeper}
            heappush(self._order, slot)
            if self._order[0] == slot:
                self._set_timer()
        else:
            waiting.add(sleeper)

    def forget(self, sleeper: Timed) -> None:
        """Look at a sleeper no more."""
        if sleeper.due == NEVER:
            return
        slot = round(sleeper.due / self._tick)
        sleeper.due = NEVER
        waiting = self._slots.get(slot)  # none, when they are just being looked at
        if waiting is None:
            return
        waiting.discard(sleeper)
        if not waiting:
            del self._slots[slot]
            if len(self._order) > 2 * len(self._slots) + _SPARE_SLOTS:
                self._order = sorted(self._slots)

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()
        self._order.clear()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._order[0] * self._tick, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        # uvloop's clock has milliseconds and may be a fraction of one early.
        self._swept = math.floor((now + 0.002) / self._tick)
        while self._order and self._order[0] <= self._swept:
            slot = heappop(self._order)
            due = slot * self._tick
            for sleeper in self._slots.pop(slot, ()):
                # Otherwise it was forgotten a moment ago.
                if sleeper.due == due:
                    sleeper.due = NEVER
                    self._look_at(sleeper, now)
        if self._order:
            self._set_timer()

    def _look_at(self, sleeper: Timed, now: float) -> None:
        try:
            self.wake(sleeper, sleeper.sweep(now))
        except Exception as error:  # one must not stop the clock of all
            log.error("sweep_failed", exc_info=error)
            self.wake(sleeper, now + 1)

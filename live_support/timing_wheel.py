"""TimingWheel: the deadlines of thousands of objects, on one timer."""

import asyncio
import math
from abc import ABC, abstractmethod
from heapq import heappop, heappush

import structlog

log = structlog.get_logger()

NEVER = math.inf

_MAX_STALE_SLOTS = 64
"""Stale heap entries tolerated, besides as many as there are slots, before the heap is rebuilt."""


class Timed(ABC):
    """An object with deadlines, of which the wheel knows the earliest."""

    __slots__ = ("due",)

    def __init__(self) -> None:
        self.due = NEVER
        """When the wheel calls it. Belongs to the wheel."""

    @abstractmethod
    def on_deadline(self, now: float) -> float:
        """Do what is due; return the time of the next deadline."""


class TimingWheel:
    """A timing wheel (Varghese and Lauck, 1987) that has a slot only where an object is due.

    A timer for each deadline would cost a handle of 500 bytes, and a new one whenever the deadline moves. Here an
    object lies in the slot of its earliest deadline, and one timer, for the earliest slot, serves all. A deadline that
    moves to a later time changes nothing: the object is called too early, and is scheduled again.

    Args:
        tick_seconds: resolution; deadlines within one tick are handled together, at its end.
    """

    def __init__(self, tick_seconds: float) -> None:
        self._tick = tick_seconds
        self._slots: dict[int, set[Timed]] = {}
        self._order: list[int] = []
        self._passed = 0
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self, timed: Timed, at: float) -> None:
        """Call an object's `on_deadline` at a time of the event loop's clock, unless that happens earlier anyway."""
        if at == NEVER:
            return
        slot = max(math.ceil(at / self._tick), self._passed + 1)
        due = slot * self._tick
        if timed.due <= due:
            return
        self.cancel(timed)
        timed.due = due
        slot_members = self._slots.get(slot)
        if slot_members is None:
            self._slots[slot] = {timed}
            heappush(self._order, slot)
            if self._order[0] == slot:
                self._set_timer()
        else:
            slot_members.add(timed)

    def cancel(self, timed: Timed) -> None:
        """Cancel an object's deadlines."""
        if timed.due == NEVER:
            return
        slot = round(timed.due / self._tick)
        timed.due = NEVER
        slot_members = self._slots.get(slot)  # none while its members are being called
        if slot_members is None:
            return
        slot_members.discard(timed)
        if not slot_members:
            del self._slots[slot]
            if len(self._order) > 2 * len(self._slots) + _MAX_STALE_SLOTS:
                self._order = sorted(self._slots)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()
        self._order.clear()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._order[0] * self._tick, self._on_tick, loop)

    def _on_tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        # uvloop's clock has milliseconds and may be a fraction of one early.
        self._passed = math.floor((now + 0.002) / self._tick)
        while self._order and self._order[0] <= self._passed:
            slot = heappop(self._order)
            due = slot * self._tick
            for timed in self._slots.pop(slot, ()):
                # Otherwise it was cancelled or scheduled anew a moment ago.
                if timed.due == due:
                    timed.due = NEVER
                    self._call(timed, now)
        if self._order:
            self._set_timer()

    def _call(self, timed: Timed, now: float) -> None:
        try:
            self.schedule(timed, timed.on_deadline(now))
        except Exception as error:  # one object must not stop the timer of all
            log.error("deadline_failed", exc_info=error)
            self.schedule(timed, now + 1)

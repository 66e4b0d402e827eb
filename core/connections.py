"""Connections: the open WebSockets of a process, and the one clock for all their deadlines."""

import asyncio
import math
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Protocol

import structlog

from schemas.errors import CloseCode

log = structlog.get_logger()

TICK_SECONDS = 0.05
"""Deadlines that fall into the same tick are looked at together, at its end."""

NEVER = math.inf


class Sweepable(Protocol):
    """A connection, as the registry sees it. `due` belongs to the registry."""

    due: float

    def flush(self) -> None:
        """Hand over what was sent in this turn of the event loop."""

    def sweep(self, now: float) -> float:
        """Do what is due; return when the next thing will be."""

    def stop_receiving(self) -> None:
        """Take no more frames."""

    @property
    def working(self) -> bool:
        """Whether frames that were taken are still to be answered."""

    def close(self, code: CloseCode) -> None:
        """Close after the frames that are queued."""

    def abort(self) -> None:
        """Cut the connection."""


class Connections:
    """A registry with a timing wheel.

    A timer for each connection and deadline would cost a handle that is made anew with every frame. Here a
    connection waits in the slot of its earliest deadline; one timer, for the earliest slot, serves all of them.
    A frame that moves a deadline changes nothing: the connection is looked at in vain, and waits again.
    """

    def __init__(self) -> None:
        self._open: set[Sweepable] = set()
        self._unsent: list[Sweepable] = []
        self._slots: dict[int, list[Sweepable]] = {}
        self._order: list[int] = []
        self._swept = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Sweepable]:
        """A copy: closing connections go while one iterates."""
        return iter(tuple(self._open))

    def add(self, connection: Sweepable, at: float) -> None:
        """Register an open connection, to be looked at at a time of the event loop's clock."""
        self._open.add(connection)
        self.wake(connection, at)

    def discard(self, connection: Sweepable) -> None:
        """Forget a connection."""
        self._open.discard(connection)

    def flush_soon(self, connection: Sweepable) -> None:
        """Flush a connection at the end of this turn of the event loop: one callback serves all of them."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(connection)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        for connection in unsent:
            try:
                connection.flush()
            except Exception as error:  # the others want theirs
                log.error("flush_failed", exc_info=error)

    def wake(self, connection: Sweepable, at: float) -> None:
        """Look at a connection at a certain time, unless it is done earlier anyway."""
        if at == NEVER:
            return
        slot = max(math.ceil(at / TICK_SECONDS), self._swept + 1)
        due = slot * TICK_SECONDS
        if connection.due <= due:
            return
        connection.due = due
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = [connection]
            heappush(self._order, slot)
            if self._order[0] == slot:
                self._set_timer()
        else:
            waiting.append(connection)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._order[0] * TICK_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        # uvloop's clock has milliseconds and may be a fraction of one early.
        self._swept = math.floor((now + 0.002) / TICK_SECONDS)
        while self._order and self._order[0] <= self._swept:
            slot = heappop(self._order)
            due = slot * TICK_SECONDS
            for connection in self._slots.pop(slot):
                # Otherwise it was woken earlier meanwhile, and this entry is left over.
                if connection.due == due:
                    connection.due = NEVER
                    if connection in self._open:
                        self._look_at(connection, now)
        if self._order:
            self._set_timer()

    def _look_at(self, connection: Sweepable, now: float) -> None:
        try:
            self.wake(connection, connection.sweep(now))
        except Exception as error:  # one connection must not stop the clock of all
            log.error("sweep_failed", exc_info=error)
            self.wake(connection, now + 1)

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()
        self._order.clear()

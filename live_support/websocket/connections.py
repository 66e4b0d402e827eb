"""Connections: the open WebSockets of a process, with their deadlines, flushes and tasks."""

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine, Iterator
from typing import Any

import structlog

from live_support.tasks import Tasks
from live_support.timing_wheel import Timed, TimingWheel
from schemas.errors import CloseCode

log = structlog.get_logger()

TICK_SECONDS = 0.05
"""Resolution of their deadlines."""


class RegisteredConnection(Timed):
    """A connection, as the registry sees it."""

    __slots__ = ()

    @abstractmethod
    def flush(self) -> None:
        """Pass the frames of this turn of the event loop to the transport."""

    @abstractmethod
    def stop_receiving(self) -> None:
        """Accept no more frames."""

    @property
    @abstractmethod
    def working(self) -> bool:
        """Whether accepted frames are not answered yet."""

    @abstractmethod
    def close(self, code: CloseCode) -> None:
        """Close after the frames that are queued."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection."""


class Connections:
    """The registry of open connections, with one timer and one flush at the end of a turn for all."""

    def __init__(self) -> None:
        self._open: set[RegisteredConnection] = set()
        self._unsent: list[RegisteredConnection] = []
        self._wheel = TimingWheel(TICK_SECONDS)
        self._tasks = Tasks()

    def __len__(self) -> int:
        """Return how many connections are open."""
        return len(self._open)

    def __iter__(self) -> Iterator[RegisteredConnection]:
        """Iterate over a copy: closing connections leave the registry meanwhile."""
        return iter(tuple(self._open))

    def add(self, connection: RegisteredConnection, at: float) -> None:
        """Register an open connection, whose first deadline is at a time of the event loop's clock."""
        self._open.add(connection)
        self.schedule(connection, at)

    def discard(self, connection: RegisteredConnection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._wheel.cancel(connection)

    def schedule(self, connection: RegisteredConnection, at: float) -> None:
        """Call an open connection's `on_deadline` at a certain time, unless that happens earlier anyway."""
        if connection in self._open:
            self._wheel.schedule(connection, at)

    def flush_soon(self, connection: RegisteredConnection) -> None:
        """Flush a connection at the end of this turn of the event loop: one callback serves all of them."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(connection)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        for connection in unsent:
            try:
                connection.flush()
            except Exception as error:  # the other connections are flushed all the same
                log.error("flush_failed", exc_info=error)
                connection.abort()  # the history has the lost frames

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine for a connection, which may be lost meanwhile; `close` waits for its end."""
        self._tasks.spawn(coroutine)

    async def close(self, seconds: float) -> None:
        """Wait for the tasks of connections that are gone, but no longer than this; then stop the timer."""
        await self._tasks.finish(seconds)
        await self._tasks.close()
        self._wheel.close()

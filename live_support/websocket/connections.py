"""Connections: the open WebSockets of a process, and what is done for all of them together."""

import asyncio
from collections.abc import Iterator
from typing import Protocol

import structlog

from live_support.timing_wheel import Timed, Wheel
from schemas.errors import CloseCode

log = structlog.get_logger()

TICK_SECONDS = 0.05
"""How exactly they are told of their deadlines."""


class RegisteredConnection(Timed, Protocol):
    """A connection, as the registry sees it."""

    def flush(self) -> None:
        """Hand over what was sent in this turn of the event loop."""

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
    """A registry, with one clock and one flush at a turn's end for all."""

    def __init__(self) -> None:
        self._open: set[RegisteredConnection] = set()
        self._unsent: list[RegisteredConnection] = []
        self._wheel = Wheel(TICK_SECONDS)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[RegisteredConnection]:
        """A copy: closing connections go while one iterates."""
        return iter(tuple(self._open))

    def add(self, connection: RegisteredConnection, at: float) -> None:
        """Register an open connection, to be looked at at a time of the event loop's clock."""
        self._open.add(connection)
        self.wake(connection, at)

    def discard(self, connection: RegisteredConnection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._wheel.forget(connection)

    def wake(self, connection: RegisteredConnection, at: float) -> None:
        """Look at a connection at a certain time, unless it is done earlier anyway."""
        if connection in self._open:
            self._wheel.wake(connection, at)

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
            except Exception as error:  # the others want theirs
                log.error("flush_failed", exc_info=error)
                connection.abort()  # what it should have got is in the history

    def close(self) -> None:
        """Stop the clock."""
        self._wheel.close()

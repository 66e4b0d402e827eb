"""Drain: closes the connections of a service that stops. Knows connections, not their messages.

First `/health` and new sockets are answered with 503. Then no further frame is accepted, and accepted frames are
completed: stored and echoed, or answered with an `Error`. Then the sockets are closed with 1012, and a client that does
not close is cut off. A frame that was not accepted gets no answer; after the re-join the history shows that it is not
stored.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from live_support.http.handshake import refuse
from live_support.limits import Limits
from live_support.websocket.connections import Connections
from schemas.errors import CloseCode, Unavailable

log = structlog.get_logger()

_POLL_SECONDS = 0.01
_CATCH_UP_SECONDS = 1.0
_EXPEDITED_SECONDS = 0.5


async def nothing_to_catch_up() -> None:
    """Deliver nothing: the service has no stored messages."""


class Drain:
    """Closes the connections of a service when it stops.

    Args:
        limits: how long each step may take.
        connections: the service's.
        catch_up: delivers stored messages that were missed, so that no echo is missing.
    """

    def __init__(
        self, limits: Limits, connections: Connections, catch_up: Callable[[], Awaitable[None]] = nothing_to_catch_up
    ) -> None:
        self.stopping = False
        """Whether new sockets are refused, and `/health` says so."""
        self._limits = limits
        self._connections = connections
        self._catch_up = catch_up
        self._deadline = float("inf")
        self._expedited = False

    def refusing_sockets(self, app: ASGIApp) -> ASGIApp:
        """Middleware that refuses a WebSocket while stopping: a proxy may then take it to another process."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if not self.stopping or scope["type"] != ScopeType.WEBSOCKET:
                await app(scope, receive, send)
            elif "websocket.http.response" in (scope.get("extensions") or {}):
                await refuse(cast(Any, send), Unavailable("The service is stopping."))
            else:
                await send({"type": "websocket.close", "code": CloseCode.SERVICE_RESTART, "reason": ""})

        return serve

    # The stop.

    async def drain(self) -> None:
        """Refuse new sockets, complete accepted frames, and close every connection with 1012."""
        self.stopping = True
        self._deadline = self._now() + (_EXPEDITED_SECONDS if self._expedited else self._limits.drain_seconds)
        log.info("stopping", connections=len(self._connections))
        await self._wait_unless_expedited(lambda: False, self._limits.stop_notice_seconds)

        # A command to Redis has a deadline, and after a missed one further commands wait only briefly.
        await self._wait_unless_expedited(self._all_answered, self._limits.store_seconds + 1)
        catching_up = asyncio.create_task(self._deliver_the_rest())
        await self._wait_unless_expedited(catching_up.done, _CATCH_UP_SECONDS)
        catching_up.cancel()

        await self.wait_until(self._all_closed, self._limits.leave_seconds)
        for connection in self._connections:
            connection.abort()

    def _all_answered(self) -> bool:
        # All of them each time: a handshake that began before the stop may have ended since.
        for connection in self._connections:
            connection.stop_receiving()
        return not any(connection.working for connection in self._connections)

    def _all_closed(self) -> bool:
        for connection in self._connections:
            connection.close(CloseCode.SERVICE_RESTART)
        return not len(self._connections)

    async def _deliver_the_rest(self) -> None:
        try:
            await self._catch_up()
        except Unavailable:
            pass  # after the re-join the history has it
        except Exception as error:
            log.error("catch_up_failed", exc_info=error)

    def expedite(self) -> None:
        """End every wait soon, as after a second signal. May be called from a signal handler."""
        self._expedited = True  # perhaps before the stop has begun
        self._deadline = min(self._deadline, self._now() + _EXPEDITED_SECONDS)

    async def _wait_unless_expedited(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait as `wait_until` does, but leave time for the closing."""
        seconds = min(seconds, self.seconds_left - self._limits.leave_seconds)
        await self.wait_until(lambda: self._expedited or condition(), seconds)

    async def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until a condition holds, at most for some seconds and for as long as the stop may take."""
        # Polled: an event for every frame would cost each of them time.
        end = self._now() + seconds
        while not condition() and self._now() < min(end, self._deadline):  # noqa: ASYNC110 - as said
            await asyncio.sleep(_POLL_SECONDS)

    @property
    def seconds_left(self) -> float:
        """Until the remaining connections are cut off."""
        return max(0, self._deadline - self._now())

    @property
    def task_seconds_left(self) -> float:
        """Until the tasks of connections that are cut off are cancelled."""
        return max(0, self._deadline + 1 - self._now())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

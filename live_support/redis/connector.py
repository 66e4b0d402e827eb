"""Connector: makes the connection to Redis, trying again until it succeeds."""

import asyncio
import random

import structlog
from redis.exceptions import ResponseError

from live_support.redis.address import Address
from live_support.redis.connection import OnError, OnPush, RespConnection
from live_support.redis.deadlines import Deadlines
from live_support.redis.errors import explain
from live_support.redis.scripts import Scripts

log = structlog.get_logger()

SILENT = "Redis does not answer."

_CONNECT_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 1.0


class Connector:
    """Connects to Redis, with growing pauses between its attempts.

    Args:
        address: where Redis is.
        scripts: loaded with each connection.
        deadlines: learns Redis's clock with each connection.
    """

    def __init__(self, address: Address, scripts: Scripts, deadlines: Deadlines) -> None:
        self.failure = SILENT
        """Why there is no connection, for an operator."""
        self.connected_at = 0.0
        """When the last connection was made, by the loop's clock."""
        self._address = address
        self._scripts = scripts
        self._deadlines = deadlines
        self._pause_seconds = 0.0

    async def connect(self, on_push: OnPush, on_error: OnError) -> RespConnection:
        """Return a new connection, however long that takes.

        Args:
            on_push: called with every publication.
            on_error: called with errors, see `RespConnection`.
        """
        loop = asyncio.get_running_loop()
        if self.connected_at and loop.time() - self.connected_at > _MAX_PAUSE_SECONDS:
            self._pause_seconds = _FIRST_PAUSE_SECONDS
        logged = ""
        while True:
            # Random, so that processes do not connect all at once.
            await asyncio.sleep(self._pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - guards nothing
            self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _MAX_PAUSE_SECONDS)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    connection = await self._try(on_push, on_error)
            # uvloop raises a bare RuntimeError when a connection is reset while it is being made.
            except (OSError, RuntimeError, TimeoutError, ResponseError) as error:
                self.failure = explain(str(error)) if isinstance(error, ResponseError) else SILENT
                reason = str(error) or type(error).__name__
                if reason != logged:  # once per outage, not per attempt
                    log.warning("redis_connection_failed", reason=reason)
                logged = reason
            else:
                self.failure = SILENT
                self.connected_at = loop.time()
                return connection

    async def _try(self, on_push: OnPush, on_error: OnError) -> RespConnection:
        connection = await self._address.open(lambda: RespConnection(on_push, on_error))
        try:
            # Later calls name scripts by their hash. PING shows whether Redis is still loading its data.
            loads = [("SCRIPT", "LOAD", text) for text in self._scripts.texts()]
            lines = (*self._address.greeting, *loads, ("TIME",), ("PING",))
            hello, *_, time, _ = await asyncio.gather(*(connection.call(*line) for line in lines))
        except BaseException:
            connection.abort("It could not be made")
            raise
        connection.mode = hello[b"mode"].decode()
        self._deadlines.set_clock(time, asyncio.get_running_loop().time())
        self._scripts.loaded()
        return connection

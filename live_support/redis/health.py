"""Health: whether Redis allows everything that a process needs, checked by one round of commands at a time."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from redis.exceptions import ResponseError

from live_support.redis.connection import Argument, RespConnection
from live_support.redis.connector import SILENT
from live_support.redis.write_refusals import WriteRefusals

_PROBE_SECONDS = 1.0


class ProbeCommand(NamedTuple):
    """A command of a probe."""

    arguments: tuple[Argument, ...]
    confirmation: tuple[bytes, bytes] | None = None
    """The push that answers instead of a reply, if one does."""


class Probe(Protocol):
    """Commands that show whether Redis can be used, and the meaning of their replies. They change nothing in Redis."""

    def commands(self, mode: str) -> Sequence[ProbeCommand]:
        """Return the commands to send.

        Args:
            mode: the mode that the server reports: standalone, or a node of a cluster.
        """
        ...

    def judge(self, replies: Sequence[Any]) -> str | None:
        """Return why Redis cannot be used, or None.

        Args:
            replies: to the commands, in their order; errors among them.
        """
        ...


class Health:
    """Runs a probe, and remembers the result.

    Args:
        probe: the commands.
        refusals: notified of the result, for the log.
    """

    def __init__(self, probe: Probe, refusals: WriteRefusals) -> None:
        self._probe = probe
        self._refusals = refusals
        self._running: asyncio.Task[str | None] | None = None
        self._found_at = -math.inf
        self._found: str | None = None

    async def check(self, connection: RespConnection | None, failure: str, *, max_age_seconds: float = 0) -> str | None:
        """Return why Redis cannot be used, or None. Concurrent callers share the answer.

        Args:
            connection: the present one, if there is one.
            failure: the answer without a connection.
            max_age_seconds: how old an earlier answer may be.
        """
        if asyncio.get_running_loop().time() - self._found_at < max_age_seconds:
            return self._found
        if self._running is None:
            self._running = asyncio.create_task(self._run(connection, failure))
        return await asyncio.shield(self._running)

    async def _run(self, connection: RespConnection | None, failure: str) -> str | None:
        try:
            reason = failure if connection is None else await self._ask(connection)
        finally:
            self._running = None
        self._found_at, self._found = asyncio.get_running_loop().time(), reason
        return reason

    async def _ask(self, connection: RespConnection) -> str | None:
        commands = self._probe.commands(connection.mode)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                calls = (connection.call(*words, confirmation=confirmation) for words, confirmation in commands)
                replies = await asyncio.gather(*calls, return_exceptions=True)
        except TimeoutError:
            return SILENT
        if any(isinstance(reply, ConnectionError) for reply in replies):
            return SILENT
        reason = self._probe.judge(replies)
        errors = [str(reply) for reply in replies if isinstance(reply, ResponseError)]
        self._refusals.judge(reason, errors, asyncio.get_running_loop().time())
        return reason

    async def close(self) -> None:
        """Wait for the running round; it ends with the connection."""
        if self._running is not None:
            await asyncio.wait({self._running})

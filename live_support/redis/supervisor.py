"""ConnectionSupervisor: keeps the connection to Redis, watches it, and handles errors."""

import asyncio
from typing import Any, Protocol

import structlog
from redis.exceptions import ResponseError

from live_support.redis.command_queue import CommandQueue
from live_support.redis.connection import Command, RespConnection, pack
from live_support.redis.connector import Connector
from live_support.redis.deadlines import Deadlines
from live_support.redis.errors import error_code, lacks_right, unavailable
from live_support.redis.health import Health, Probe
from live_support.redis.scripts import Scripts
from live_support.redis.write_refusals import WriteRefusals, eviction_policy
from live_support.tasks import Tasks

log = structlog.get_logger()

_PING_SECONDS = 1.0
_SILENCE_SECONDS = 3.0
_REPLICA_SECONDS = 2.0
# The answers of one node of a cluster about keys of another node.
_ELSEWHERE = ("MOVED", "ASK", "CROSSSLOT")
# Codes of errors that pass. With READONLY another server may be the master now.
_TRANSIENT = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")


class PushListener(Protocol):
    """Receives the publications of a client. Both methods return at once."""

    def connected(self) -> None:
        """Subscribe on a new connection."""
        ...

    def publication(self, channel: bytes, payload: bytes) -> None:
        """Handle a publication."""
        ...


class ConnectionSupervisor:
    """Keeps one connection to Redis.

    Args:
        connector: makes the connection.
        commands: are sent on it, and sent again on the next one.
        scripts: the scripts that commands call.
        deadlines: how long commands wait.
        probe: shows whether Redis can be used.
    """

    def __init__(
        self, connector: Connector, commands: CommandQueue, scripts: Scripts, deadlines: Deadlines, probe: Probe
    ) -> None:
        self.connection: RespConnection | None = None
        """The present connection."""
        self.listener: PushListener | None = None
        """Subscribes with each connection, before anything else is sent."""
        self._connector = connector
        self._commands = commands
        self._scripts = scripts
        self._deadlines = deadlines
        self._check_seconds = min(_PING_SECONDS, deadlines.timeout_seconds) / 8
        self._refusals = WriteRefusals()
        self._health = Health(probe, self._refusals)
        self._health_is_due = False
        self._away = False
        self._eviction_policy: str | None = None
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin to connect."""
        self._loop = asyncio.get_running_loop()
        self._tasks.spawn(self._keep_connected())
        self._tasks.spawn(self._watch())

    async def close(self) -> None:
        """Close the connection, for ever."""
        await self._tasks.close()
        await self._health.close()

    async def check(self, *, max_age_seconds: float = 0) -> str | None:
        """Return why Redis cannot be used, or None.

        Args:
            max_age_seconds: how old a shared answer may be. Concurrent callers share one.
        """
        return await self._health.check(self.connection, self._connector.failure, max_age_seconds=max_age_seconds)

    async def _keep_connected(self) -> None:
        while True:
            on_push = _ignore_push if self.listener is None else self.listener.publication
            connection = await self._connector.connect(on_push, self._on_error)
            await self._use(connection)
            log.warning("redis_connection_lost", reason=connection.lost_because)

    async def _use(self, connection: RespConnection) -> None:
        """Use a connection until it is lost."""
        log.info("redis_connected")
        self.connection = connection
        self._set_away(False)
        self._health_is_due = True
        # The listener subscribes first, so that publications of the waiting commands arrive.
        if self.listener is not None:
            self.listener.connected()
        self._commands.connected(connection)
        connection.send(Command(pack("INFO", "memory"), self._on_memory))
        try:
            await connection.lost.wait()
        finally:
            self.connection = None
            connection.abort("The service stops")
            self._commands.disconnected()

    async def _watch(self) -> None:
        """Fail commands at their deadline, and drop a connection that is silent."""
        pinged_at = probed_at = 0.0
        while True:
            await asyncio.sleep(self._check_seconds)
            now = self._loop.time()
            if self._commands.abandon_overdue(now):
                self._set_away(True)
            self._deadlines.refresh(now)
            if connection := self.connection:
                if now - connection.last_answered > _SILENCE_SECONDS:
                    # It may be half open, which TCP alone would not notice for minutes.
                    connection.abort("Redis does not answer")
                elif self._refusals.code == "READONLY" and now - self._connector.connected_at > _REPLICA_SECONDS:
                    # The address may resolve to the new master by now.
                    connection.abort("Redis is a replica")
                elif now - pinged_at > _PING_SECONDS:
                    pinged_at = now
                    connection.send(Command(pack("PING"), self._on_pong))
                    connection.send(Command(pack("TIME"), self._on_time))
                if self._health_is_due or (self._refusals.unwell and now - probed_at > _PING_SECONDS):
                    self._health_is_due, probed_at = False, now
                    self._tasks.spawn(self._check_for_log())

    async def _check_for_log(self) -> None:
        await self.check()

    def _set_away(self, away: bool) -> None:
        if away != self._away:
            self._away = away
            self._deadlines.set_away(away)
            log.warning("redis_away" if away else "redis_back")

    # Replies and errors.

    def _on_pong(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            self._set_away(False)

    def _on_time(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            self._deadlines.set_clock(reply, self._loop.time())

    def _on_memory(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            policy = eviction_policy(reply)
            if policy and policy != self._eviction_policy:  # once, not per connection
                log.warning("redis_may_evict", policy=policy)
            self._eviction_policy = policy

    def _on_error(self, connection: RespConnection, command: Command, error: str) -> None:
        if error.startswith("NOSCRIPT"):
            # Only after SCRIPT FLUSH: the scripts are loaded with each connection.
            self._scripts.forget(command)
            self._commands.hold(command)
        elif error.startswith("OVERDUE"):
            # By Redis's clock the deadline is over. If it is not by ours, the clock was set, or this is another Redis.
            connection.send(Command(pack("TIME"), self._on_time))
            self._commands.hold(command)
        elif error.startswith(_TRANSIENT):
            connection.retry(command, error_code(error))
        elif code := self._refusals.note(error, self._loop.time()):
            # A replica may be about to become the master. Later commands do not wait for that.
            if code == "READONLY" and command.submitted_at <= self._refusals.since:
                self._commands.hold(command)
            else:
                command.answer(unavailable())
        elif error.startswith("BUSY"):  # a script hangs
            command.answer(unavailable())
        elif lacks_right(error) or error.startswith(_ELSEWHERE):
            self._health_is_due = True  # its message says what is wrong
            command.answer(unavailable())
        else:
            command.answer(ResponseError(error))


def _ignore_push(_channel: bytes, _payload: bytes) -> None:
    pass

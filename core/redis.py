"""The connection to Redis: scripts, retries with a deadline, and its health. Knows no keys."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.settings import DEFAULT_URL, Settings
from schemas.errors import Unavailable

log = structlog.get_logger()

T = TypeVar("T")

_SOCKET_SECONDS = 2.0
_POOL_SIZE = 50
_FIRST_PAUSE_SECONDS = 0.02
_LAST_PAUSE_SECONDS = 0.5
_TRANSIENT = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    # redis-py loads a script that Redis does not know and runs it again; it may be forgotten in between.
    NoScriptError,
    OSError,
    # uvloop raises a bare one when a connection is reset while it is being made.
    RuntimeError,
)
# How Redis begins to say that it takes no writes now: the disk is full, the replicas are gone, a script hangs.
_REFUSALS = ("MISCONF", "NOREPLICAS", "BUSY")


class Redis:
    """A pool of connections, and how commands run on it.

    redis-py's own retries are off: it would repeat a command whose reply was lost. Ours repeat it as well, so
    every command given to `run` and `call` must have the same effect when it is executed twice.
    """

    def __init__(self, settings: Settings) -> None:
        self.client: Client = Client(
            connection_pool=BlockingConnectionPool.from_url(
                settings.redis_url or DEFAULT_URL,
                # Waits for a free connection, where the default pool would raise.
                max_connections=_POOL_SIZE,
                timeout=_SOCKET_SECONDS,
                socket_timeout=_SOCKET_SECONDS,
                socket_connect_timeout=_SOCKET_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._deadline_seconds = settings.limits.store_seconds
        self._away = False

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command until it gets a definite answer.

        Raises:
            Unavailable: Redis gave none within the deadline, or takes no writes now. The command may have been
                executed. While Redis is known to be away there is one short try.
        """
        pause = _FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout(1.0 if self._away else self._deadline_seconds):
                while True:
                    try:
                        result = await command()
                    except _TRANSIENT:
                        if self._away:
                            raise
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _LAST_PAUSE_SECONDS)
                    else:
                        self._set_away(False)
                        return result
        except OutOfMemoryError:
            raise Unavailable("The server has no room left, try again later.") from None
        except (TimeoutError, *_TRANSIENT):
            self._set_away(True)
            raise Unavailable("The server cannot store anything now, try again later.") from None
        except ResponseError as error:
            if not str(error).startswith(_REFUSALS):
                raise
            raise Unavailable("The server cannot store anything now, try again later.") from None

    def _set_away(self, away: bool) -> None:
        if away != self._away:
            self._away = away
            log.warning("redis_away" if away else "redis_back")

    async def ping(self) -> str | None:
        """Return why Redis cannot be used, or None."""
        try:
            async with asyncio.timeout(1):
                await self.client.ping()
        except (TimeoutError, RedisError, OSError, RuntimeError) as error:
            return f"Redis does not answer: {type(error).__name__}"
        return None

    def script(self, *names: str) -> "Script":
        """Load the script made of these files of `core/lua`, the last of which does the work."""
        return Script(self, names)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose(close_connection_pool=True)


class Script:
    """A Lua script: one atomic step in Redis."""

    def __init__(self, redis: Redis, names: Sequence[str]) -> None:
        folder = files("core") / "lua"
        text = "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in ("prelude", *names))
        self._redis = redis
        self._script = redis.client.register_script(text)

    async def __call__(self, keys: Sequence[str], *args: str | bytes | int) -> Any:
        """Run the script; raises as `Redis.call` does."""
        return await self._redis.call(lambda: self._script(keys=keys, args=args))

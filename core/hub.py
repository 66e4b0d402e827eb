"""Hub: this process's one listener on Redis pub/sub. A publication is a hint; nobody relies on getting it.

The hub never dies: it reconnects for ever, subscribes again, and tells each listener that publications may
have been missed. Redis loses a subscriber silently in several ways (a cut connection, a full output buffer, a
half-open TCP connection), so the hub sends a ping every second and drops a connection that is silent for three.
"""

import asyncio
import random
from collections import Counter
from typing import Any, Protocol

import structlog
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.settings import DEFAULT_URL, Settings
from core.tasks import Tasks
from schemas.errors import Unavailable

log = structlog.get_logger()

_CONNECT_SECONDS = 2.0
_PING_SECONDS = 1.0
_SILENCE_SECONDS = 3.0
_FIRST_PAUSE_SECONDS = 0.05
_LAST_PAUSE_SECONDS = 1.0


class Listener(Protocol):
    """What wants the publications of a channel. Both methods return at once."""

    def publication(self, payload: bytes) -> None:
        """Take a publication."""

    def missed(self) -> None:
        """Publications may have been lost: read the truth."""


class _Subscription:
    def __init__(self, listener: Listener, *, sharded: bool) -> None:
        self.listener = listener
        self.sharded = sharded
        self.confirmed = asyncio.Event()


class Hub:
    """Channels and their listeners, over one connection."""

    def __init__(self, settings: Settings) -> None:
        self._pool = ConnectionPool.from_url(
            settings.redis_url or DEFAULT_URL,
            # With RESP2 every reply of a subscriber connection is a list, pongs included.
            protocol=2,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._deadline_seconds = settings.limits.store_seconds
        self._subscriptions: dict[str, _Subscription] = {}
        # Subscribe commands that Redis has not confirmed on this connection. Counted, because a channel may be
        # dropped and taken again before the first confirmation arrives.
        self._unconfirmed: Counter[str] = Counter()
        self._commands: list[tuple[str, str]] = []
        self._wake = asyncio.Event()
        self._tasks = Tasks()
        self.listening = False
        """Whether the connection stands; publications may be missed while it does not."""

    def start(self) -> None:
        """Begin to listen."""
        self._tasks.spawn(self._run())

    async def close(self) -> None:
        """Stop listening."""
        await self._tasks.close()
        await self._pool.aclose()

    def subscribe(self, channel: str, listener: Listener, *, sharded: bool = False) -> None:
        """Bring a channel's publications to a listener; from when on is what `confirmed` tells.

        Args:
            channel: has one listener at a time.
            listener: told of publications and of possible losses.
            sharded: whether it is one of Redis's shard channels, which stay in their cluster slot.
        """
        subscription = self._subscriptions[channel] = _Subscription(listener, sharded=sharded)
        if self.listening:
            self._send_subscribe(channel, subscription)

    async def confirmed(self, channel: str) -> None:
        """Wait until Redis has confirmed the subscription: whatever is published from now on arrives.

        Raises:
            Unavailable: not in time.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await self._subscriptions[channel].confirmed.wait()
        except TimeoutError:
            raise Unavailable("The server cannot deliver anything now, try again later.") from None

    def unsubscribe(self, channel: str) -> None:
        """End a subscription."""
        subscription = self._subscriptions.pop(channel)
        if self.listening:
            self._send("SUNSUBSCRIBE" if subscription.sharded else "UNSUBSCRIBE", channel)

    def _send_subscribe(self, channel: str, subscription: _Subscription) -> None:
        self._unconfirmed[channel] += 1
        self._send("SSUBSCRIBE" if subscription.sharded else "SUBSCRIBE", channel)

    def _send(self, command: str, channel: str) -> None:
        self._commands.append((command, channel))
        self._wake.set()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        told = False
        while True:
            connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                pause, told = _FIRST_PAUSE_SECONDS, False
                await self._serve(connection)
            except (RedisError, OSError, RuntimeError) as error:  # the last one by uvloop, see core.redis
                if not told:  # once an outage, not once a try
                    log.warning("hub_connection_lost", reason=type(error).__name__)
                told = True
            finally:
                self.listening = False
                await connection.disconnect(nowait=True)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads reconnects, guards nothing
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def _serve(self, connection: AbstractConnection) -> None:
        self._commands.clear()
        self._unconfirmed.clear()
        for channel, subscription in self._subscriptions.items():
            self._send_subscribe(channel, subscription)
        self.listening = True
        log.info("hub_listening", channels=len(self._subscriptions))
        writer = asyncio.create_task(self._write(connection))
        try:
            await self._read(connection)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            self._wake.clear()
            commands, self._commands = self._commands, []
            await connection.send_packed_command(connection.pack_commands([*commands, ("PING",)]))
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            reply = await connection.read_response(timeout=_SILENCE_SECONDS)
            if reply is None:
                raise TimeoutError
            self._dispatch(reply)

    def _dispatch(self, reply: list[Any]) -> None:
        match reply:
            case [b"message" | b"smessage", channel, payload]:
                if subscription := self._subscriptions.get(channel.decode()):
                    subscription.listener.publication(payload)
            case [b"subscribe" | b"ssubscribe", channel, _]:
                self._confirm(channel.decode())
            case [b"pong", _] | b"PONG" | [b"unsubscribe" | b"sunsubscribe", *_]:
                pass
            case _:
                log.warning("hub_unknown_reply", kind=str(reply)[:40])

    def _confirm(self, channel: str) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel]:
            return
        del self._unconfirmed[channel]
        if (subscription := self._subscriptions.get(channel)) is None:
            return
        if subscription.confirmed.is_set():
            subscription.listener.missed()
        else:
            subscription.confirmed.set()

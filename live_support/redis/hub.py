"""Hub: this process's subscriptions on Redis pub/sub. A publication is a hint; nothing depends on its arrival.

It shares the connection of `live_support.redis.client`. Whenever that was made again, the hub subscribes again and
tells each listener that publications may have been missed. A subscription that Redis refuses, because it is busy, still
loading, or does not allow it, is tried again until it stands or is no longer wanted.
"""

import asyncio
from functools import partial
from itertools import islice
from typing import Protocol

import structlog
from redis.exceptions import ResponseError

from live_support.redis.client import RedisClient
from live_support.redis.connection import Command, OnReply, pack
from live_support.redis.errors import error_code
from live_support.settings import Settings
from schemas.errors import Unavailable

log = structlog.get_logger()

_FIRST_PAUSE_SECONDS = 0.05
_LAST_PAUSE_SECONDS = 1.0
_AGAIN_AT_ONCE = 1000


class Listener(Protocol):
    """Receives the publications of a channel. Both methods return at once."""

    def publication(self, payload: bytes) -> None:
        """Handle a publication."""
        ...

    def missed(self) -> None:
        """Note that publications may have been lost, and read the data itself."""
        ...


class _Subscription:
    def __init__(self, listener: Listener, *, sharded: bool) -> None:
        self.listener = listener
        self.begin, self.end = ("ssubscribe", "sunsubscribe") if sharded else ("subscribe", "unsubscribe")
        self.confirmed = asyncio.Event()


class Hub:
    """Channels and their listeners."""

    def __init__(self, redis: RedisClient, settings: Settings) -> None:
        self._redis = redis
        self._deadline_seconds = settings.limits.store_seconds
        self._subscriptions: dict[bytes, _Subscription] = {}
        # Channels whose subscription or its end Redis has refused, the last refused one last.
        self._refused: dict[bytes, _Subscription] = {}
        self._pause = _FIRST_PAUSE_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._told: dict[str, str] = {}
        redis.listen(self)

    @property
    def listening(self) -> bool:
        """Whether publications arrive: there is a connection, and no wanted subscription is refused."""
        wanted = self._subscriptions
        return self._redis.connected and not any(wanted.get(channel) is it for channel, it in self._refused.items())

    def subscribe(self, channel: str, listener: Listener, *, sharded: bool = False) -> None:
        """Subscribe a listener to a channel; `confirmed` waits until publications arrive.

        Args:
            channel: the channel; it may have one listener at a time.
            listener: called with publications, and when some may have been lost.
            sharded: whether it is a shard channel of Redis, which belongs to one slot of a cluster.
        """
        subscription = self._subscriptions[channel.encode()] = _Subscription(listener, sharded=sharded)
        self._send(channel.encode(), subscription)

    async def confirmed(self, channel: str) -> None:
        """Wait until Redis has confirmed the subscription: later publications arrive.

        Raises:
            Unavailable: Redis did not confirm it in time.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await self._subscriptions[channel.encode()].confirmed.wait()
        except TimeoutError:
            raise Unavailable("The server cannot deliver anything now, try again later.") from None

    def unsubscribe(self, channel: str) -> None:
        """End a subscription."""
        name = channel.encode()
        subscription = self._subscriptions.pop(name)
        self._refused.pop(name, None)
        self._send_end(name, subscription)

    def connected(self) -> None:
        """Subscribe again on a new connection."""
        self._refused.clear()
        self._pause = _FIRST_PAUSE_SECONDS
        for channel, subscription in self._subscriptions.items():
            self._send(channel, subscription)

    def publication(self, channel: bytes, payload: bytes) -> None:
        """Pass a publication to the channel's listener."""
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        try:
            subscription.listener.publication(payload)
        except Exception as error:  # the other listeners want theirs
            log.error("publication_failed", exc_info=error)

    def _send(self, channel: bytes, subscription: _Subscription) -> None:
        self._command(subscription.begin, channel, partial(self._confirm, channel, subscription))

    def _send_end(self, channel: bytes, subscription: _Subscription) -> None:
        self._command(subscription.end, channel, partial(self._ended, channel, subscription))

    def _command(self, kind: str, channel: bytes, on_reply: OnReply) -> None:
        confirmation = (kind.encode(), channel)
        self._redis.send(Command(pack(kind, channel), on_reply, channel.decode(), confirmation=confirmation))

    def _confirm(self, channel: bytes, subscription: _Subscription, reply: Exception | None) -> None:
        if isinstance(reply, ConnectionError) or self._subscriptions.get(channel) is not subscription:
            return  # it is made again with the connection, or no longer wanted
        if reply is not None:
            code = error_code(reply)
            if self._told.get(subscription.begin) != code:  # once, not per attempt and channel
                log.error("subscription_refused", kind=subscription.begin, reason=code)
                self._told[subscription.begin] = code
            self._refuse(channel, subscription)
            return
        self._refused.pop(channel, None)
        if after := self._told.pop(subscription.begin, ""):
            log.warning("subscription_accepted", kind=subscription.begin, after=after)
        if subscription.confirmed.is_set():
            subscription.listener.missed()
        else:
            subscription.confirmed.set()

    def _ended(self, channel: bytes, subscription: _Subscription, reply: Exception | None) -> None:
        # An end that is not allowed would be refused for ever, and costs no more than unused publications.
        if isinstance(reply, ResponseError) and channel not in self._subscriptions and error_code(reply) != "NOPERM":
            self._refuse(channel, subscription)

    def _refuse(self, channel: bytes, subscription: _Subscription) -> None:
        self._refused.pop(channel, None)
        self._refused[channel] = subscription
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        if not self._refused or not self._redis.connected:
            self._pause = _FIRST_PAUSE_SECONDS
            return
        self._pause = min(2 * self._pause, _LAST_PAUSE_SECONDS)
        for channel, subscription in tuple(islice(self._refused.items(), _AGAIN_AT_ONCE)):
            # Confirmed ones leave the table, refused ones go to its end.
            if self._subscriptions.get(channel) is subscription:
                self._send(channel, subscription)
            else:
                del self._refused[channel]
                if channel not in self._subscriptions:
                    self._send_end(channel, subscription)
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._try_again)

"""Hub: this process's listener on Redis pub/sub. A publication is a hint; nobody relies on getting it.

It shares the connection of `core.redis`. Whenever that was made again, the hub subscribes again and tells each
listener that publications may have been missed.
"""

import asyncio
from functools import partial
from typing import Protocol

import structlog

from core.redis import Redis
from core.resp import Command, ignore, pack
from core.settings import Settings
from schemas.errors import Unavailable

log = structlog.get_logger()


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
    """Channels and their listeners."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._deadline_seconds = settings.limits.store_seconds
        self._subscriptions: dict[bytes, _Subscription] = {}
        redis.listen(self._subscribe_again, self._take)

    @property
    def listening(self) -> bool:
        """Whether publications arrive."""
        return self._redis.connected

    def subscribe(self, channel: str, listener: Listener, *, sharded: bool = False) -> None:
        """Bring a channel's publications to a listener; from when on is what `confirmed` tells.

        Args:
            channel: has one listener at a time.
            listener: told of publications and of possible losses.
            sharded: whether it is one of Redis's shard channels, which stay in their cluster slot.
        """
        subscription = self._subscriptions[channel.encode()] = _Subscription(listener, sharded=sharded)
        self._send(channel.encode(), subscription)

    async def confirmed(self, channel: str) -> None:
        """Wait until Redis has confirmed the subscription: whatever is published from now on arrives.

        Raises:
            Unavailable: not in time.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await self._subscriptions[channel.encode()].confirmed.wait()
        except TimeoutError:
            raise Unavailable("The server cannot deliver anything now, try again later.") from None

    def unsubscribe(self, channel: str) -> None:
        """End a subscription."""
        name = channel.encode()
        kind = "sunsubscribe" if self._subscriptions.pop(name).sharded else "unsubscribe"
        self._redis.send(Command(pack(kind, name), ignore, confirmation=(kind.encode(), name)))

    def _subscribe_again(self) -> None:
        for channel, subscription in self._subscriptions.items():
            self._send(channel, subscription)

    def _send(self, channel: bytes, subscription: _Subscription) -> None:
        kind = "ssubscribe" if subscription.sharded else "subscribe"
        on_reply = partial(self._confirm, channel, subscription)
        self._redis.send(Command(pack(kind, channel), on_reply, confirmation=(kind.encode(), channel)))

    def _confirm(self, channel: bytes, subscription: _Subscription, reply: Exception | None) -> None:
        if isinstance(reply, ConnectionError) or self._subscriptions.get(channel) is not subscription:
            return  # it is made again with the connection, or nobody wants it any more
        if reply is not None:
            log.error("subscription_refused", reason=str(reply))
        elif subscription.confirmed.is_set():
            subscription.listener.missed()
        else:
            subscription.confirmed.set()

    def _take(self, channel: bytes, payload: bytes) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        try:
            subscription.listener.publication(payload)
        except Exception as error:  # the other listeners want theirs
            log.error("publication_failed", exc_info=error)

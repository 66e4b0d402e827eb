"""Hub: it never dies, and it says when publications may have been lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

import live_support.redis.connector
import live_support.redis.hub
import live_support.redis.supervisor
from live_support.limits import Limits
from live_support.redis.hub import Hub
from live_support.settings import Settings
from schemas.errors import Unavailable
from tests.helpers.keys import make_redis
from tests.helpers.proxy import RedisProxy, Words, answered_with
from tests.helpers.services import UNIT, eventually, make_settings, replace

CHANNEL = "live-support:chat:{test}:live"


class Recorder:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.losses = 0

    def publication(self, payload: bytes) -> None:
        self.heard.append(payload)

    def missed(self) -> None:
        self.losses += 1

    async def hears(self, *payloads: bytes) -> None:
        """Wait for so many publications, which must be these."""
        await eventually(lambda: len(self.heard) >= len(payloads))
        assert self.heard == list(payloads)

    async def has_missed(self, losses: int = 1) -> None:
        await eventually(lambda: self.losses >= losses)


@pytest.fixture
def listener() -> Recorder:
    return Recorder()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Hub]:
    redis = make_redis(settings)
    hub = Hub(redis, settings)
    redis.start()
    try:
        yield hub
    finally:
        async with asyncio.timeout(20 * UNIT):
            await redis.close()


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[Hub]:
    async with running(settings) as hub:
        await eventually(lambda: hub.listening)
        yield hub


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[RedisProxy]:
    async with RedisProxy.to(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def far_hub(proxy: RedisProxy, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A hub behind the proxy, which finds out in a few units that a connection is dead."""
    monkeypatch.setattr(live_support.redis.connector, "_CONNECT_SECONDS", 5 * UNIT)
    for name, units in {"_PING_SECONDS": 1, "_SILENCE_SECONDS": 5}.items():
        monkeypatch.setattr(live_support.redis.supervisor, name, units * UNIT)
    async with running(replace(settings, redis_url=proxy.url)) as hub:
        await eventually(lambda: hub.listening)
        yield hub


# Subscribing.


@pytest.mark.parametrize("sharded", [False, True], ids=["broadcast", "sharded"])
async def test_what_is_published_after_the_confirmation_arrives(
    hub: Hub, redis: Redis, listener: Recorder, sharded: bool
) -> None:
    hub.subscribe(CHANNEL, listener, sharded=sharded)
    await hub.confirmed(CHANNEL)
    for payload in ("one", "two"):
        await (redis.spublish(CHANNEL, payload) if sharded else redis.publish(CHANNEL, payload))
    await listener.hears(b"one", b"two")
    assert listener.losses == 0


async def test_each_channel_has_its_listener(hub: Hub, redis: Redis) -> None:
    listeners = {f"{CHANNEL}{number}": Recorder() for number in range(100)}
    for channel, listener in listeners.items():
        hub.subscribe(channel, listener)
    for channel in listeners:
        await hub.confirmed(channel)
        await redis.publish(channel, channel)
    for channel, listener in listeners.items():
        await listener.hears(channel.encode())


async def test_nothing_arrives_after_the_end_of_a_subscription(hub: Hub, redis: Redis, listener: Recorder) -> None:
    hub.subscribe(CHANNEL, listener)
    await hub.confirmed(CHANNEL)
    hub.unsubscribe(CHANNEL)
    await eventually(lambda: _has_subscribers(redis, 0))
    assert await redis.publish(CHANNEL, "late") == 0
    assert listener.heard == []


async def test_a_channel_that_is_dropped_and_taken_again_at_once_is_confirmed(
    hub: Hub, redis: Redis, listener: Recorder
) -> None:
    dropped = Recorder()
    for _ in range(20):
        hub.subscribe(CHANNEL, dropped)
        hub.unsubscribe(CHANNEL)
    hub.subscribe(CHANNEL, listener)
    await hub.confirmed(CHANNEL)
    await redis.publish(CHANNEL, "one")
    await listener.hears(b"one")
    assert (dropped.heard, dropped.losses, listener.losses) == ([], 0, 0)


async def test_the_confirmation_of_an_earlier_subscription_is_not_taken_for_the_latest(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder
) -> None:
    proxy.freeze()
    for _ in range(2):
        far_hub.subscribe(CHANNEL, listener)
        far_hub.unsubscribe(CHANNEL)
    far_hub.subscribe(CHANNEL, listener)
    confirmed = asyncio.create_task(far_hub.confirmed(CHANNEL))
    proxy.heal()
    await confirmed
    await redis.publish(CHANNEL, "one")
    await listener.hears(b"one")


async def test_a_subscription_before_the_start_is_made_then(settings: Settings, redis: Redis) -> None:
    redis_client, listener = make_redis(settings), Recorder()
    hub = Hub(redis_client, settings)
    hub.subscribe(CHANNEL, listener)
    redis_client.start()
    await hub.confirmed(CHANNEL)
    await redis.publish(CHANNEL, "one")
    await listener.hears(b"one")
    await redis_client.close()


async def test_a_subscription_that_redis_does_not_confirm_is_unavailable(listener: Recorder) -> None:
    settings = replace(make_settings("redis://127.0.0.1:1"), limits=Limits(store_seconds=UNIT))
    async with running(settings) as hub:
        hub.subscribe(CHANNEL, listener)
        with pytest.raises(Unavailable):
            await hub.confirmed(CHANNEL)


# Refusals.

ERRORS = [
    "BUSY Redis is busy running a script.",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down",
    "CLUSTERDOWN The cluster is down",
    "NOPERM User nika has no permissions to access one of the channels used as arguments",
    "OOM command not allowed",
    "ERR something else",
]


class Refusing:
    """Lets a server refuse every command of a kind on the tests' channels."""

    def __init__(self, kind: str, error: str) -> None:
        self._kind = kind.encode()
        self._error = error
        self.count = 0

    def __call__(self, words: Words) -> Words:
        if words[0].lower() != self._kind or not words[1].startswith(CHANNEL.encode()):
            return words
        self.count += 1
        return answered_with(self._error)


@pytest.mark.parametrize("error", ERRORS, ids=[error.partition(" ")[0] for error in ERRORS])
@pytest.mark.parametrize("kind", ["subscribe", "ssubscribe"])
async def test_a_refused_subscription_is_tried_again_until_it_stands(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder, error: str, kind: str
) -> None:
    refusing = proxy.rewrite = Refusing(kind, error)
    with capture_logs() as logs:
        far_hub.subscribe(CHANNEL, listener, sharded=kind == "ssubscribe")
        waiting = asyncio.create_task(far_hub.confirmed(CHANNEL))
        await eventually(lambda: refusing.count >= 3)
        assert not far_hub.listening, "health must not say ok"
        proxy.rewrite = None
        await waiting
    await eventually(lambda: far_hub.listening)
    await (redis.spublish(CHANNEL, "one") if kind == "ssubscribe" else redis.publish(CHANNEL, "one"))
    await listener.hears(b"one")
    told = [(log["event"], log.get("reason") or log.get("after")) for log in logs if "subscription" in log["event"]]
    code = error.partition(" ")[0]
    assert told == [("subscription_refused", code), ("subscription_accepted", code)]


async def test_two_who_want_a_channel_in_turn_both_get_it_though_redis_refused_it(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder
) -> None:
    refusing = proxy.rewrite = Refusing("subscribe", ERRORS[0])
    dropped = Recorder()
    far_hub.subscribe(CHANNEL, dropped)
    await eventually(lambda: refusing.count >= 2)
    far_hub.unsubscribe(CHANNEL)
    far_hub.subscribe(CHANNEL, listener)
    await eventually(lambda: refusing.count >= 4)
    proxy.rewrite = None
    await far_hub.confirmed(CHANNEL)
    await redis.publish(CHANNEL, "one")
    await listener.hears(b"one")
    assert (dropped.heard, dropped.losses, listener.losses) == ([], 0, 0)


async def test_a_refused_subscription_that_nobody_wants_is_given_up(
    far_hub: Hub, proxy: RedisProxy, redis: Redis
) -> None:
    refusing = proxy.rewrite = Refusing("subscribe", ERRORS[0])
    far_hub.subscribe(CHANNEL, Recorder())
    await eventually(lambda: refusing.count >= 2)
    far_hub.unsubscribe(CHANNEL)
    assert far_hub.listening
    proxy.rewrite = None
    far_hub.subscribe("another", Recorder())
    await far_hub.confirmed("another")
    assert await redis.pubsub_numsub(CHANNEL) == [(CHANNEL, 0)]


async def test_a_subscription_that_is_refused_after_a_lost_connection_is_tried_again_and_tells_of_the_loss(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder
) -> None:
    far_hub.subscribe(CHANNEL, listener)
    await far_hub.confirmed(CHANNEL)
    refusing = proxy.rewrite = Refusing("subscribe", ERRORS[0])
    proxy.cut()
    await eventually(lambda: refusing.count >= 2)
    assert (far_hub.listening, listener.losses) == (False, 0)
    proxy.rewrite = None
    await _goes_on(redis, listener)
    await eventually(lambda: far_hub.listening)


async def test_a_refused_end_of_a_subscription_is_tried_again(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder
) -> None:
    far_hub.subscribe(CHANNEL, listener)
    await far_hub.confirmed(CHANNEL)
    refusing = proxy.rewrite = Refusing("unsubscribe", ERRORS[0])
    far_hub.unsubscribe(CHANNEL)
    await eventually(lambda: refusing.count >= 2)
    assert far_hub.listening
    proxy.rewrite = None
    await eventually(lambda: _has_subscribers(redis, 0))


async def test_thousands_of_refused_subscriptions_are_not_tried_all_at_once(
    far_hub: Hub, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_support.redis.hub, "_AGAIN_AT_ONCE", 10)
    monkeypatch.setattr(live_support.redis.hub, "_FIRST_PAUSE_SECONDS", 2 * UNIT)
    refusing = proxy.rewrite = Refusing("subscribe", ERRORS[0])
    channels = [f"{CHANNEL}{number}" for number in range(30)]
    for channel in channels:
        far_hub.subscribe(channel, Recorder())
    await eventually(lambda: refusing.count >= 40)
    assert refusing.count == 40, "the first time, and one round of ten"
    proxy.rewrite = None
    for channel in channels:
        await far_hub.confirmed(channel)


# Losing the connection.


async def _has_subscribers(redis: Redis, count: int) -> bool:
    return await redis.pubsub_numsub(CHANNEL) == [(CHANNEL, count)]


async def _goes_on(redis: Redis, listener: Recorder) -> None:
    await listener.has_missed()
    listener.heard.clear()
    assert await redis.publish(CHANNEL, "again") == 1
    await listener.hears(b"again")


async def test_a_killed_subscriber_returns_and_tells_of_the_loss(hub: Hub, redis: Redis, listener: Recorder) -> None:
    hub.subscribe(CHANNEL, listener)
    await hub.confirmed(CHANNEL)
    for losses in (1, 2, 3):
        assert await redis.client_kill_filter(_type="pubsub") >= 1
        await listener.has_missed(losses)
    await _goes_on(redis, listener)
    assert listener.losses == 3, "one loss is told once"


async def test_a_cut_connection_is_made_again(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder
) -> None:
    far_hub.subscribe(CHANNEL, listener)
    await far_hub.confirmed(CHANNEL)
    proxy.cut()
    await _goes_on(redis, listener)


async def test_a_black_hole_is_noticed(far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder) -> None:
    far_hub.subscribe(CHANNEL, listener)
    await far_hub.confirmed(CHANNEL)
    proxy.freeze()
    await eventually(lambda: not far_hub.listening)
    proxy.heal()
    await _goes_on(redis, listener)


async def test_an_outage_of_many_tries_is_survived(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder
) -> None:
    far_hub.subscribe(CHANNEL, listener)
    await far_hub.confirmed(CHANNEL)
    proxy.refuse()
    await eventually(lambda: not far_hub.listening)
    tries = proxy.connections
    await eventually(lambda: proxy.connections >= tries + 3)
    proxy.heal()
    await _goes_on(redis, listener)


async def test_a_channel_taken_during_an_outage_is_subscribed_to_afterwards(
    far_hub: Hub, proxy: RedisProxy, redis: Redis, listener: Recorder
) -> None:
    proxy.refuse()
    await eventually(lambda: not far_hub.listening)
    dropped = Recorder()
    far_hub.subscribe("dropped", dropped)
    far_hub.unsubscribe("dropped")
    far_hub.subscribe(CHANNEL, listener)
    proxy.heal()
    await far_hub.confirmed(CHANNEL)
    await redis.publish(CHANNEL, "one")
    await listener.hears(b"one")
    assert await redis.pubsub_numsub("dropped") == [("dropped", 0)]


# Ending.


@pytest.mark.parametrize("trouble", ["none", "refuse", "freeze", "cut"])
async def test_a_hub_closes_promptly_whatever_its_connection_does(
    settings: Settings, proxy: RedisProxy, trouble: str
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            # `running` allows little time for the end.
            hub = await stack.enter_async_context(running(replace(settings, redis_url=proxy.url)))
            hub.subscribe(CHANNEL, Recorder())
            await hub.confirmed(CHANNEL)
        if trouble != "none":
            getattr(proxy, trouble)()
        if trouble == "refuse":
            tries = proxy.connections
            await eventually(lambda: proxy.connections >= tries + 3)

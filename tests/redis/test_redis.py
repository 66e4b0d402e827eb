"""The way to Redis: what is sent again, for how long, and what a client then hears."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

import live_support.redis.command_queue
import live_support.redis.deadlines
import live_support.redis.supervisor
from live_support.chats.address_rate import AddressRate
from live_support.chats.store import ChatStore
from live_support.limits import Limits
from live_support.rate import Rate
from live_support.redis.address import Address
from live_support.redis.client import RedisClient
from live_support.redis.connection import Command, RespConnection, ignore, pack
from live_support.redis.supervisor import ConnectionSupervisor
from live_support.settings import Settings
from schemas.errors import Unavailable
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS, make_redis
from tests.helpers.proxy import RedisProxy
from tests.helpers.services import DEADLINE, UNIT, Stopwatch, eventually, replace

DEADLINE_SECONDS = 3 * UNIT
"""How long the Redis of these tests tries to store something."""


@pytest.fixture
async def hasty(proxy: RedisProxy, settings: Settings) -> AsyncIterator[RedisClient]:
    """A Redis that soon gives up."""
    redis = make_redis(replace(settings, redis_url=proxy.url, limits=Limits(store_seconds=DEADLINE_SECONDS)))
    yield redis
    await redis.close()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[RedisProxy]:
    async with RedisProxy.to(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def behind_proxy(proxy: RedisProxy, settings: Settings) -> AsyncIterator[RedisClient]:
    redis = make_redis(replace(settings, redis_url=proxy.url))
    yield redis
    await redis.close()


class Recorder:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def connected(self) -> None:
        pass

    def publication(self, channel: bytes, payload: bytes) -> None:  # noqa: ARG002
        self.payloads.append(payload)


async def test_each_command_gets_its_own_reply(redis_client: RedisClient) -> None:
    assert await asyncio.gather(*(redis_client.run("ECHO", str(number)) for number in range(1000))) == [
        str(number).encode() for number in range(1000)
    ]


async def test_many_commands_at_once_keep_their_order(redis_client: RedisClient) -> None:
    echoes = await redis_client.run_all([("ECHO", str(number)) for number in range(1000)])
    assert echoes == [str(number).encode() for number in range(1000)]
    assert await redis_client.run_all([]) == []
    with pytest.raises(ResponseError):
        await redis_client.run_all([("ECHO", "one"), ("NONSENSE", "two"), ("ECHO", "three")])


async def test_commands_of_one_turn_of_the_loop_leave_in_one_write(
    behind_proxy: RedisClient, proxy: RedisProxy
) -> None:
    await behind_proxy.run("EXISTS", "live-support:test")
    chunks = proxy.chunks_sent
    await asyncio.gather(*(behind_proxy.run("ECHO", "x") for _ in range(100)))
    assert proxy.chunks_sent - chunks <= 2, "the hundred, and perhaps a ping"


async def test_a_wrong_command_fails_alone(redis_client: RedisClient) -> None:
    replies = await asyncio.gather(
        redis_client.run("ECHO", "one"),
        redis_client.run("NONSENSE", "live-support:test"),
        redis_client.run("ECHO", "two"),
        return_exceptions=True,
    )
    assert (replies[0], type(replies[1]), replies[2]) == (b"one", ResponseError, b"two")


async def test_a_callback_that_fails_disturbs_no_other(redis_client: RedisClient) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    redis_client.submit(("ECHO", "one"), fail)
    assert await redis_client.run("ECHO", "next") == b"next"


async def test_nobody_is_disturbed_by_one_who_does_not_wait(redis_client: RedisClient) -> None:
    await redis_client.run("EXISTS", "live-support:test")
    for turns in range(5):
        given_up = asyncio.ensure_future(redis_client.run("ECHO", "gone"))
        for _ in range(turns):
            await asyncio.sleep(0)
        given_up.cancel()
        assert await redis_client.run("ECHO", str(turns)) == str(turns).encode()


# Losing the connection.


async def test_commands_survive_the_loss_of_the_connection_in_their_order(
    behind_proxy: RedisClient, proxy: RedisProxy, client: Client
) -> None:
    await behind_proxy.run("EXISTS", "live-support:test")
    proxy.freeze()
    writes = [behind_proxy.run("RPUSH", "live-support:test", number) for number in range(100)]
    await asyncio.sleep(0)
    proxy.cut()
    writes += [behind_proxy.run("RPUSH", "live-support:test", number) for number in range(100, 200)]
    proxy.heal()
    await asyncio.gather(*writes)
    stored = [int(number) for number in await client.lrange("live-support:test", 0, -1)]
    # What was executed before the cut is there twice, as the scripts allow for; nothing is missing or overtaken.
    assert stored[-200:] == list(range(200))


async def test_after_the_deadline_redis_is_unavailable_and_then_sooner(
    hasty: RedisClient, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_support.redis.deadlines, "_AWAY_SECONDS", DEADLINE_SECONDS / 3)
    await hasty.run("EXISTS", "live-support:test")

    async def seconds_until_refused() -> float:
        watch = Stopwatch()
        with pytest.raises(Unavailable):
            await hasty.run("EXISTS", "live-support:test")
        return watch.seconds

    proxy.freeze()
    first = await seconds_until_refused()
    assert first >= 0.9 * DEADLINE_SECONDS
    assert await seconds_until_refused() < 0.8 * first
    proxy.refuse()
    assert await seconds_until_refused() < 0.8 * first
    proxy.heal()

    async def is_back() -> bool:
        return await hasty.ping() is None

    await eventually(is_back)
    proxy.freeze()
    assert await seconds_until_refused() >= 0.9 * DEADLINE_SECONDS, "it waits as long as before"
    proxy.heal()


async def test_commands_have_a_deadline_before_the_first_connection(settings: Settings) -> None:
    redis = make_redis(replace(settings, redis_url="redis://127.0.0.1:1", limits=Limits(store_seconds=UNIT)))
    with pytest.raises(Unavailable):
        await redis.run("EXISTS", "live-support:test")
    await redis.close()


async def test_a_half_open_connection_is_noticed_and_its_commands_are_sent_again(
    behind_proxy: RedisClient, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, units in {"_PING_SECONDS": 1, "_SILENCE_SECONDS": 3}.items():
        monkeypatch.setattr(live_support.redis.supervisor, name, units * UNIT)
    assert await behind_proxy.run("ECHO", "one") == b"one"
    proxy.fall_silent()
    assert await behind_proxy.run("ECHO", "two") == b"two"
    assert proxy.connections == 2


async def test_publications_are_no_sign_that_commands_arrive(
    behind_proxy: RedisClient, proxy: RedisProxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, units in {"_PING_SECONDS": 1, "_SILENCE_SECONDS": 4}.items():
        monkeypatch.setattr(live_support.redis.supervisor, name, units * UNIT)
    listener = Recorder()
    behind_proxy.listen(listener)
    await behind_proxy.run("EXISTS", "live-support:test")
    behind_proxy.send(Command(pack("SUBSCRIBE", "news"), ignore, confirmation=(b"subscribe", b"news")))
    await behind_proxy.run("EXISTS", "live-support:test")

    async def publish() -> None:
        while True:
            await client.publish("news", "hey")
            await asyncio.sleep(UNIT / 4)

    publishing = asyncio.create_task(publish())
    try:
        await eventually(lambda: listener.payloads)
        proxy.keep_requests()
        with capture_logs() as logs:
            assert await behind_proxy.run("ECHO", "two") == b"two"
        assert proxy.connections == 2
        assert [log["reason"] for log in logs if log["event"] == "redis_connection_lost"] == ["Redis does not answer"]
    finally:
        publishing.cancel()


async def test_the_log_says_why_a_connection_was_lost(
    behind_proxy: RedisClient, proxy: RedisProxy, client: Client
) -> None:
    await behind_proxy.run("EXISTS", "live-support:test")
    with capture_logs() as logs:
        proxy.cut()
        await behind_proxy.run("EXISTS", "live-support:test")
        await client.client_kill_filter(_type="normal", skipme=True)
        await behind_proxy.run("EXISTS", "live-support:test")
    reasons = [log["reason"] for log in logs if log["event"] == "redis_connection_lost"]
    assert len(reasons) == 2
    assert all(reasons)


async def test_more_commands_than_may_wait_are_refused(settings: Settings, proxy: RedisProxy) -> None:
    redis = make_redis(replace(settings, redis_url=proxy.url, limits=Limits(redis_commands=10)))
    await redis.run("EXISTS", "live-support:test")
    proxy.freeze()
    futures = [redis.run("ECHO", str(number)) for number in range(20)]
    refused = [future for future in futures if future.done() and isinstance(future.exception(), Unavailable)]
    assert len(refused) in (10, 11), "a ping may wait as well"
    proxy.heal()
    assert [await future for future in futures[:9]] == [str(number).encode() for number in range(9)]
    await redis.close()


async def test_what_was_refused_while_redis_was_away_does_not_happen_later(
    hasty: RedisClient, proxy: RedisProxy, client: Client
) -> None:
    await hasty.run("EXISTS", "live-support:test")
    proxy.refuse()
    with pytest.raises(Unavailable):
        await hasty.run("RPUSH", "live-support:test", "refused")
    proxy.heal()

    async def is_back() -> bool:
        return await hasty.ping() is None

    await eventually(is_back)
    await hasty.run("RPUSH", "live-support:test", "taken")
    assert await client.lrange("live-support:test", 0, -1) == [b"taken"]


async def test_what_was_refused_while_it_was_held_does_not_happen_later(
    hasty: RedisClient, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held, because Redis was a replica for a moment, or behind such a one."""
    monkeypatch.setattr(live_support.redis.command_queue, "_HOLD_SECONDS", 2 * DEADLINE_SECONDS)
    await hasty.run("EXISTS", "live-support:test")
    await client.replicaof("127.0.0.1", 1)
    try:
        held = hasty.run("RPUSH", "live-support:test", "held")
        await eventually(lambda: hasty._commands._held)
        behind = hasty.run("RPUSH", "live-support:test", "behind")
    finally:
        await client.replicaof("NO", "ONE")
    for refused in (held, behind):
        with pytest.raises(Unavailable):
            await refused
    await hasty.run("RPUSH", "live-support:test", "taken", timeout_seconds=DEADLINE)
    assert await client.lrange("live-support:test", 0, -1) == [b"taken"]


async def test_a_replica_is_left_for_wherever_the_address_leads_to_now(
    hasty: RedisClient, proxy: RedisProxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_support.redis.supervisor, "_REPLICA_SECONDS", UNIT)
    await hasty.run("EXISTS", "live-support:test")
    await client.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(Unavailable):
            await hasty.run("RPUSH", "live-support:test", "refused")
        await eventually(lambda: proxy.connections >= 2)
    finally:
        await client.replicaof("NO", "ONE")


async def test_a_command_with_a_long_timeout_outlasts_that_redis_is_away_and_is_in_front_of_what_comes_later(
    hasty: RedisClient, proxy: RedisProxy, client: Client
) -> None:
    await hasty.run("EXISTS", "live-support:test")
    proxy.refuse()
    patient = hasty.run("RPUSH", "live-support:test", "patient", timeout_seconds=100 * UNIT)
    for _ in range(2):  # the second knows that Redis is away
        with pytest.raises(Unavailable):
            await hasty.run("RPUSH", "live-support:test", "refused")
    last = hasty.run("RPUSH", "live-support:test", "last", timeout_seconds=100 * UNIT)
    proxy.heal()
    assert (await patient, await last) == (1, 2)
    assert await client.lrange("live-support:test", 0, -1) == [b"patient", b"last"]


async def test_a_command_after_the_end_is_unavailable(settings: Settings) -> None:
    redis = make_redis(settings)
    await redis.run("EXISTS", "live-support:test")
    await redis.close()
    with pytest.raises(Unavailable):
        await redis.run("EXISTS", "live-support:test")


async def test_who_waits_when_redis_is_closed_hears_of_it(settings: Settings, proxy: RedisProxy) -> None:
    redis = make_redis(replace(settings, redis_url=proxy.url))
    await redis.run("EXISTS", "live-support:test")
    proxy.freeze()
    late = redis.run("EXISTS", "live-support:test")
    await redis.close()
    with pytest.raises(Unavailable):
        await late


async def test_ping_says_why_redis_cannot_be_used(behind_proxy: RedisClient, proxy: RedisProxy) -> None:
    await behind_proxy.run("EXISTS", "live-support:test")
    assert await behind_proxy.ping() is None
    proxy.refuse()
    assert await behind_proxy.ping() == "Redis does not answer."
    proxy.heal()

    async def is_back() -> bool:
        return await behind_proxy.ping() is None

    await eventually(is_back)


# What Redis answers when it is not well.


async def test_a_replica_is_asked_again_until_it_is_the_master(redis_client: RedisClient, client: Client) -> None:
    await client.replicaof("127.0.0.1", 1)
    try:
        write = redis_client.run("SET", "live-support:test", "1", "PX", 10_000)
        # One that is only read is answered all the same.
        assert await client.get("live-support:test") is None
        assert not write.done()
    finally:
        await client.replicaof("NO", "ONE")
    assert await write == b"OK"


async def test_without_replicas_that_it_wants_redis_is_unavailable_at_once(hasty: RedisClient, client: Client) -> None:
    await client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(Unavailable):
            await hasty.run("SET", "live-support:test", "1")
    finally:
        await client.config_set("min-replicas-to-write", 0)
    assert await hasty.run("SET", "live-support:test", "1", "PX", 10_000) == b"OK"


# Where it is.


async def test_a_user_with_a_password_and_a_database(settings: Settings, client: Client, redis_url: str) -> None:
    await client.acl_setuser(
        "nika", enabled=True, passwords=["+v:k/a"], keys=["*"], channels=["*"], categories=["+@all"]
    )
    try:
        url = redis_url.replace("redis://", "redis://nika:v%3Ak%2Fa@").rstrip("/")
        redis = make_redis(replace(settings, redis_url=f"{url}/3"))
        await redis.run("SET", "live-support:test", "1", "PX", 10_000)
        assert await redis.run("ACL", "WHOAMI") == b"nika"
        assert await client.get("live-support:test") is None, "it is in another database"
        await redis.close()
    finally:
        await client.acl_deluser("nika")


async def test_a_wrong_password_is_unavailable(settings: Settings, redis_url: str) -> None:
    url = redis_url.replace("redis://", "redis://nobody:wrong@")
    redis = make_redis(replace(settings, redis_url=url, limits=Limits(store_seconds=UNIT)))
    with pytest.raises(Unavailable):
        await redis.run("EXISTS", "live-support:test")
    await redis.close()


# Scripts.


async def test_a_script_that_redis_forgot_is_loaded_again(store: ChatStore, client: Client) -> None:
    chat = await Chat.open(store)
    await chat.say("one")
    await client.script_flush()
    await chat.say("two")
    assert len(await chat.log()) == 2


@pytest.mark.parametrize("meanwhile", ["a message comes", "the connection is lost"])
async def test_messages_keep_their_order_when_redis_forgot_the_scripts(
    settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    refusals: list[str] = []
    third = asyncio.get_running_loop().create_future()
    on_error = ConnectionSupervisor._on_error

    def note(supervisor: ConnectionSupervisor, connection: RespConnection, command: Command, error: str) -> None:
        on_error(supervisor, connection, command, error)
        refusals.append(error)
        if len(refusals) == 1 and meanwhile == "a message comes":
            store.writer(chat.chat_id, "u1", chat.user_id).append("third", third.set_result)
        elif len(refusals) == 1:
            connection.abort("a test")

    monkeypatch.setattr(ConnectionSupervisor, "_on_error", note)
    redis = make_redis(settings)
    store = ChatStore(redis, settings)
    chat = await Chat.open(store)
    await client.script_flush()
    said = ["first", "second"]
    await asyncio.gather(*(chat.say(text) for text in said))
    if meanwhile == "a message comes":
        assert await third == b"stored"
        said.append("third")
    assert refusals
    assert [msgspec.json.decode(entry.body)["content"] for entry in await chat.log()] == said
    await redis.close()


async def test_an_append_whose_answer_was_lost_is_stored_once(
    behind_proxy: RedisClient, proxy: RedisProxy, settings: Settings
) -> None:
    chat = await Chat.open(ChatStore(behind_proxy, settings))
    await chat.say("one")
    proxy.replies_to_lose = 1
    await chat.say("two")
    assert proxy.replies_to_lose == 0
    assert [entry.offset for entry in await chat.log()] == [1, 2]


async def test_a_message_for_which_there_is_no_memory_is_refused(store: ChatStore, client: Client) -> None:
    chat = await Chat.open(store)
    limit = (await client.config_get("maxmemory"))["maxmemory"] or 0
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await chat.say("hey")
    finally:
        await client.config_set("maxmemory", limit)
    assert await chat.log() == []


async def test_more_commands_than_connections_wait_for_each_other(store: ChatStore) -> None:
    chat = await Chat.open(store)
    await asyncio.gather(*(chat.say(str(number)) for number in range(500)))
    assert len(await chat.log()) == 500


# The rate of an address.


async def test_an_address_has_a_burst_and_then_waits(redis_client: RedisClient) -> None:
    rate = AddressRate(redis_client, Rate("3/hour"), KEYS)
    assert [await rate.take("192.0.2.1") for _ in range(3)] == [0, 0, 0]
    assert 0 < await rate.take("192.0.2.1") <= 20 * 60 * 1000


async def test_each_address_has_a_bucket_of_its_own(redis_client: RedisClient) -> None:
    rate = AddressRate(redis_client, Rate("1/hour"), KEYS)
    assert [await rate.take(address) for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1")] == [0, 0, 0]


async def test_all_processes_share_the_bucket_of_an_address(redis_client: RedisClient, hasty: RedisClient) -> None:
    rates = [AddressRate(redis, Rate("2/hour"), KEYS) for redis in (redis_client, hasty)]
    assert [await rate.take("192.0.2.1") for rate in rates] == [0, 0]
    assert await rates[0].take("192.0.2.1") > 0


async def test_of_many_takes_at_once_as_many_pass_as_the_bucket_holds(redis_client: RedisClient) -> None:
    rate = AddressRate(redis_client, Rate("10/hour"), KEYS)
    waits = await asyncio.gather(*(rate.take("192.0.2.1") for _ in range(100)))
    assert waits.count(0) == 10


async def test_what_was_taken_comes_back(redis_client: RedisClient) -> None:
    rate = AddressRate(redis_client, Rate("20/second"), KEYS)
    while not await rate.take("192.0.2.1"):
        pass

    async def is_back() -> bool:
        return await rate.take("192.0.2.1") == 0

    await eventually(is_back)


@pytest.mark.parametrize("hours", [1, 24])
async def test_nobody_is_locked_out_because_the_clock_was_set_back(
    redis_client: RedisClient, client: Client, hours: int
) -> None:
    rate = AddressRate(redis_client, Rate("10/minute"), KEYS)
    assert await rate.take("192.0.2.1") == 0
    # As the clock had it that was ahead.
    full_at = int(await client.get(KEYS.rate("192.0.2.1")) or 0)
    await client.set(KEYS.rate("192.0.2.1"), full_at + hours * 3_600_000_000, ex=hours * 3600)
    assert [await rate.take("192.0.2.1") for _ in range(10)] == 10 * [0]
    assert 0 < await rate.take("192.0.2.1") <= 6000


async def test_a_clock_that_was_set_back_a_little_gives_nothing_away_and_takes_one_interval(
    redis_client: RedisClient, client: Client
) -> None:
    rate = AddressRate(redis_client, Rate("10/minute"), KEYS)
    assert [await rate.take("192.0.2.1") for _ in range(10)] == 10 * [0]
    full_at = int(await client.get(KEYS.rate("192.0.2.1")) or 0)
    await client.set(KEYS.rate("192.0.2.1"), full_at + 30_000_000, ex=90)
    assert 0 < await rate.take("192.0.2.1") <= 6000


async def test_a_bucket_that_is_full_again_leaves_no_key(redis_client: RedisClient, client: Client) -> None:
    assert await AddressRate(redis_client, Rate("20/second"), KEYS).take("192.0.2.1") == 0

    async def is_gone() -> bool:
        return not await client.keys("live-support:rate:*")

    await eventually(is_gone)


# The connection itself.


async def test_a_command_that_is_to_be_sent_again_gets_no_other_ones_reply(redis_url: str) -> None:
    heard: dict[str, object] = {}

    def on_error(connection: RespConnection, command: Command, _: str) -> None:
        connection.retry(command, "a test")

    connection = await Address(redis_url).open(lambda: RespConnection(lambda *_: None, on_error))
    for name, arguments in {"first": ("NONSENSE",), "second": ("ECHO", "x")}.items():
        connection.send(Command(pack(*arguments), partial(heard.__setitem__, name), retryable=True))
    await connection.lost.wait()
    assert heard == {}
    assert [command.packed for command in connection.unanswered] == [pack("NONSENSE"), pack("ECHO", "x")]

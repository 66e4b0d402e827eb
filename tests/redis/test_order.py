"""A sender's order, and what comes late: neither an error in between nor data that was long on its way breaks them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis as Client

import live_support.redis.deadlines
import live_support.redis.supervisor
from live_support.chats.address_rate import AddressRate
from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore
from live_support.chats.writer import append_error
from live_support.limits import Limits
from live_support.rate import Rate
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from schemas.errors import Unavailable
from tests.helpers.chats import Chat, hex_id
from tests.helpers.keys import KEYS, make_redis
from tests.helpers.proxy import RedisProxy, Words, answered_with
from tests.helpers.queue import by
from tests.helpers.services import DEADLINE, UNIT, eventually, replace

ERRORS = [
    "NOSCRIPT No matching script.",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MASTERDOWN Link with MASTER is down",
    "CLUSTERDOWN The cluster is down",
    "BUSY Redis is busy running a script.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Errors writing to the AOF file",
    "NOREPLICAS Not enough good replicas to write.",
    "NOPERM this user has no permissions to run the 'evalsha' command",
    "MOVED 1234 127.0.0.1:7001",
    "OVERDUE nobody waits any more",
]


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[RedisProxy]:
    async with RedisProxy.to(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def far_redis(proxy: RedisProxy, settings: Settings) -> AsyncIterator[RedisClient]:
    redis = make_redis(replace(settings, redis_url=proxy.url))
    yield redis
    await redis.close()


@pytest.fixture
async def far_store(far_redis: RedisClient, settings: Settings) -> ChatStore:
    return ChatStore(far_redis, settings)


class Sender:
    """One connection that says 1, 2, 3 ... without waiting, and what became of each."""

    def __init__(self, chat: Chat, connection: str = "u1") -> None:
        self._writer = chat.store.writer(chat.chat_id, connection, chat.user_id)
        self.outcomes: dict[int, Exception | None] = {}
        self._said = 0

    def say(self, count: int) -> None:
        for _ in range(count):
            self._said += 1
            self._writer.append(str(self._said), partial(self._hear, self._said))

    def _hear(self, number: int, reply: bytes | Exception) -> None:
        assert number not in self.outcomes, "answered twice"
        self.outcomes[number] = append_error(reply)

    async def everything_is_answered(self) -> None:
        await eventually(lambda: len(self.outcomes) == self._said)

    @property
    def stored(self) -> list[int]:
        return sorted(number for number, error in self.outcomes.items() if error is None)


async def log_of(chat: Chat) -> list[int]:
    return [int(msgspec.json.decode(entry.body)["content"]) for entry in await chat.log()]


def refuse_once(proxy: RedisProxy, number: int, *errors: str) -> None:
    """Let the server answer the message of this number with these errors, one each time that it comes."""
    left = list(errors)

    def rewrite(words: Words) -> Words:
        if left and any(word.startswith(b"said:") for word in words) and b"%d" % number in words[-3:]:
            return answered_with(left.pop(0))
        return words

    proxy.rewrite = rewrite


@pytest.mark.parametrize("position", [1, 2, 4, 5])
@pytest.mark.parametrize("error", ERRORS, ids=[error.partition(" ")[0] for error in ERRORS])
async def test_one_of_several_that_is_refused_for_a_moment_does_not_change_the_order(
    far_store: ChatStore, proxy: RedisProxy, error: str, position: int
) -> None:
    chat = await Chat.open(far_store)
    sender = Sender(chat)
    refuse_once(proxy, position, error)
    sender.say(5)
    await sender.everything_is_answered()
    proxy.rewrite = None
    assert await log_of(chat) == sender.stored
    assert {1, 2, 3, 4, 5} - {position} <= set(sender.stored)
    assert isinstance(sender.outcomes[position], Unavailable | None)
    sender.say(2)
    await sender.everything_is_answered()
    assert await log_of(chat) == sender.stored
    assert sender.stored[-2:] == [6, 7], "and it goes on"


@pytest.mark.parametrize("error", ["NOSCRIPT no", "OVERDUE no", "READONLY no", "LOADING no"])
async def test_what_is_tried_again_and_has_nothing_behind_it_is_stored(
    far_store: ChatStore, proxy: RedisProxy, error: str
) -> None:
    chat = await Chat.open(far_store)
    sender = Sender(chat)
    refuse_once(proxy, 3, error, error)
    sender.say(3)
    await sender.everything_is_answered()
    assert await log_of(chat) == [1, 2, 3]


async def test_an_outage_between_two_senders_concerns_neither_the_others_order(
    far_store: ChatStore, proxy: RedisProxy
) -> None:
    chat = await Chat.open(far_store)
    first, second = Sender(chat, "u1"), Sender(chat, "u2")
    refuse_once(proxy, 2, "NOSCRIPT no")
    for _ in range(4):
        first.say(1)
        second.say(1)
    for sender in (first, second):
        await sender.everything_is_answered()
    said = await log_of(chat)
    assert len(said) == len(first.stored) + len(second.stored) >= 7


async def test_a_redis_that_forgets_its_scripts_all_the_time_is_slow_and_nothing_worse(
    far_store: ChatStore, client: Client
) -> None:
    async def forget() -> None:
        while True:
            await client.script_flush()
            await asyncio.sleep(0.03)

    forgetting = asyncio.create_task(forget())
    try:
        for number in range(1, 4):
            chat = await Chat.open(far_store, number)
            await chat.join_user()
            sender = Sender(chat)
            for _ in range(3):
                sender.say(5)
                await sender.everything_is_answered()
            assert sender.stored == list(range(1, 16))
            assert [entry.kind for entry in await chat.log()] == [b"Joined"] + 15 * [b"ChatMessage"]
    finally:
        forgetting.cancel()


# What comes late.

DEADLINE_SECONDS = 3 * UNIT


@pytest.fixture
async def hasty(proxy: RedisProxy, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisClient]:
    """A Redis that soon gives up, first what it has sent, then the connection."""
    monkeypatch.setattr(live_support.redis.deadlines, "_AWAY_SECONDS", DEADLINE_SECONDS)
    monkeypatch.setattr(live_support.redis.supervisor, "_PING_SECONDS", UNIT)
    monkeypatch.setattr(live_support.redis.supervisor, "_SILENCE_SECONDS", 6 * UNIT)
    redis = make_redis(replace(settings, redis_url=proxy.url, limits=Limits(store_seconds=DEADLINE_SECONDS)))
    yield redis
    await redis.close()


async def scripts_run(client: Client) -> int:
    """How many scripts Redis has run, with whatever outcome."""
    return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def deliver(proxy: RedisProxy, client: Client, count: int) -> None:
    """Let what was kept arrive, and wait until Redis has seen so many scripts of it."""
    before = await scripts_run(client)
    proxy.deliver_requests()

    async def have_run() -> bool:
        return await scripts_run(client) >= before + count

    await eventually(have_run)


@pytest.mark.parametrize("goes_on", [True, False])
async def test_what_was_refused_is_not_stored_when_it_arrives_after_all(
    hasty: RedisClient, proxy: RedisProxy, client: Client, settings: Settings, goes_on: bool
) -> None:
    chat = await Chat.open(ChatStore(hasty, settings))
    sender = Sender(chat)
    sender.say(1)
    await sender.everything_is_answered()
    proxy.keep_requests()
    sender.say(31)
    await sender.everything_is_answered()
    assert sender.stored == [1]
    # On a new connection.
    await eventually(lambda: proxy.connections == 2 and hasty.connected)
    if goes_on:
        sender.say(5)
        await sender.everything_is_answered()
        assert sender.stored == [1, 33, 34, 35, 36, 37]
    await deliver(proxy, client, 31)
    assert await log_of(chat) == sender.stored


async def test_what_a_new_connection_has_stored_is_not_stored_again_by_the_old_one(
    proxy: RedisProxy, settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_support.redis.supervisor, "_PING_SECONDS", UNIT)
    monkeypatch.setattr(live_support.redis.supervisor, "_SILENCE_SECONDS", 3 * UNIT)
    redis = make_redis(replace(settings, redis_url=proxy.url, limits=Limits(store_seconds=DEADLINE)))
    chat = await Chat.open(ChatStore(redis, settings))
    sender = Sender(chat)
    proxy.keep_requests()
    sender.say(3)
    await sender.everything_is_answered()
    sender.say(40)
    await sender.everything_is_answered()
    assert sender.stored == list(range(1, 44))
    await deliver(proxy, client, 3)
    assert await log_of(chat) == sender.stored
    await redis.close()


USER, CHAT_ID = hex_id(1_000_001), hex_id(1)

Step = Callable[[ChatStore, JoinQueue, AddressRate], Awaitable[object]]
STEPS: dict[str, Step] = {
    "open": lambda store, _, __: store.open(hex_id(9), user_id=hex_id(9), username="Nika"),
    "join": lambda store, _, __: Chat(store, CHAT_ID, USER).join_user("u2"),
    "support joins": lambda store, _, __: Chat(store, CHAT_ID, USER).join_support("s1"),
    "enqueue": lambda _, queue, __: queue.enqueue(user_id=hex_id(7), chat_id=hex_id(7)),
    "claim": lambda _, queue, __: queue.claim(USER, by("a")),
    "claim for join": lambda _, queue, __: queue.claim_for_join(USER, by("a:1"), chat_id=CHAT_ID),
    "release": lambda _, queue, __: queue.release(hex_id(2), by("b")),
    "mark served": lambda _, queue, __: queue.mark_served(user_id=USER, chat_id=CHAT_ID),
    "forget": lambda _, queue, __: queue.forget(USER),
    "touch": lambda _, queue, __: queue.touch([Presence(hex_id(8), hex_id(8), 1)]),
    "take": lambda _, __, rate: rate.take("192.0.2.1"),
}


@pytest.mark.parametrize("step", STEPS)
async def test_nothing_happens_after_it_was_reported_as_failed(
    hasty: RedisClient,
    proxy: RedisProxy,
    client: Client,
    settings: Settings,
    store: ChatStore,
    queue: JoinQueue,
    step: str,
) -> None:
    far = ChatStore(hasty, settings), JoinQueue(hasty, settings), AddressRate(hasty, Rate("3/hour"), KEYS)
    await (await Chat.open(store)).join_user()
    for user, chat in ((USER, CHAT_ID), (hex_id(2), hex_id(2))):
        await queue.enqueue(user_id=user, chat_id=chat)
    await queue.claim(hex_id(2), by("b"))
    await hasty.run("EXISTS", "live-support:test")
    before = await everything(client)
    proxy.keep_requests()
    with pytest.raises(Unavailable):
        await STEPS[step](*far)
    await deliver(proxy, client, 1)
    assert await everything(client) == before


async def everything(client: Client) -> dict[Any, Any]:
    """All that is stored."""
    return {key: await client.dump(key) for key in sorted(await client.keys("live-support:*"))}


async def test_a_chat_that_is_opened_again_keeps_what_was_said(store: ChatStore) -> None:
    """As when the lost connection's data comes after the new one's."""
    chat = await Chat.open(store)
    for number in (1, 2):
        await chat.say(str(number))
    await Chat.open(store)
    await chat.say("3")
    assert await log_of(chat) == [1, 2, 3]


@pytest.mark.parametrize("hours", [-1, 1])
async def test_nobody_notices_that_the_clock_of_redis_is_set(
    far_redis: RedisClient, far_store: ChatStore, hours: int
) -> None:
    chat = await Chat.open(far_store)
    # What this process knows of it is wrong by so much then.
    far_redis.deadlines._zero_us -= hours * 3_600_000_000
    far_redis.deadlines.refresh(asyncio.get_running_loop().time())
    sender = Sender(chat)
    sender.say(5)
    await sender.everything_is_answered()
    assert await log_of(chat) == [1, 2, 3, 4, 5]

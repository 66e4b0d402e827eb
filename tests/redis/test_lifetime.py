"""The end of a chat: everything of it has a time to live, and it is the same for all."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis as Client

from live_support.chats.store import ChatStore
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from schemas.errors import ChatGone
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.services import UNIT, eventually, replace

Step = Callable[[Chat], Awaitable[object]]

CHAT_SECONDS = 60
WAITING_SECONDS = 600

STEPS: dict[str, Step] = {
    "user joins": lambda chat: chat.join_user("u1"),
    "user speaks": lambda chat: chat.say("hey"),
    "user joins again": lambda chat: chat.join_user("u2"),
    "support joins": lambda chat: chat.join_support("s1"),
}


pytestmark = pytest.mark.given(chat_ttl_seconds=CHAT_SECONDS, waiting_ttl_seconds=WAITING_SECONDS)


@pytest.fixture
async def short_lived(redis_client: RedisClient, settings: Settings) -> ChatStore:
    """A store whose chats live for three units."""
    ttl = 3 * UNIT
    return ChatStore(redis_client, replace(settings, chat_ttl_seconds=ttl, waiting_ttl_seconds=ttl))


async def keys_of(client: Client, chat: Chat) -> list[str]:
    return [key.decode() async for key in client.scan_iter(match=KEYS.chat(chat.chat_id).meta.replace("meta", "*"))]


async def test_every_key_of_a_chat_has_an_end_and_it_is_the_same(store: ChatStore, client: Client) -> None:
    chat = await Chat.open(store)
    for step in STEPS.values():
        await step(chat)
        ends = {await client.pexpiretime(key) for key in await keys_of(client, chat)}
        assert len(ends) == 1
        assert min(ends) > 0, "a key without an end"


async def test_a_clock_that_goes_on_within_a_script_sets_no_two_ends(store: ChatStore, client: Client) -> None:
    chat = await Chat.open(store)
    await chat.join_user()
    for number in range(500):  # so often that a millisecond begins within a script
        await chat.say(str(number))
        async with client.pipeline(transaction=False) as pipeline:
            for key in KEYS.chat(chat.chat_id)[:-1]:
                pipeline.pexpiretime(key)
            assert len(set(await pipeline.execute())) == 1


async def test_every_step_renews_the_chat(store: ChatStore, client: Client) -> None:
    chat = await Chat.open(store)
    for step in STEPS.values():
        await client.pexpire(KEYS.chat(chat.chat_id).meta, 30_000)
        await step(chat)
        assert await store.remaining_ms(chat.chat_id) in range(CHAT_SECONDS * 1000 - 5000, WAITING_SECONDS * 1000 + 1)


async def test_a_chat_lives_longer_while_its_user_waits(store: ChatStore) -> None:
    chat = await Chat.open(store)
    seconds = [await lifetime(chat)]
    for step in STEPS.values():
        await step(chat)
        seconds.append(await lifetime(chat))
    assert seconds == [CHAT_SECONDS, WAITING_SECONDS, WAITING_SECONDS, WAITING_SECONDS, CHAT_SECONDS]


async def lifetime(chat: Chat) -> int:
    """How long the chat was to live when it was renewed a moment ago, in seconds."""
    remaining_ms = await chat.store.remaining_ms(chat.chat_id)
    assert remaining_ms is not None
    return -(-remaining_ms // 10_000) * 10


async def test_the_answer_to_a_join_tells_the_lifetime(store: ChatStore) -> None:
    chat = await Chat.open(store)
    assert (await chat.join_user()).ttl_ms == WAITING_SECONDS * 1000
    assert (await chat.join_support()).ttl_ms == CHAT_SECONDS * 1000


async def test_nothing_is_left_of_an_expired_chat(short_lived: ChatStore, client: Client) -> None:
    chat = await Chat.open(short_lived)
    for step in STEPS.values():
        await step(chat)
    await eventually(chat.is_gone)
    assert await keys_of(client, chat) == []


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_nothing_revives_an_expired_chat(short_lived: ChatStore, client: Client, step: Step) -> None:
    chat = await Chat.open(short_lived)
    await eventually(chat.is_gone)
    with pytest.raises(ChatGone):
        await step(chat)
    assert await keys_of(client, chat) == []


async def test_a_chat_that_ends_while_many_speak_ends_whole(
    redis_client: RedisClient, client: Client, settings: Settings
) -> None:
    # Each append races with the end of its chat: it renews all of it or finds nothing of it.
    moment = ChatStore(redis_client, replace(settings, chat_ttl_seconds=0.005, waiting_ttl_seconds=0.005))
    chats = [await Chat.open(moment, number) for number in range(200)]
    await asyncio.gather(*(chat.say("hey") for chat in chats), return_exceptions=True)

    async def all_gone() -> bool:
        return not [key for chat in chats for key in await keys_of(client, chat)]

    await eventually(all_gone)

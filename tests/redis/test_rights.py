"""Who may write is decided by the script that writes: a process may not have heard yet what has become of a chat."""

import pytest
from redis.asyncio import Redis

from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from schemas.errors import ChatGone, Forbidden
from tests.helpers.chats import Chat, hex_id
from tests.helpers.keys import KEYS
from tests.helpers.queue import by, end_lease

ANA = hex_id(99)


@pytest.fixture
async def chat(store: ChatStore) -> Chat:
    return await Chat.open(store)


async def gets_another_support(chat: Chat, redis: Redis) -> None:
    await redis.hset(KEYS.chat(chat.chat_id).meta, "supportId", ANA)


async def test_a_support_that_is_no_longer_the_chats_may_not_write(chat: Chat, redis: Redis) -> None:
    await chat.join_user()
    await chat.join_support()
    await chat.say("hello", sender="Support", connection="s1")
    await gets_another_support(chat, redis)
    before = await chat.log()
    left = await chat.store.remaining_ms(chat.chat_id)
    assert left is not None
    await redis.pexpire(KEYS.chat(chat.chat_id).meta, left // 2)
    with pytest.raises(Forbidden) as refused:
        await chat.say("too late", sender="Support", connection="s1", number=2)
    assert refused.value.close is None, "the connection stays open"
    assert await chat.log() == before
    remaining = await chat.store.remaining_ms(chat.chat_id)
    assert remaining is not None
    assert remaining <= left // 2, "what is refused does not renew the chat"
    await chat.say("mine now", sender="Support", support_id=ANA)


async def test_what_was_stored_before_is_still_answered_so(chat: Chat, redis: Redis) -> None:
    """Its reply may have been lost, and it be sent again."""
    await chat.join_user()
    await chat.join_support()
    await chat.say("hello", sender="Support", connection="s1")
    await gets_another_support(chat, redis)
    before = await chat.log()
    await chat.say("hello", sender="Support", connection="s1")
    assert await chat.log() == before


async def test_a_support_may_not_write_into_a_chat_that_has_lost_it(chat: Chat, redis: Redis) -> None:
    await chat.join_user()
    await chat.join_support()
    await redis.hdel(KEYS.chat(chat.chat_id).meta, "supportId")
    with pytest.raises(Forbidden):
        await chat.say("hello", sender="Support")


async def test_a_user_writes_with_and_without_a_support(chat: Chat, redis: Redis) -> None:
    await chat.join_user()
    await chat.say("before")
    await chat.join_support()
    await chat.say("with one", connection="u1")
    await gets_another_support(chat, redis)
    await chat.say("with another", connection="u1", number=2)
    assert [entry.kind for entry in await chat.log()].count(b"ChatMessage") == 3


async def test_another_user_may_not_write(chat: Chat) -> None:
    await chat.join_user()
    with pytest.raises(Forbidden):
        await chat._replace(user_id=hex_id(5)).say("hey")


# The state of a chat.


async def state_of(chat: Chat, redis: Redis) -> str:
    return str(await redis.hget(KEYS.chat(chat.chat_id).meta, "state"))


async def test_a_chat_is_open_then_waiting_then_active(chat: Chat, redis: Redis) -> None:
    assert await state_of(chat, redis) == "open"
    assert (await chat.join_user()).state == await state_of(chat, redis) == "waiting"
    assert (await chat.join_support()).state == await state_of(chat, redis) == "active"
    assert (await chat.join_user("u2")).state == await state_of(chat, redis) == "active"


async def test_a_chat_whose_support_came_first_is_active(chat: Chat, redis: Redis) -> None:
    await chat.join_support()
    assert (await chat.join_user()).state == await state_of(chat, redis) == "active"


async def test_a_chat_in_a_state_of_a_later_release_is_over(
    chat: Chat, store: ChatStore, queue: JoinQueue, sweeper: Sweeper, redis: Redis
) -> None:
    """So whoever speaks the first version of the protocol is told that it has expired."""
    await chat.join_user()
    await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
    await queue.claim(chat.user_id, by("a"))
    await redis.hset(KEYS.chat(chat.chat_id).meta, "state", "closed")
    for step in (chat.join_user("u2"), chat.join_support(), chat.say("hey"), store.support_id(chat.chat_id)):
        with pytest.raises(ChatGone):
            await step
    assert await state_of(chat, redis) == "closed"
    await end_lease(redis, chat.user_id)
    await sweeper.sweep()
    assert await redis.zscore(KEYS.queue.waiting, chat.user_id) is not None, "that release decides what becomes of it"

"""A user leaves one process and is back on another: whatever the first one says late must not end the new presence."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from api.live_chats import LiveChats
from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.settings import Settings
from tests.helpers import older_release
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.queue import waiting
from tests.helpers.services import eventually
from tests.redis.test_live_chats import Tab

CHAT_SECONDS, GRACE_SECONDS = 60, 600
"""So near is the end of the chat that the grace is cut short; no test waits for either."""

pytestmark = pytest.mark.given(chat_ttl_seconds=CHAT_SECONDS, leave_grace_seconds=GRACE_SECONDS)


class Leaving:
    """A process whose only connection leaves, and whose last word to the queue takes its time."""

    def __init__(self, redis: RedisClient, settings: Settings, client: Redis) -> None:
        self.queue = JoinQueue(redis, settings)
        self._store = ChatStore(redis, settings)
        self._chats = LiveChats(self._store, self.queue, Hub(redis, settings), settings)
        self._client = client
        self._said = asyncio.Event()
        self._may_touch = asyncio.Event()

    async def user_waits(self) -> Chat:
        """Let a user join here."""
        chat = await Chat.open(self._store)
        self._tab = Tab()
        self._live = self._chats.enter(chat.chat_id, self._tab)
        snapshot = await chat.join_user(Tab.connection_id)
        queued_at_us = await self.queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
        self._live.learn(snapshot, user_id=chat.user_id, queued_at_us=queued_at_us)
        return chat

    async def begins_to_leave(self) -> None:
        """Let the user go, as far as to the last word."""
        touch: Callable[..., Awaitable[Any]] = self.queue._touch

        async def late(*arguments: Any) -> Any:
            self._said.set()
            await self._may_touch.wait()
            return await touch(*arguments)

        self.queue._touch = late  # type: ignore[assignment]
        self._chats.leave(self._live, self._tab, "User")
        await self._said.wait()

    async def ends_to_leave(self) -> None:
        """Let the last word through."""
        self._may_touch.set()
        await self._chats._leaving.finish(10)


@pytest.fixture
def leaving(redis_client: RedisClient, settings: Settings, redis: Redis) -> Leaving:
    return Leaving(redis_client, settings, redis)


async def present_until(redis: Redis, chat: Chat) -> float:
    """Until when the user counts as connected, in ms of Redis's clock."""
    return float(await redis.zscore(KEYS.queue.present, chat.user_id) or 0)


async def seconds_present(redis: Redis, chat: Chat) -> float:
    """For how long the user counts as connected from now on."""
    until_ms, (now, _) = await present_until(redis, chat), await redis.time()
    return until_ms / 1000 - now


async def returns(redis: Redis, chat: Chat, enqueue: Callable[[], Awaitable[Any]]) -> None:
    """Let the user be back on another process, in another millisecond than before."""
    await chat.join_user("elsewhere")
    before = await present_until(redis, chat)

    async def is_touched() -> bool:
        await enqueue()
        return await present_until(redis, chat) != before

    await eventually(is_touched)


@pytest.mark.parametrize("release", ["this", "older"])
async def test_who_is_back_before_a_late_touch_stays(
    leaving: Leaving, queue: JoinQueue, redis: Redis, release: str
) -> None:
    chat = await leaving.user_waits()
    await leaving.begins_to_leave()

    async def enqueue() -> None:
        if release == "this":
            await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
        else:
            await older_release.enqueue(redis, chat.user_id, chat.chat_id)

    await returns(redis, chat, enqueue)
    before = await present_until(redis, chat)
    await leaving.ends_to_leave()
    assert await present_until(redis, chat) >= before


async def test_who_is_still_there_on_another_process_stays(leaving: Leaving, redis: Redis) -> None:
    chat = await leaving.user_waits()
    await chat.join_user("elsewhere")
    await leaving.begins_to_leave()
    await leaving.ends_to_leave()
    assert await seconds_present(redis, chat) > 2 * CHAT_SECONDS


async def test_who_is_nowhere_else_keeps_the_place_no_longer_than_the_chat_lives(
    leaving: Leaving, redis: Redis
) -> None:
    chat = await leaving.user_waits()
    assert await seconds_present(redis, chat) > 2 * CHAT_SECONDS
    await leaving.begins_to_leave()
    await leaving.ends_to_leave()
    assert await seconds_present(redis, chat) <= CHAT_SECONDS + 1


async def test_whose_chat_has_ended_meanwhile_does_not_come_back(
    leaving: Leaving, queue: JoinQueue, redis: Redis
) -> None:
    chat = await leaving.user_waits()
    await leaving.begins_to_leave()
    await queue.forget(chat.user_id)  # by another process, which has noticed the end
    await leaving.ends_to_leave()
    assert await waiting(queue) == []
    assert await redis.zscore(KEYS.queue.present, chat.user_id) is None

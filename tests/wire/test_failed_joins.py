"""A User's joins that fail: they replace no tab that works, and leave nothing behind."""

from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from live_support.limits import Limits
from tests.helpers.keys import KEYS
from tests.helpers.services import Service, eventually
from tests.helpers.wire import Socket, User, error_code, say, user_in_chat

pytestmark = pytest.mark.given(limits=Limits(waiting_users=1, stop_notice_seconds=0))


async def leave_the_queue(user: User, redis: Redis) -> None:
    """As if the user's grace had been over; the connection stands all the same."""
    await redis.zrem(KEYS.queue.waiting, user.userId)
    await redis.zrem(KEYS.queue.present, user.userId)
    for key in (KEYS.queue.chats, KEYS.queue.stays):
        await redis.hdel(key, user.userId)


async def refused_tab(user: User, chat_server: Service) -> None:
    async with user.chat(chat_server) as tab:
        await tab.send(user.join())
        (error,), code = await tab.drain()
        assert (error_code(error), code) == ("unavailable", 1013)


async def connections(user: User, redis: Redis) -> int:
    count: int = await redis.zcard(KEYS.chat(user.chatId).connections)
    return count


@pytest.mark.parametrize("tabs", [1, 5])
async def test_joins_that_find_the_queue_full_replace_no_tab(chat_server: Service, redis: Redis, tabs: int) -> None:
    async with user_in_chat(chat_server) as (user, socket), AsyncExitStack() as stack:
        others: list[Socket] = []
        for _ in range(tabs - 1):
            others.append(await stack.enter_async_context(user.chat(chat_server)))
            await others[-1].send(user.join())
            assert await others[-1].receive() == user.joined
        await leave_the_queue(user, redis)
        async with user_in_chat(chat_server):  # the queue is full now
            for _ in range(6):
                await refused_tab(user, chat_server)
            await say(user.says("Still here"), socket, *others)

            async def only_the_tabs_are_listed() -> bool:
                return await connections(user, redis) == tabs

            await eventually(only_the_tabs_are_listed)


async def test_a_user_whose_first_join_found_the_queue_full_joins_later(chat_server: Service, redis: Redis) -> None:
    user = await User.register(chat_server)
    async with user_in_chat(chat_server) as (first, _):
        for _ in range(6):
            await refused_tab(user, chat_server)
        await leave_the_queue(first, redis)
        async with user.chat(chat_server) as tab:
            await tab.send(user.join())
            assert await tab.receive() == user.joined
            await say(user.says("At last"), tab)

"""A join that Redis answers too late, or not at all: whoever was told to try again gets in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

import api.app
from live_support.limits import Limits
from live_support.settings import Settings
from tests.helpers.proxy import RedisProxy
from tests.helpers.services import UNIT, Service, eventually, is_healthy, replace, serve
from tests.helpers.wire import error_code, user_in_chat

MINUTE_MS = 60_000
STORE_SECONDS = 5 * UNIT
"""How long a command may take, where the test sets it."""


@asynccontextmanager
async def writes_hang(redis: Redis) -> AsyncIterator[None]:
    """Let Redis keep every write until the end of the block."""
    await redis.client_pause(MINUTE_MS, all=False)
    try:
        yield
    finally:
        await redis.client_unpause()


@pytest.mark.given(limits=Limits(store_seconds=STORE_SECONDS))
async def test_an_agent_whose_join_came_too_late_is_let_in_again(chat_server: Service, redis: Redis) -> None:
    async with user_in_chat(chat_server) as (user, user_socket):
        async with writes_hang(redis), user.chat(chat_server) as socket:
            await socket.send(user.support_join())
            frames, code = await socket.drain()
            assert ([error_code(frame) for frame in frames], code) == (["unavailable"], 1013)
        async with user.chat(chat_server) as socket:
            await socket.send(user.support_join())
            assert await socket.receive() == await user_socket.receive()


@pytest.mark.given(limits=Limits(store_seconds=STORE_SECONDS))
async def test_an_agent_whose_join_lost_its_answer_in_an_outage_is_let_in_again(
    settings: Settings, redis_url: str
) -> None:
    async with (
        RedisProxy.to(redis_url) as proxy,
        serve(api.app.create_service, replace(settings, redis_url=proxy.url)) as service,
        user_in_chat(service) as (user, user_socket),
    ):
        async with user.chat(service) as socket:
            proxy.replies_to_lose = 1_000_000
            await socket.send(user.support_join())
            frames, code = await socket.drain()
            assert ([error_code(frame) for frame in frames], code) == (["unavailable"], 1013)
        await asyncio.sleep(3 * STORE_SECONDS)  # so long an outage that what is tried but once more has failed
        proxy.replies_to_lose = 0
        await eventually(lambda: is_healthy(service))
        async with user.chat(service) as socket:
            await socket.send(user.support_join())
            assert await socket.receive() == await user_socket.receive()

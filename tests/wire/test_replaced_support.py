"""A Support who is no longer the chat's, as after a later release's transfer, and whose process has not heard of it."""

from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

import api.app
from live_support.settings import Settings
from tests.helpers.keys import KEYS
from tests.helpers.services import Service, serve
from tests.helpers.wire import refusal, say, support_in_chat, user_in_chat

ANA = "e" * 32


@pytest.fixture
async def second_server(settings: Settings, services: AsyncExitStack) -> Service:
    return await services.enter_async_context(serve(api.app.create_service, settings))


async def test_its_late_message_is_refused_and_shown_to_nobody(
    chat_server: Service, second_server: Service, redis: Redis
) -> None:
    async with (
        user_in_chat(chat_server) as (user, user_socket),
        support_in_chat(second_server, user, user_socket) as (support_id, support_socket),
    ):
        await say(user.hears("hello", support_id), support_socket, user_socket)
        await redis.hset(KEYS.chat(user.chatId).meta, "supportId", ANA)
        assert await refusal(user.hears("too late", support_id), support_socket) == "forbidden"
        # It stays connected, and nobody has got anything.
        echo = await say(user.says("Who is there?"), user_socket, support_socket)
        assert echo["supportId"] == ANA
        async with user.chat(chat_server) as tab:
            await tab.send(user.join(supportId=support_id))
            history = (await tab.receive())["args"]["messages"]
        assert [message["content"] for message in history] == ["hello", "Who is there?"]

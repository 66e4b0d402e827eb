"""A service that stops says so to every connection: the code asks to come back. That clients do is tested elsewhere."""

from contextlib import AsyncExitStack

import api.app
import subscriber.app
from live_support.settings import Settings
from tests.helpers.services import serve
from tests.helpers.wire import agent_socket, say, talk_in


async def test_a_stopping_chat_server_asks_its_clients_to_come_back(settings: Settings) -> None:
    async with AsyncExitStack() as clients:
        async with serve(api.app.create_service, settings) as service:
            talk = await clients.enter_async_context(talk_in(service))
            await say(talk.user.says("Are you there?"), talk.user_socket, talk.support_socket)
        assert await talk.user_socket.close_code() == await talk.support_socket.close_code() == 1012


async def test_a_stopping_subscriber_asks_its_agents_to_come_back(settings: Settings) -> None:
    async with AsyncExitStack() as clients:
        async with serve(subscriber.app.create_service, settings) as service:
            joins = await clients.enter_async_context(agent_socket(service))
        assert await joins.close_code() == 1012

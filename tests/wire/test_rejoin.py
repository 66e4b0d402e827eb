"""A participant who refreshes while messages flow sees the one order: no gap, no repeat, whatever the moment.

In raw frames, since the SDK drops what repeats. What its users see of it is in the integration tests.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

import api.app
from live_support.settings import Settings
from tests.helpers.services import Service, serve
from tests.helpers.wire import Frame, Socket, User, support_in_chat, user_in_chat

RATE = 500
"""Messages per second."""

REJOINS = 50
LIVE = 20
"""Messages that a view takes after its history."""

pytestmark = pytest.mark.given(chat_max_messages=1_000_000, chat_max_bytes=1_000_000_000)


class Flow:
    """A Support that writes at a rate, whether or not anything comes back."""

    def __init__(self, user: User, support_id: str, socket: Socket) -> None:
        self.sent = 0
        self.echoes: list[Frame] = []
        self._user = user
        self._support_id = support_id
        self._socket = socket

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write until the block ends, and then wait for all echoes."""
        reader, writer = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        try:
            yield
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
            await self._socket.send(self._user.hears("the end", self._support_id))
            await reader

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            while self.sent < (loop.time() - started) * RATE:
                self.sent += 1
                await self._socket.send(self._user.hears(str(self.sent), self._support_id))
            await asyncio.sleep(1 / RATE)

    async def _read(self) -> None:
        while not self.echoes or self.echoes[-1]["content"] != "the end":
            frame = await self._socket.receive()
            assert frame["type"] == "ChatMessage", frame
            self.echoes.append(frame["args"])


async def view(user: User, support_id: str, chat_server: Service) -> tuple[list[Frame], list[Frame]]:
    """Refresh: what the history holds, and some of what follows."""
    async with user.chat(chat_server) as socket:
        await socket.send(user.join(supportId=support_id))
        history = await socket.receive()
        assert history["type"] == "ChatHistory", history
        return history["args"]["messages"], [frame["args"] for frame in await socket.receive_some(LIVE)]


@pytest.mark.slow
async def test_fifty_refreshes_while_500_messages_a_second_flow_show_one_order(
    chat_server: Service, settings: Settings, services: AsyncExitStack
) -> None:
    second_server = await services.enter_async_context(serve(api.app.create_service, settings))
    async with user_in_chat(chat_server) as (user, _):
        pass  # for the first time; from now on the user refreshes
    async with support_in_chat(chat_server, user) as (support_id, socket):
        flow = Flow(user, support_id, socket)
        async with flow.running():
            servers = (chat_server, second_server)
            views = [await view(user, support_id, servers[number % 2]) for number in range(REJOINS)]

    assert [message["content"] for message in flow.echoes[:-1]] == [str(number + 1) for number in range(flow.sent)]
    for history, live in views:
        assert history + live == flow.echoes[: len(history) + LIVE]

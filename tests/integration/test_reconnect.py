"""A drop is bridged: what was missed comes once and in order, and what was being sent is settled."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import api.app
from live_support.settings import Settings
from live_support_client import ChatClient, ChatMessage, Joined, NotAcknowledged, Options
from tests.helpers.proxy import Proxy
from tests.helpers.sdk import hear, hear_said, request_of
from tests.helpers.services import DEADLINE, Service, eventually, serve

pytestmark = pytest.mark.usefixtures("no_task_is_left")


@pytest.fixture
async def proxy(chat_server: Service) -> AsyncIterator[Proxy]:
    async with Proxy.to(chat_server.http) as proxy:
        yield proxy


@pytest.fixture
async def shaky(proxy: Proxy, options: Options) -> AsyncIterator[ChatClient]:
    """A client whose network the test can break."""
    async with ChatClient(proxy.url, options=options) as client:
        yield client


async def test_what_was_missed_comes_once_and_in_order(client: ChatClient, shaky: ChatClient, proxy: Proxy) -> None:
    async with (
        shaky.chat(await client.register("Nika")) as user,
        client.support_chat(request_of(user), name="Vika") as support,
    ):
        await support.send("before")
        assert await hear_said(user, 1) == ["before"]
        for number in range(5):
            proxy.refuse()
            missed = [f"{number}: one", f"{number}: two"]
            for text in missed:
                await support.send(text)
            proxy.heal()
            await support.send(f"{number}: three")
            assert await hear_said(user, 3) == [*missed, f"{number}: three"]


async def test_a_drop_in_a_flood_neither_loses_nor_repeats(client: ChatClient, shaky: ChatClient, proxy: Proxy) -> None:
    async with (
        shaky.chat(await client.register("Nika")) as user,
        client.support_chat(request_of(user), name="Vika") as support,
    ):
        texts = [str(number) for number in range(400)]

        async def flood() -> None:
            for number, text in enumerate(texts):
                await support.send(text)
                if number % 90 == 45:
                    proxy.cut()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(flood())
            assert await hear_said(user, len(texts)) == texts
        assert proxy.connections >= 4


async def test_nothing_is_told_twice_when_nothing_was_missed(shaky: ChatClient, proxy: Proxy) -> None:
    async with shaky.chat(await shaky.register("Nika")) as user:
        await user.send("one")
        connections = proxy.connections
        proxy.cut()
        await eventually(lambda: proxy.connections > connections)
        await user.send("two")
        assert [type(await hear(user)) for _ in range(3)] == [Joined, ChatMessage, ChatMessage]


async def test_an_agent_who_came_meanwhile_is_announced(client: ChatClient, shaky: ChatClient, proxy: Proxy) -> None:
    async with shaky.chat(await client.register("Nika")) as user:
        assert isinstance(await hear(user), Joined)
        proxy.refuse()
        async with client.support_chat(request_of(user), name="Vika") as support:
            proxy.heal()
            joined = await hear(user)
            assert isinstance(joined, Joined)
            assert user.support_id == support.support_id


async def test_a_message_whose_echo_was_lost_is_found_in_the_history(shaky: ChatClient, proxy: Proxy) -> None:
    async with shaky.chat(await shaky.register("Nika")) as user:
        assert isinstance(await hear(user), Joined)
        proxy.replies_to_lose = 1
        stored = await user.send("Hey")
        assert await hear(user) == ChatMessage(args=stored)
        assert stored.content == "Hey"
        await user.send("still here")
        assert await hear_said(user, 1) == ["still here"]


async def test_a_message_that_never_arrived_is_not_acknowledged(shaky: ChatClient, proxy: Proxy) -> None:
    async with shaky.chat(await shaky.register("Nika")) as user:
        for _ in range(3):
            proxy.freeze()
            chunks = proxy.chunks_sent
            sending = asyncio.create_task(user.send("Hey"))
            await eventually(lambda: proxy.chunks_sent > chunks)  # noqa: B023 - waited for in the same round
            proxy.cut()
            proxy.heal()
            with pytest.raises(NotAcknowledged):
                await sending
            await user.send("again")
        assert await hear_said(user, 3) == ["again"] * 3


async def test_a_restart_on_the_same_port(settings: Settings, options: Options) -> None:
    async with serve(api.app.create_service, settings) as service:
        client = ChatClient(service.http, options=options)
        user = client.chat(await client.register("Nika"))
        await user.__aenter__()
        await user.send("before")
    sending = asyncio.create_task(user.send("while it is away"))
    async with asyncio.timeout(DEADLINE), serve(api.app.create_service, settings, port=service.port):
        await sending
        await user.send("after")
        assert await hear_said(user, 3) == ["before", "while it is away", "after"]
        await user.aclose()
        await client.aclose()

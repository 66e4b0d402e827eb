"""Used before it is entered, after it is left, twice, from elsewhere: it raises, and waits for nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from live_support_client import (
    Backoff,
    Chat,
    ChatClient,
    ConnectionLost,
    JoinsClient,
    NotAcknowledged,
    Options,
    RegisteredUser,
)
from tests.helpers.proxy import Proxy
from tests.helpers.sdk import hear, hear_all, hear_said, request_of, user_chat
from tests.helpers.services import DEADLINE, UNIT, Service, eventually
from tests.sdk.conftest import Handler

Start = Callable[[Handler], Awaitable[str]]

ID = "0" * 32
USER = RegisteredUser(user_id=ID, username="Nika", chat_id=ID)
JOINED = json.dumps({"type": "Joined", "args": {"participant": "User", "userId": ID}})
USES: list[Callable[[Any], Awaitable[object]]] = [
    lambda stream: anext(stream),
    lambda stream: stream.send("Hey") if isinstance(stream, Chat) else stream.claim(ID),
]


@pytest.fixture(params=["chat", "joins"])
async def stream(request: pytest.FixtureRequest, client: ChatClient, subscriber_service: Service) -> Chat | JoinsClient:
    if request.param == "joins":
        return JoinsClient(subscriber_service.http, options=client._options)
    return client.chat(await client.register("Nika"))


async def soon(awaitable: Awaitable[object]) -> object:
    async with asyncio.timeout(DEADLINE):
        return await awaitable


@pytest.mark.parametrize("use", USES)
async def test_before_it_is_entered(use: Callable[[Any], Awaitable[object]], stream: Chat | JoinsClient) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await soon(use(stream))
    async with stream:  # and no harm was done
        assert stream.state == "connected"


@pytest.mark.parametrize("use", USES)
async def test_after_it_was_left(use: Callable[[Any], Awaitable[object]], stream: Chat | JoinsClient) -> None:
    async with stream:
        pass
    await soon(stream.aclose())
    if isinstance(stream, Chat):
        await hear_all(stream)  # what had come
    with pytest.raises((ConnectionLost, StopAsyncIteration)):
        await soon(use(stream))


async def test_entering_twice(stream: Chat | JoinsClient) -> None:
    answers = await asyncio.gather(stream.__aenter__(), stream.__aenter__(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(stream), RuntimeError]
    with pytest.raises(RuntimeError, match="once"):
        await soon(stream.__aenter__())
    await stream.aclose()
    with pytest.raises(RuntimeError, match="once"):
        await soon(stream.__aenter__())


async def test_what_was_closed_before_is_not_entered(stream: Chat | JoinsClient) -> None:
    await soon(stream.aclose())
    with pytest.raises(RuntimeError, match="once"):
        await soon(stream.__aenter__())
    with pytest.raises(RuntimeError, match="async with"):
        await soon(anext(stream))


async def test_closing_while_it_is_entered(stream: Chat | JoinsClient) -> None:
    entering = asyncio.create_task(stream.__aenter__())
    await asyncio.sleep(0)
    await soon(stream.aclose())
    with pytest.raises(ConnectionLost):
        await soon(entering)


async def test_entering_may_be_tried_again_after_a_failure(client: ChatClient, options: Options) -> None:
    url = client._websocket_url.replace("ws", "http")
    async with Proxy.to(url) as proxy, ChatClient(proxy.url, options=options) as through:
        chat = through.chat(await client.register("Nika"))
        proxy.refuse()
        with pytest.raises(ConnectionLost):
            await soon(chat.__aenter__())
        proxy.heal()
        async with chat:
            assert (await chat.send("Hey")).content == "Hey"


@pytest.mark.parametrize("use", [*USES, lambda stream: stream.aclose()])
async def test_from_another_event_loop(use: Callable[[Any], Awaitable[object]], stream: Chat | JoinsClient) -> None:
    async def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="event loop"):
            await soon(use(stream))

    async with stream:
        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))


async def test_one_client_in_two_event_loops(client: ChatClient) -> None:
    await client.health()

    async def elsewhere() -> None:
        for call in (client.health(), client.register("Nika"), client.create_user("Nika")):
            with pytest.raises(RuntimeError, match=r"asyncio\.run"):
                await soon(call)

    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert (await client.register("Nika")).username == "Nika"


async def test_a_closed_client_registers_nobody(client: ChatClient) -> None:
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await soon(client.register("Nika"))


async def test_leaving_ends_whatever_still_waits(client: ChatClient, scripted: Start, options: Options) -> None:
    received: list[str] = []

    async def mute(connection: ServerConnection) -> None:
        await connection.send(JOINED)
        async for frame in connection:
            received.append(str(frame))

    waiting: list[asyncio.Task[Any]] = []
    async with client.chat(await client.register("Nika")) as chat:
        await hear(chat)
        waiting += [asyncio.create_task(hear(chat)) for _ in range(2)]
        await asyncio.sleep(0)  # both have begun
    url = await scripted(mute)
    other = ChatClient(url, options=options)
    async with other, JoinsClient(url, options=options) as joins, other.chat(USER) as silent:
        waiting += [asyncio.create_task(silent.send(text)) for text in ("one", "two")]
        waiting += [asyncio.create_task(joins.claim(str(number) * 32)) for number in range(3)]
        # The first message and the first claim are on their way; the others wait for them.
        await eventually(lambda: any("one" in frame for frame in received) and "0" * 32 in received)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    # Nobody has cancelled these tasks.
    assert [type(outcome) for outcome in outcomes] == [
        StopAsyncIteration,
        StopAsyncIteration,
        NotAcknowledged,
        ConnectionLost,
        NotAcknowledged,
        ConnectionLost,
        ConnectionLost,
    ]


async def test_cancelling_every_task_but_the_callers_ends_the_wait(client: ChatClient) -> None:
    async with user_chat(client) as chat:
        await hear(chat)
        reader = chat._reader
        assert reader is not None
        listening = asyncio.create_task(hear(chat))
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(ConnectionLost):
            await listening
        with pytest.raises(ConnectionLost):
            await soon(chat.send("Hey"))


async def test_a_full_buffer_does_not_keep_send_from_connecting_again(
    client: ChatClient, options: Options, chat_server: Service
) -> None:
    few = Options(backoff=options.backoff, buffer=1, ping_seconds=None, trust_env=False)
    user = await client.register("Nika")
    async with (
        Proxy.to(chat_server.http) as proxy,
        ChatClient(proxy.url, options=few) as mute,
        mute.chat(user) as chat,
        client.support_chat(request_of(user), name="Vika") as support,
    ):
        for number in range(3):
            await support.send(str(number))
        await eventually(lambda: len(chat._buffer) >= few.buffer)
        socket = chat._socket
        assert socket is not None
        proxy.cut()
        await eventually(lambda: not socket.is_open)
        await soon(chat.send("Hey"))
        assert await hear_said(chat, 4) == ["0", "1", "2", "Hey"]


async def test_a_server_that_never_answers_a_join(scripted: Start) -> None:
    async def mute(connection: ServerConnection) -> None:
        await connection.wait_closed()

    options = Options(answer_seconds=UNIT, trust_env=False)
    async with ChatClient(await scripted(mute), options=options) as client:
        with pytest.raises(ConnectionLost):
            await soon(client.chat(USER).__aenter__())


async def test_a_server_that_never_answers_a_message(scripted: Start, options: Options) -> None:
    async def mute(connection: ServerConnection) -> None:
        await connection.send(JOINED)
        await connection.wait_closed()

    impatient = Options(answer_seconds=UNIT, backoff=options.backoff, trust_env=False)
    async with ChatClient(await scripted(mute), options=impatient) as client, client.chat(USER) as chat:
        for _ in range(2):
            with pytest.raises(NotAcknowledged):
                await soon(chat.send("Hey"))


async def test_a_connection_that_never_stands_is_given_up(scripted: Start) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(1013)

    backoff = Backoff(first_seconds=UNIT / 20, longest_seconds=UNIT / 10, give_up_seconds=UNIT)
    options = Options(backoff=backoff, trust_env=False)
    async with JoinsClient(await scripted(close), options=options) as joins:
        with pytest.raises(ConnectionLost, match="No connection for"):
            await hear(joins)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Options(buffer=0),
        lambda: Options(connect_seconds=0),
        lambda: Options(answer_seconds=float("nan")),
        lambda: Options(ping_seconds=-1),
        lambda: Backoff(first_seconds=0),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(longest_seconds=-1),
        lambda: Backoff(give_up_seconds=-1),
    ],
)
def test_options_with_which_nothing_would_ever_happen(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        wrong()

"""Whatever is cancelled, no message is lost and no answer goes to another."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from websockets.asyncio.server import ServerConnection

from live_support_client import ChatClient, ChatMessage, NotAcknowledged, Options, RegisteredUser
from tests.helpers.sdk import hear, hear_said, request_of
from tests.helpers.services import DEADLINE, eventually
from tests.sdk.conftest import Handler

Start = Callable[[Handler], Awaitable[str]]

ID = "0" * 32
USER = RegisteredUser(user_id=ID, username="Nika", chat_id=ID)
JOINED = json.dumps({"type": "Joined", "args": {"participant": "User", "userId": ID}})


class Echo:
    """A chat server that echoes when it is allowed to."""

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.received: list[str] = []
        self._numbers = count()

    def message(self, content: str, sender: str = "User") -> str:
        time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=next(self._numbers))
        timestamp = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        args = {"userId": ID, "content": content, "timestamp": timestamp, "from": sender}
        return json.dumps({"type": "ChatMessage", "args": args})

    async def __call__(self, connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(JOINED)
        async for frame in connection:
            content = json.loads(frame)["args"]["content"]
            self.received.append(content)
            await self.allowed.wait()
            await connection.send(self.message(content))


async def test_a_cancelled_send_leaves_no_answer_behind(scripted: Start, options: Options) -> None:
    server = Echo()
    async with ChatClient(await scripted(server), options=options) as client, client.chat(USER) as chat:
        sending = asyncio.create_task(chat.send("same"))
        await eventually(lambda: server.received)
        sending.cancel()
        waiting = [asyncio.create_task(chat.send("same")) for _ in range(3)]
        await asyncio.sleep(0)  # all have begun, and wait for the echo of the one before
        waiting[1].cancel()
        server.allowed.set()
        first, _, third = await asyncio.gather(*waiting, return_exceptions=True)
        assert not isinstance(first, BaseException)
        assert not isinstance(third, BaseException)
        assert first.timestamp < third.timestamp
        assert server.received == ["same"] * 3
        assert await hear_said(chat, 3) == ["same"] * 3


async def test_a_cancelled_iteration_goes_on_where_it_was(client: ChatClient) -> None:
    user = await client.register("Nika")
    texts = [str(number) for number in range(100)]
    async with client.chat(user) as chat:
        heard: list[str] = []

        async def flood() -> None:
            for text in texts:
                await chat.send(text)

        flooding = asyncio.create_task(flood())
        async with asyncio.timeout(DEADLINE):
            while len(heard) < len(texts):
                listening = asyncio.create_task(anext(chat))
                await asyncio.sleep(0)
                listening.cancel()
                try:
                    message = await listening
                except asyncio.CancelledError:
                    message = await anext(chat)
                if isinstance(message, ChatMessage):
                    heard.append(message.args.content)
        await flooding
        assert heard == texts


async def test_a_slow_listener_makes_reading_pause(client: ChatClient, options: Options, chat_url: str) -> None:
    few = Options(backoff=options.backoff, buffer=4, ping_seconds=None, trust_env=False)
    user = await client.register("Nika")
    request = request_of(user)
    # Enough to fill the sockets' buffers and the server's outbox, so that it closes with 4008.
    texts = [f"{number:04}" + "x" * 3900 for number in range(1500)]
    async with ChatClient(chat_url, options=few) as slow, slow.chat(user) as listener:
        async with client.support_chat(request, name="Vika") as support:
            reading = asyncio.create_task(hear_said(support, len(texts)))
            for text in texts:
                await support.send(text)
                assert len(listener._buffer) <= few.buffer
            assert await reading == texts
        assert await hear_said(listener, len(texts)) == texts


async def test_sending_without_ever_listening_does_not_block(
    client: ChatClient, options: Options, chat_url: str
) -> None:
    few = Options(backoff=options.backoff, buffer=2, ping_seconds=None, trust_env=False)
    async with ChatClient(chat_url, options=few) as mute, mute.chat(await client.register("Nika")) as chat:
        texts = [str(number) for number in range(50)]
        async with asyncio.timeout(DEADLINE):
            for text in texts:
                await chat.send(text)
        assert await hear_said(chat, len(texts)) == texts


async def test_leaving_while_a_message_is_under_way(scripted: Start, options: Options) -> None:
    server = Echo()
    async with ChatClient(await scripted(server), options=options) as client:
        async with client.chat(USER) as chat:
            sending = asyncio.create_task(chat.send("Hey"))
            await hear(chat)
            await eventually(lambda: server.received)
        with pytest.raises(NotAcknowledged):
            await sending
    server.allowed.set()


async def test_joining_can_be_cancelled(scripted: Start, options: Options) -> None:
    connected, closed = asyncio.Event(), asyncio.Event()

    async def mute(connection: ServerConnection) -> None:
        connected.set()
        await connection.wait_closed()
        closed.set()

    async with ChatClient(await scripted(mute), options=options) as client:
        joining = asyncio.create_task(client.chat(USER).__aenter__())
        async with asyncio.timeout(DEADLINE):
            await connected.wait()
            joining.cancel()
            await closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await joining

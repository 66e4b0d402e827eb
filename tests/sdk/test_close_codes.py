"""The table of close codes decides whether to connect again."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from live_support_client import (
    AlreadyClaimed,
    Backoff,
    ChatClient,
    ChatGone,
    ConnectionLost,
    Forbidden,
    Joined,
    JoinsClient,
    NotAuthenticated,
    Options,
    RegisteredUser,
    Replaced,
    UnexpectedFrame,
)
from live_support_client._reconnect import Delays
from tests.helpers.sdk import hear, hear_all
from tests.helpers.services import DEADLINE, UNIT
from tests.sdk.conftest import Handler

Start = Callable[[Handler], Awaitable[str]]

ID = "0" * 32
USER = RegisteredUser(user_id=ID, username="Nika", chat_id=ID)
JOINED = json.dumps({"type": "Joined", "args": {"participant": "User", "userId": ID}})
TABLE = json.loads((Path(__file__).parent.parent.parent / "schemas" / "close-codes.json").read_text())["closeCodes"]
# 1006 is never sent, and 1000 and 1001 are the ends that a client makes.
SENT = [entry for entry in TABLE if entry["code"] not in (1000, 1001, 1006)]
RECONNECT = [entry["code"] for entry in SENT if entry["reconnect"]] + [4000, 4429, 4499]
FATAL = [entry["code"] for entry in SENT if not entry["reconnect"]] + [4599, 4999]


class Closing:
    """A chat server that lets join and then closes; the last connection stays."""

    def __init__(self, code: int, *, times: int = 1) -> None:
        self.code = code
        self.times = times
        self.connections = 0

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections += 1
        await connection.recv()
        await connection.send(JOINED)
        if self.connections <= self.times:
            await connection.close(self.code)
        else:
            await connection.send('{"type": "Joined", "args": {"participant": "User", "userId": "%s"}}' % ("1" * 32))
            await connection.wait_closed()


@pytest.mark.parametrize("code", RECONNECT)
async def test_it_connects_again(code: int, scripted: Start, options: Options) -> None:
    server = Closing(code, times=3)
    async with ChatClient(await scripted(server), options=options) as client, client.chat(USER) as chat:
        assert isinstance(await hear(chat), Joined)
        assert isinstance(await hear(chat), Joined)  # the other user's, which only the last connection tells
    assert server.connections == 4


@pytest.mark.parametrize("code", FATAL)
async def test_it_does_not_connect_again(code: int, scripted: Start, options: Options) -> None:
    server = Closing(code)
    meanings = {4501: NotAuthenticated, 4503: Forbidden, 4509: Replaced, 4510: ChatGone, 4511: AlreadyClaimed}
    expected = meanings.get(code, ConnectionLost)
    async with ChatClient(await scripted(server), options=options) as client, client.chat(USER) as chat:
        assert isinstance(await hear(chat), Joined)
        if code == 4510:
            assert await hear_all(chat) == []
        else:
            with pytest.raises(expected):
                await hear(chat)
        with pytest.raises(expected):
            await chat.send("Hey")
    assert server.connections == 1


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_normal_end_ends_the_iteration(code: int, scripted: Start, options: Options) -> None:
    server = Closing(code)
    async with ChatClient(await scripted(server), options=options) as client, client.chat(USER) as chat:
        assert len(await hear_all(chat)) == 1
    assert server.connections == 1


async def test_it_gives_up_after_a_time(scripted: Start) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(1013)

    options = Options(
        backoff=Backoff(first_seconds=UNIT / 50, longest_seconds=UNIT / 10, give_up_seconds=UNIT), trust_env=False
    )
    first = Closing(4008)

    async def handle(connection: ServerConnection) -> None:
        await (close if first.connections else first)(connection)

    async with ChatClient(await scripted(handle), options=options) as client, client.chat(USER) as chat:
        assert isinstance(await hear(chat), Joined)
        with pytest.raises(ConnectionLost, match="No connection for"):
            await hear(chat)


async def test_the_first_connection_is_not_tried_twice(options: Options) -> None:
    with socket.socket() as nobody:  # bound, so that nobody else listens there
        nobody.bind(("127.0.0.1", 0))
        async with ChatClient(f"http://127.0.0.1:{nobody.getsockname()[1]}", options=options) as client:
            with pytest.raises(ConnectionLost):
                await client.register("Nika")
            with pytest.raises(ConnectionLost):
                async with client.chat(USER):
                    pass


def test_delays_grow_and_spread() -> None:
    delays = Delays(Backoff(first_seconds=1, longest_seconds=30))
    drawn = [delays.next(OSError()) for _ in range(10)]
    assert all(delay <= min(30, 2**number) for number, delay in enumerate(drawn))
    assert len(set(drawn)) == len(drawn)


def test_after_a_restart_everybody_comes_back_at_another_time() -> None:
    restart = ConnectionClosedError(Close(1012, "service restart"), None)
    drawn = [Delays(Backoff()).next(restart) for _ in range(200)]
    assert max(drawn) <= 5
    assert min(drawn) < 1 < 4 < max(drawn)


async def test_a_message_type_of_a_newer_server_is_skipped(scripted: Start, options: Options) -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type": "Weather", "args": {"rain": true}}')
        await connection.send(JOINED)
        await connection.send('{"type": "Error", "args": {"code": "too_rainy", "message": "Stay in.", "more": 1}}')
        await connection.wait_closed()

    async with ChatClient(await scripted(handle), options=options) as client, client.chat(USER) as chat:
        assert isinstance(await hear(chat), Joined)
        assert "too_rainy" in str(await hear(chat))


@pytest.mark.parametrize("frame", ["no JSON", "[]", '{"type": "ChatMessage", "args": {}}', '{"type": "Joined"}'])
async def test_a_frame_that_is_not_documented_ends_the_chat(frame: str, scripted: Start, options: Options) -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(JOINED)
        await connection.send(frame)
        await connection.wait_closed()

    async with ChatClient(await scripted(handle), options=options) as client, client.chat(USER) as chat:
        assert isinstance(await hear(chat), Joined)
        with pytest.raises(UnexpectedFrame):
            await hear(chat)


async def test_the_waiting_list_comes_back_after_a_drop(scripted: Start, options: Options) -> None:
    connections = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await connection.send(json.dumps({"participant": "User", "userId": ID, "chatId": ID}))
        await connection.send(json.dumps({"participant": "User", "userId": f"{connections:032}", "chatId": ID}))
        if connections < 3:
            await connection.close(1012)
        await connection.wait_closed()

    async with JoinsClient(await scripted(handle), options=options) as joins, asyncio.timeout(DEADLINE):
        assert [(await anext(joins)).user_id[-1] for _ in range(4)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("code", [4408, 4429])
async def test_the_waiting_list_is_not_left_when_it_was_quiet(code: int, scripted: Start, options: Options) -> None:
    connections = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        if connections < 3:
            await connection.close(code)
            return
        await connection.send(json.dumps({"participant": "User", "userId": ID, "chatId": ID}))
        await connection.wait_closed()

    async with JoinsClient(await scripted(handle), options=options) as joins, asyncio.timeout(DEADLINE):
        assert (await anext(joins)).user_id == ID

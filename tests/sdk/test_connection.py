"""What a program can see of its connection: its state, log lines, requests for tokens, clear errors."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from websockets.asyncio.server import ServerConnection

from live_support_client import (
    ChatClient,
    ConnectionLost,
    ConnectionState,
    Forbidden,
    InvalidInput,
    JoinRequest,
    JoinsClient,
    NotAuthenticated,
    Options,
    RateLimited,
    RegisteredUser,
)
from tests.helpers.proxy import Proxy
from tests.helpers.sdk import hear, hear_said, request_of, user_chat
from tests.helpers.services import DEADLINE, Service, eventually
from tests.helpers.tokens import SECRET, make_token
from tests.sdk.conftest import Handler

Start = Callable[[Handler], Awaitable[str]]

ID = "0" * 32
USER = RegisteredUser(user_id=ID, username="Nika", chat_id=ID)
JOINED = json.dumps({"type": "Joined", "args": {"participant": "User", "userId": ID}})


# State.


async def test_the_state_is_told_as_it_changes(client: ChatClient, chat_server: Service, options: Options) -> None:
    user = await client.register("Nika")
    states: list[ConnectionState] = []
    async with Proxy.to(chat_server.http) as proxy, ChatClient(proxy.url, options=options) as through:
        chat = through.chat(user, on_state=states.append)
        states.append(chat.state)
        async with chat:
            proxy.cut()
            await eventually(lambda: len(states) == 4)
            assert chat.state == "connected"
    assert states == ["connecting", "connected", "reconnecting", "connected", "closed"]


async def test_a_state_that_cannot_be_shown_harms_nothing(
    subscriber_service: Service, client: ChatClient, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(state: ConnectionState) -> None:
        raise LookupError(state)

    async with (
        JoinsClient(subscriber_service.http, options=options, on_state=fail) as joins,
        user_chat(client) as chat,
    ):
        assert await hear(joins) == request_of(chat)
    assert "on_state has failed" in caplog.text


async def test_the_end_is_told(scripted: Start, options: Options) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(4501)

    states: list[ConnectionState] = []
    async with JoinsClient(await scripted(close), options=options, on_state=states.append) as joins:
        with pytest.raises(NotAuthenticated):
            await hear(joins)
        assert states == ["connected", "closed"]


# Log lines.


async def test_log_lines_hold_no_names_ids_tokens_or_messages(
    chat_server: Service, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # of every library
    name, text, support, token = "Nika-of-the-log", "Nobody-else-reads-this", "Vika-of-the-log", "the-token-of-Vika"
    async with Proxy.to(chat_server.http) as proxy, ChatClient(proxy.url, options=options) as through:
        user = await through.register(name)
        with_token = await through.create_user(name)
        states: list[ConnectionState] = []
        async with through.chat(with_token), through.chat(user, on_state=states.append) as chat:
            await chat.send(text)
            proxy.cut()
            await eventually(lambda: states == ["connected", "reconnecting", "connected"])
            async with through.support_chat(request_of(user), name=support, token=token) as other:
                await hear_said(other, 0)
    # The server runs in this process as well.
    theirs = ("asyncio", "uvicorn")
    lines = [f"{record.name} {record.getMessage()}" for record in caplog.records if not record.name.startswith(theirs)]
    for secret in (name, text, support, token, user.chat_id, user.user_id, with_token.token):
        assert not [line for line in lines if secret in line]
    ours = [line for line in lines if line.startswith("live_support_client ")]
    assert any("Chat: no connection (close code 1006), next try in " in line for line in ours)
    assert any("Chat: connected" in line for line in ours)


# Tokens.


@pytest.mark.given(agent_jwt_secret=SECRET)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_token_is_asked_for_whenever_a_connection_is_made(
    is_async: bool, client: ChatClient, subscriber_service: Service, options: Options
) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append(make_token("vika", exp=time.time() + 2.5))
        return asked[-1]

    async def token_later() -> str:
        await asyncio.sleep(0)
        return token()

    give = token_later if is_async else token
    async with (
        JoinsClient(subscriber_service.http, token=give, options=options) as joins,
        client.chat(await client.register("Nika")) as user,
    ):
        request = await hear(joins)
        await joins.claim(request)
        async with client.support_chat(request, name="Vika", token=give) as chat:
            assert len(asked) == 2
            # Both streams outlive their tokens, twice.
            await eventually(lambda: len(asked) >= 6)
            await eventually(lambda: (chat.state, joins.state) == ("connected", "connected"))
            await chat.send("Still here.")
            assert await hear_said(user, 1) == ["Still here."]
            async with user_chat(client) as next_user:
                assert await hear(joins) == request_of(next_user)


@pytest.mark.given(agent_jwt_secret=SECRET)
async def test_a_new_token_that_is_refused_too_is_the_end(
    client: ChatClient, subscriber_service: Service, options: Options
) -> None:
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        return make_token(seconds=-1)

    async with JoinsClient(subscriber_service.http, token=token, options=options) as joins:
        with pytest.raises(NotAuthenticated):
            await hear(joins)
    assert asked == 2
    async with user_chat(client) as chat:
        with pytest.raises(NotAuthenticated):
            await client.support_chat(request_of(chat), name="Vika", token=token).__aenter__()


async def test_a_function_that_has_no_token(subscriber_service: Service, options: Options) -> None:
    answers: list[object] = [LookupError("no token"), 5, "two\nlines", "", "good", ConnectionError("not now"), "good"]

    def token() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    async with Proxy.to(subscriber_service.http) as proxy:
        for error in (LookupError, TypeError, InvalidInput, InvalidInput):
            with pytest.raises(error):
                await JoinsClient(proxy.url, token=token, options=options).__aenter__()
        async with JoinsClient(proxy.url, token=token, options=options) as joins:
            proxy.cut()
            # While it fails it is asked again, as the server is.
            await eventually(lambda: not answers)
            await eventually(lambda: joins.state == "connected")


@pytest.mark.parametrize("token", ["", "two words", "a\r\nX-Admin: 1", "ключ"])
def test_a_text_that_is_no_token(token: str) -> None:
    with pytest.raises(InvalidInput):
        JoinsClient("http://localhost:9001", token=token)


# Errors that say what is wrong.


async def test_the_wrong_service(chat_server: Service, subscriber_service: Service, options: Options) -> None:
    async with ChatClient(subscriber_service.http, options=options) as client:
        for call in (client.register("Nika"), client.create_user("Nika")):
            with pytest.raises(ConnectionLost, match="right service"):
                await call
        with pytest.raises((Forbidden, ConnectionLost), match="right address"):
            await client.chat(USER).__aenter__()
    with pytest.raises((Forbidden, ConnectionLost), match="right address"):
        await JoinsClient(chat_server.http, options=options).__aenter__()


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (404, ConnectionLost), (301, ConnectionLost)])
async def test_a_handshake_that_is_refused(status: int, error: type[Exception], options: Options) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ChatClient(url, options=options) as client:
            for attempt in (client.register("Nika"), client.chat(USER).__aenter__()):
                with pytest.raises(error) as refused:
                    await attempt
                if status == 429:
                    assert getattr(refused.value, "retry_after", None) == 7


async def test_a_join_that_comes_too_fast_after_a_drop_is_tried_again(scripted: Start, options: Options) -> None:
    connections = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await connection.recv()
        if connections == 2:
            error = {"code": "rate_limited", "message": "Too fast.", "retryAfterMs": 10}
            await connection.send(json.dumps({"type": "Error", "args": error}))
            await connection.close(4429)
            return
        await connection.send(JOINED)
        if connections == 1:
            await connection.close(1012)
        async for frame in connection:
            args = json.loads(frame)["args"] | {"timestamp": "2026-01-01T00:00:00.000000Z"}
            await connection.send(json.dumps({"type": "ChatMessage", "args": args}))

    async with ChatClient(await scripted(handle), options=options) as client, client.chat(USER) as chat:
        await eventually(lambda: connections == 3)
        assert (await chat.send("Hey")).content == "Hey"


async def test_a_request_that_drips_is_given_up() -> None:
    closed = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        closed.set()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ChatClient(url, options=Options(connect_seconds=0.5, trust_env=False)) as client:
            with pytest.raises(ConnectionLost):
                async with asyncio.timeout(DEADLINE):
                    await client.register("Nika")
        await closed.wait()


def test_what_is_no_join_request() -> None:
    with pytest.raises(InvalidInput, match="chat_id must be 32 lower-case hex digits"):
        ChatClient("http://localhost:9000").support_chat(
            JoinRequest(participant="User", user_id=ID, chat_id="nonsense"), name="Vika"
        )

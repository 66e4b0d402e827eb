"""Handshakes of every shape are answered or closed, soon and without a line in the log."""

import asyncio
import logging
import random

import pytest

from tests.support import DEADLINE, Service, User

GOOD = [
    b"Host: localhost",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
]
ODD = [
    b"Host:",
    b"Host: \xff\xfe",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Connection: ,,,",
    b"Upgrade: h2c",
    b"Upgrade: websocket, h2c",
    b"Upgrade: WebSocket/13",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Version: thirteen",
    b"Sec-WebSocket-Key: short",
    b"Sec-WebSocket-Key: \xff",
    b"Sec-WebSocket-Key:",
    b"Sec-WebSocket-Protocol: ,,,",
    b"Sec-WebSocket-Protocol: live-support.v1, \xe9",
    b"Sec-WebSocket-Protocol: bearer.",
    b"Sec-WebSocket-Protocol: live-support.v1",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
    b"Sec-WebSocket-Extensions: ;;;,",
    b"Authorization: Bearer \xff\xff",
    b"Authorization:",
    b"Origin: \xff",
    b"Origin: null",
    b"Content-Length: 5",
    b"Content-Length: x",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Cookie: " + b"a" * 7000,
    b"X: a\r\n b",
    b"X\x00: a",
    b"X: \x00",
    b": a",
    b"X",
]
LINES = [
    b"GET /chat/%s HTTP/1.1",
    b"GET /chat/%s?a=b HTTP/1.1",
    b"POST /chat/%s HTTP/1.1",
    b"GET /chat/%s HTTP/1.0",
    b"GET /chat/%s/%%ff HTTP/1.1",
    b"GET //chat/%s HTTP/1.1",
    b"GET http://localhost/chat/%s HTTP/1.1",
    b"GET /chat/%s\xff HTTP/1.1",
    b"OPTIONS /chat/%s HTTP/1.1",
    b"HEAD /chat/%s HTTP/1.1",
    b"CONNECT localhost:80 HTTP/1.1",
]


def heads(chat_id: str) -> list[bytes]:
    """A good handshake with each odd thing, and some with many."""
    one = [[LINES[0], *GOOD, odd] for odd in ODD] + [[line, *GOOD] for line in LINES]
    without = [[LINES[0], *GOOD[:place], *GOOD[place + 1 :]] for place in range(len(GOOD))]
    chance = random.Random(1)  # noqa: S311 - the same in every run
    many = [[chance.choice(LINES), *chance.sample(GOOD + ODD, chance.randint(0, 15))] for _ in range(150)]
    path = chat_id.encode()
    return [b"\r\n".join([*head, b"", b""]).replace(b"%s", path).replace(b"%%", b"%") for head in one + without + many]


LAYERS = [pytest.param(marks=pytest.mark.given(websocket=layer), id=layer) for layer in ("picows", "uvicorn")]


@pytest.mark.parametrize((), LAYERS)
async def test_a_handshake_of_any_shape_is_answered_or_closed(
    chat_server: Service, caplog: pytest.LogCaptureFixture
) -> None:
    user = await User.register(chat_server)
    caplog.clear()
    unanswered = []
    for head in heads(user.chatId):
        reader, writer = await asyncio.open_connection("127.0.0.1", chat_server.port)
        writer.write(head)
        try:
            async with asyncio.timeout(DEADLINE):
                await reader.read(1)
        except ConnectionError:
            pass
        except TimeoutError:
            unanswered.append(head)
        writer.transport.abort()
    assert unanswered == []
    # The services drop these lines, see core/logs.py.
    known = ("Invalid HTTP request",)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line for line in lines if not line.startswith(known)] == []


@pytest.mark.parametrize((), LAYERS)
@pytest.mark.parametrize("odd", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_a_handshake_with_a_body_is_refused(chat_server: Service, odd: bytes) -> None:
    """uvicorn drops it without an answer, and keeps the connection for ever."""
    user = await User.register(chat_server)
    reader, writer = await asyncio.open_connection("127.0.0.1", chat_server.port)
    writer.write(b"\r\n".join([LINES[0] % user.chatId.encode(), *GOOD, odd, b"", b""]))
    async with asyncio.timeout(DEADLINE):
        assert (await reader.readline()).split()[1] == b"400"
    writer.transport.abort()

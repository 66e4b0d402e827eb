"""Handshakes of every shape are answered or closed, soon and without a line in the log; and there are only so many."""

import asyncio
import json
import logging
import random

import pytest
from structlog.testing import capture_logs

from live_support.rate import Rate
from live_support.settings import Network
from tests.helpers.services import DEADLINE, Service, eventually, http
from tests.helpers.wire import User

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
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == []


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


# Frames of a peer that does not wait for the answer.


def frame(text: str) -> bytes:
    """A masked text frame."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + data


async def texts(reader: asyncio.StreamReader, count: int) -> list[str]:
    """So many text frames of a server's."""
    received = []
    async with asyncio.timeout(DEADLINE):
        for _ in range(count):
            kind, size = await reader.readexactly(2)
            assert kind == 0x81
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            received.append((await reader.readexactly(size)).decode())
    return received


EARLY = {
    "in the same packet": [1.0],
    "a part of a frame": [0.3, 1.0],
    "a part of the frame's head": [0.001, 1.0],
    "in a packet of its own": [0.0, 1.0],
}


@pytest.mark.parametrize((), LAYERS)
@pytest.mark.parametrize("cuts", EARLY.values(), ids=EARLY)
async def test_frames_that_come_with_the_handshake_are_taken_in_order(chat_server: Service, cuts: list[float]) -> None:
    user = await User.register(chat_server)
    frames = frame(json.dumps(user.join())) + b"".join(
        frame(json.dumps(user.says("x" * 900 + str(n)))) for n in range(20)
    )
    head = b"\r\n".join([LINES[0] % user.chatId.encode(), *GOOD, b"", b""])
    reader, writer = await asyncio.open_connection("127.0.0.1", chat_server.port)
    begin = 0
    for cut in cuts:
        end = len(head) + int(cut * len(frames))
        writer.write((head + frames)[begin:end])
        begin = end
        await asyncio.sleep(0.01)  # so that it is another packet; if it is not, the test is only weaker
    async with asyncio.timeout(DEADLINE):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    first, *said = [json.loads(text) for text in await texts(reader, 21)]
    assert first == user.joined
    assert [one["args"]["content"][900:] for one in said] == [str(n) for n in range(20)]
    # And the connection goes on.
    writer.write(frame(json.dumps(user.says("later"))))
    assert '"later"' in (await texts(reader, 1))[0]
    writer.transport.abort()


@pytest.mark.parametrize((), LAYERS)
async def test_an_early_frame_that_is_too_large_is_told(chat_server: Service) -> None:
    user = await User.register(chat_server)
    reader, writer = await asyncio.open_connection("127.0.0.1", chat_server.port)
    too_large = b"\x81\xff" + (2**20).to_bytes(8, "big") + b"\0\0\0\0"
    writer.write(b"\r\n".join([LINES[0] % user.chatId.encode(), *GOOD, b"", b""]) + too_large)
    async with asyncio.timeout(DEADLINE):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        close = await reader.readexactly(4)
    assert int.from_bytes(close[2:], "big") == 1009
    writer.transport.abort()


# Rate.


async def statuses(service: Service, count: int, client: bytes = b"") -> list[int]:
    """What so many handshakes are answered, one after the other."""
    answers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        head = [LINES[0] % (b"a" * 32), *GOOD]
        if client:
            head.append(b"X-Forwarded-For: " + client)
        writer.write(b"\r\n".join([*head, b"", b""]))
        async with asyncio.timeout(DEADLINE):
            answer = await reader.readuntil(b"\r\n\r\n")
            answers.append(int(answer.split()[1]))
            if answers[-1] == 429:
                assert b"application/problem+json" in answer
                problem = json.loads(await reader.read())
                assert problem["code"] == "rate_limited"
                wait_ms = problem["retryAfterMs"]
                assert b"retry-after: %d\r\n" % -(-wait_ms // 1000) in answer
                assert 0 < wait_ms <= 3_600_000
        writer.transport.abort()
    return answers


@pytest.mark.parametrize((), LAYERS)
@pytest.mark.given(handshake_rate=Rate("3/hour"))
async def test_an_address_has_so_many_handshakes(chat_server: Service) -> None:
    with capture_logs() as logs:
        assert await statuses(chat_server, 5) == [101, 101, 101, 429, 429]
    assert ("rate", "handshakes") in [(line.get("what"), line.get("reason")) for line in logs]
    # Nothing else is refused.
    assert (await http("GET", f"{chat_server.http}/health")).status_code == 200


@pytest.mark.given(handshake_rate=Rate("3/hour"))
async def test_so_it_is_with_the_other_service(subscriber_service: Service) -> None:
    answers = await statuses(subscriber_service, 5)  # there is no such path
    assert answers == [404, 404, 404, 429, 429]


@pytest.mark.given(handshake_rate=Rate("1/hour"), trusted_proxies=(Network("127.0.0.0/8"),))
async def test_behind_a_proxy_each_client_has_its_own_rate(chat_server: Service) -> None:
    for client, expected in (
        (b"192.0.2.1", [101, 429]),
        (b"spoofed, 192.0.2.1", [429]),
        (b"192.0.2.2", [101, 429]),
        (b"2001:db8::1", [101, 429]),
        (b"2001:db8::2", [429]),  # in the same /64
        (b"2001:db8:0:1::1", [101]),
        (b"::ffff:192.0.2.2", [429]),
    ):
        assert await statuses(chat_server, len(expected), client) == expected, client


async def test_on_loopback_there_is_no_bound_by_default(chat_server: Service) -> None:
    assert await statuses(chat_server, 30) == [101] * 30


@pytest.mark.given(trusted_proxies=(Network("127.0.0.0/8"),))
async def test_elsewhere_there_are_20_a_second(chat_server: Service) -> None:
    answers = await statuses(chat_server, 60, b"192.0.2.1")
    assert answers[:20] == [101] * 20
    # On a slow machine some more get through.
    assert 429 in answers


@pytest.mark.given(handshake_rate=Rate("3/second"))
async def test_who_waits_is_let_in_again(chat_server: Service) -> None:
    assert (await statuses(chat_server, 10)).count(429) > 0
    await eventually(lambda: _is_let_in(chat_server))


async def _is_let_in(service: Service) -> bool:
    return await statuses(service, 1) == [101]

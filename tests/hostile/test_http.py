"""Peers that abuse HTTP: heads and bodies that never end, answers that nobody reads, connections without number."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from live_support.limits import Limits
from live_support.settings import Network
from tests.helpers.services import DEADLINE, UNIT, Service, eventually, http
from tests.helpers.wire import say, talk_in

SECONDS = 5 * UNIT
"""What the deadlines are set to; long ones are far beyond what a test waits for."""


def short(**limits: Any) -> pytest.MarkDecorator:
    """Limits that a test can wait for."""
    return pytest.mark.given(limits=Limits(**limits))


class Peer:
    """A TCP client that says what it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, service: Service) -> AsyncIterator["Peer"]:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send, as far as the service still takes it."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (ConnectionError, RuntimeError):  # uvloop raises the latter once it has noticed
            pass

    async def head(self) -> bytes:
        """Read the head of an answer."""
        async with asyncio.timeout(DEADLINE):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Read until the service closes; what a reset has lost is missing."""
        received = b""
        async with asyncio.timeout(DEADLINE):
            try:
                while data := await self._reader.read(65536):
                    received += data
            except ConnectionError:
                pass
        return received


def status(answer: bytes) -> int:
    """The status of an answer; 0 when there is none."""
    return int(answer.split()[1]) if answer else 0


GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


# Slowly.


@short(head_seconds=SECONDS)
@pytest.mark.parametrize(("sent", "expected"), [(b"", 0), (b"G", 408), (GET, 408), (GET + b"X: ", 408), (b"\r\n", 408)])
async def test_a_head_that_does_not_end_is_cut_off(chat_server: Service, sent: bytes, expected: int) -> None:
    started = time.monotonic()
    async with Peer.connect(chat_server) as peer:
        await peer.send(sent)
        assert status(await peer.rest()) == expected
    assert time.monotonic() - started >= SECONDS * 0.9


@short(head_seconds=SECONDS)
async def test_dribbling_does_not_buy_time(chat_server: Service) -> None:
    async with Peer.connect(chat_server) as peer:

        async def dribble() -> None:
            while True:
                await peer.send(b"a")
                await asyncio.sleep(UNIT / 5)

        await peer.send(GET + b"X: ")
        dribbling = asyncio.create_task(dribble())
        try:
            assert status(await peer.rest()) in (408, 0)  # a reset may overtake the answer
        finally:
            dribbling.cancel()


@pytest.mark.given(limits=Limits(head_seconds=SECONDS), keep_alive_seconds=SECONDS)
@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET"])
async def test_an_idle_connection_is_closed_whatever_little_it_sends(chat_server: Service, sent: bytes) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send(GET + b"\r\n")
        assert status(await peer.head()) == 200
        await peer.send(sent)
        assert b"200" not in await peer.rest()


@short(body_seconds=SECONDS)
async def test_a_body_that_does_not_come_is_cut_off(chat_server: Service) -> None:
    for head in (
        b"Content-Length: 20\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"Content-Length: 20\r\n\r\n",
    ):
        async with Peer.connect(chat_server) as peer:
            await peer.send(POST + head)
            assert status(await peer.rest()) == 408


@short(read_seconds=SECONDS, linger_seconds=SECONDS)
async def test_an_answer_that_nobody_reads_is_given_up(chat_server: Service) -> None:
    async with Peer.connect(chat_server) as peer:
        # More than the buffers between the two hold.
        await peer.send((GET.replace(b"/health", b"/docs-assets/swagger-ui-bundle.js") + b"\r\n") * 8)
        await eventually(lambda: _gone(peer))


async def _gone(peer: Peer) -> bool:
    """Whether writing fails, without reading anything."""
    peer._writer.write(b"\r\n")
    return peer._writer.transport.is_closing()


# Without end.


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"a" * 20_000,
        GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
        GET + b"X: a\r\n" * 5000,
        GET + b"X: a\r\n" * 101 + b"\r\n",
        GET + b"X: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000,
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (GET + b"\r\n") + GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 4096 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /user/join/" + b"%" * 1025 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET + b"Connection: Upgrade" + b",a" * 101 + b"\r\nUpgrade: websocket\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: a" + b",a" * 101 + b"\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: a" + b";a" * 101 + b"\r\n\r\n",
    ],
    ids=["endless header", "large header", "endless headers", "many headers", "long line", "endless url", "long url",
         "in a pipeline", "at a handshake", "over 4 KiB of url", "many escapes", "long list in Connection",
         "many subprotocols", "many extensions"],
)  # fmt: skip
async def test_a_head_that_is_too_large_is_refused(chat_server: Service, head: bytes) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send(head)
        assert b" 431 " in await peer.rest()


async def test_what_follows_a_refused_head_is_not_read(chat_server: Service) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send(GET + b"X: " + b"a" * 20_000)
        for _ in range(1000):
            await peer.send(b"a" * 65536)
        await peer.rest()


async def test_a_pipeline_is_bounded(chat_server: Service) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send((GET + b"\r\n") * 8)
        for _ in range(8):
            assert status(await peer.head()) == 200
            await peer._reader.readexactly(len(b'{"status":"ok"}'))
        await peer.send((GET + b"\r\n") * 5000)
        assert b" 503 " in await peer.rest()


@pytest.mark.parametrize("length", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_that_is_too_large_is_refused(chat_server: Service, length: bytes) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send(POST + length + b"ffff\r\n" + b"a" * 65535 + b"\r\n")
        assert status(await peer.head()) == 413


@short(head_seconds=SECONDS)
async def test_a_body_behind_its_answer_buys_no_time(chat_server: Service) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send(POST + b"Content-Length: 20000\r\n\r\n")
        assert status(await peer.head()) == 413
        await peer.send(b"a" * 19_999)
        await peer.rest()


@short(head_seconds=SECONDS)
async def test_a_body_that_nobody_reads_is_not_awaited_for_ever(chat_server: Service) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send(GET + b"Content-Length: 5\r\n\r\n")
        assert status(await peer.head()) == 200
        await peer.rest()


# Keeping a connection.


@pytest.mark.given(limits=Limits(head_seconds=SECONDS), keep_alive_seconds=4 * SECONDS)
async def test_between_requests_a_connection_lives_longer_than_a_head_may_take(chat_server: Service) -> None:
    started = time.monotonic()
    async with Peer.connect(chat_server) as peer:
        await peer.send(GET + b"\r\n")
        assert status(await peer.head()) == 200
        assert await peer.rest() == b'{"status":"ok"}'
    assert time.monotonic() - started >= 4 * SECONDS * 0.9


@pytest.mark.given(limits=Limits(head_seconds=SECONDS), keep_alive_seconds=1000)
@pytest.mark.parametrize(("at_once", "later"), [(b"", b"\r\n"), (b"", GET + b"X: "), (b"G", b""), (b"G", b"E")])
async def test_a_later_head_that_has_begun_has_as_long_as_the_first(
    chat_server: Service, at_once: bytes, later: bytes
) -> None:
    async with Peer.connect(chat_server) as peer:
        await peer.send(GET + b"\r\n" + at_once)
        assert status(await peer.head()) == 200
        await peer.send(later)
        assert b" 408 " in await peer.rest()


@pytest.mark.given(limits=Limits(head_seconds=SECONDS), keep_alive_seconds=1000)
async def test_a_new_connection_does_not_live_so_long(chat_server: Service) -> None:
    async with Peer.connect(chat_server) as peer:
        assert await peer.rest() == b""


# Without number.


async def opened(service: Service, stack: Any, count: int, sent: bytes = b"") -> list[Peer]:
    """So many connections."""
    peers = [await stack.enter_async_context(Peer.connect(service)) for _ in range(count)]
    for peer in peers:
        await peer.send(sent)
    return peers


@pytest.mark.given(connections_per_address=3)
async def test_an_address_has_so_many_connections(chat_server: Service, services: Any) -> None:
    held = await opened(chat_server, services, 3, b"GET /")
    async with Peer.connect(chat_server) as peer:
        await peer.send(GET + b"\r\n")
        answer = await peer.rest()
        assert status(answer) == 429
        assert b"retry-after: " in answer
    # Whose connection ends makes room.
    held[0]._writer.close()
    await eventually(lambda: _is_served(chat_server))


async def _is_served(service: Service) -> bool:
    return (await http("GET", f"{service.http}/health")).status_code == 200


@pytest.mark.given(connections_per_address=3)
async def test_websockets_count_too_and_make_room_when_they_end(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        async with talk.tab(talk.user_rejoin):
            assert (await http("GET", f"{chat_server.http}/health")).status_code == 429
        await eventually(lambda: _is_served(chat_server))
        await talk.goes_on()


@pytest.mark.given(connections_per_address=2, trusted_proxies=(Network("127.0.0.0/8"),))
async def test_behind_a_proxy_each_client_has_its_own(chat_server: Service, services: Any) -> None:
    def request(client: bytes) -> bytes:
        return GET + b"X-Forwarded-For: " + client + b"\r\n\r\n"

    held = await opened(chat_server, services, 2, request(b"192.0.2.1"))
    for peer in held:
        assert status(await peer.head()) == 200
    for client, expected in (
        (b"192.0.2.1", 429),
        (b"spoofed, 192.0.2.1", 429),
        (b"192.0.2.2", 200),
        (b"192.0.2.1, 192.0.2.3", 200),
    ):
        async with Peer.connect(chat_server) as peer:
            await peer.send(request(client))
            assert status(await peer.head()) == expected


@pytest.mark.given(connections_per_address=2, trusted_proxies=(Network("192.0.2.9"),))
async def test_nobody_else_is_believed(chat_server: Service, services: Any) -> None:
    await opened(chat_server, services, 2)
    async with Peer.connect(chat_server) as peer:
        await peer.send(GET + b"X-Forwarded-For: 192.0.2.1\r\n\r\n")
        assert status(await peer.rest()) == 429


@pytest.mark.given(max_connections=3)
async def test_a_process_has_so_many_connections(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        async with Peer.connect(chat_server) as held:
            await held.send(b"GET /")
            async with Peer.connect(chat_server) as peer:
                await peer.send(GET + b"\r\n")
                answer = await peer.rest()
                assert status(answer) == 503
                assert b"retry-after: " in answer
            await talk.goes_on()
        await eventually(lambda: _is_served(chat_server))


@pytest.mark.given(max_connections=3)
async def test_a_flood_of_connections_ends_without_an_answer(chat_server: Service, services: Any) -> None:
    async with talk_in(chat_server) as talk:
        peers = await opened(chat_server, services, 400)
        assert [await peer.rest() for peer in peers[300:]] == [b""] * 100
        await talk.goes_on()


# Beside an honest chat.


@short(head_seconds=2)
async def test_an_honest_chat_goes_on_beside_all_this(chat_server: Service, services: Any) -> None:
    async with talk_in(chat_server) as talk:
        slow = await opened(chat_server, services, 300, GET + b"X: ")
        times = []
        for number in range(50):
            started = time.perf_counter()
            await say(talk.user.says(str(number)), talk.user_socket, talk.support_socket)
            times.append(time.perf_counter() - started)
            for peer in slow[::10]:
                await peer.send(b"a" * 400)
        assert sorted(times)[-2] < 10 * UNIT
        for peer in slow[1::10]:
            assert status(await peer.rest()) == 408

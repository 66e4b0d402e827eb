"""What a peer sends besides heads and bodies that are read: it costs no memory, and has an end."""

import asyncio

import pytest

from tests.helpers.services import Service
from tests.hostile.test_http import GET, POST, Peer, status

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
STRAY = {
    "trailers": (b"1\r\nx\r\n0\r\n", b"a: b\r\n"),
    "a trailer": (b"1\r\nx\r\n0\r\nx: ", b"y"),
    "a trailer's name": (b"1\r\nx\r\n0\r\n", b"y"),
    "chunk extensions": (b"1;", b"y"),
    "zeros before a size": (b"", b"0"),
    "one-byte chunks": (b"", b"1\r\nx\r\n"),
}
ROUTES = {
    "one that reads the body": POST,
    "one that does not": GET,
    "an unknown one": GET.replace(b"/health", b"/nothing"),
    "an offer to upgrade": POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stray", STRAY)
async def test_what_is_neither_head_nor_body_is_bounded(
    shared_chat_server: Service, shared_subscriber: Service, route: str, stray: str
) -> None:
    first, more = STRAY[stray]
    for service in (shared_chat_server, shared_subscriber):
        async with Peer.connect(service) as peer:
            await peer.send(ROUTES[route] + CHUNKED + first)
            assert await cut_off(peer, more * (65536 // len(more)))
            assert set(statuses(await peer.rest())) <= {200, 404, 431}


async def cut_off(peer: Peer, more: bytes) -> bool:
    """Whether the service closes while a peer goes on and on."""
    for _ in range(300):
        await peer.send(more)
        if peer._writer.transport.is_closing():
            return True
        await asyncio.sleep(0)
    return False


def statuses(answers: bytes) -> list[int]:
    """The status of each answer."""
    return [int(answer[:3]) for answer in answers.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("stray", STRAY)
async def test_it_is_said_what_was_too_much(shared_chat_server: Service, stray: str) -> None:
    """To a peer that stops in time to hear it."""
    first, more = STRAY[stray]
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(POST + CHUNKED + first + more * (24_000 // len(more)))
        assert statuses(await peer.rest()) == [431]


async def test_what_is_dribbled_behind_an_answer_is_bounded(shared_chat_server: Service) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(GET + CHUNKED + b"1\r\nx\r\n0\r\n")
        assert status(await peer.head()) == 200
        for _ in range(17):
            await peer.send(b"x: " + b"y" * 1019 + b"\r\n")
        assert b" 431 " in await peer.rest()


async def test_a_few_trailers_and_small_chunks_are_fine(shared_chat_server: Service) -> None:
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in b'{"username":"Nika"}')
    async with Peer.connect(shared_chat_server) as peer:
        for _ in range(3):
            await peer.send(POST + CHUNKED + chunks + b"000\r\nX: y\r\nHost: evil\r\n\r\n")
            head = await peer.head()
            assert status(head) == 201
            await peer._reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))


@pytest.mark.parametrize("length", [b"Content-Length: 1000000000000\r\n\r\n", CHUNKED + b"fffffffff\r\n"])
@pytest.mark.parametrize("route", [GET, POST, GET.replace(b"/health", b"/nothing")])
async def test_a_body_without_end_is_cut_off(shared_chat_server: Service, route: bytes, length: bytes) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(route + length)
        assert await cut_off(peer, b"a" * 65536)


async def test_a_body_that_nobody_reads_is_passed_over(shared_chat_server: Service) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        for body in (b"Content-Length: 5\r\n\r\nGET /", CHUNKED + b"5\r\nGET /\r\n0\r\nX: y\r\n\r\n"):
            await peer.send(GET + body)
            assert status(await peer.head()) == 200
            await peer._reader.readexactly(len(b'{"status":"ok"}'))


@pytest.mark.parametrize("junk", [b"junk\r\n\r\n", (GET + b"\r\n") * 100, b"\0" * 100_000])
async def test_what_follows_the_last_request_is_not_read(shared_chat_server: Service, junk: bytes) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(GET + b"Connection: close\r\n\r\n" + junk)
        answer = await peer.rest()
        assert answer == b"" or statuses(answer) == [200]  # a reset may have lost it


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"], ids=["at first", "later"])
async def test_empty_lines_without_end_are_refused(shared_chat_server: Service, before: bytes) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(before)
        assert await cut_off(peer, b"\r\n" * 32768)


@pytest.mark.parametrize("frames", [b"\0" * 65536, b"\x89\x80\0\0\0\0" * 10_000])
async def test_what_comes_behind_a_handshake_is_bounded(shared_chat_server: Service, frames: bytes) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        path = b"/chat/" + b"a" * 32
        head = GET.replace(b"/health", path) + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key + b"\r\n"
        await peer.send(head + frames)
        assert await cut_off(peer, frames)


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff" * 100])
async def test_what_is_no_http_is_refused(shared_chat_server: Service, junk: bytes) -> None:
    async with Peer.connect(shared_chat_server) as peer:
        await peer.send(junk)
        assert status(await peer.rest()) == 400

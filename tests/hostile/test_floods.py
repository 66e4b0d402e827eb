"""Peers that send more than anybody asked for: what the connection holds of it, and when it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from picows.picows import WSProtocol  # type: ignore[attr-defined] # not public, hence missing in the stubs

from live_support.limits import Limits
from live_support.websocket.picows_protocol import _READ_BYTES, PicowsProtocol
from live_support.websocket.picows_transport import DirectTransport
from live_support.websocket.transport import Receiver
from tests.helpers.services import DEADLINE, Service, replace, serve
from tests.hostile import echo
from tests.hostile.attacks import TEXT, frame

BINARY = 2
MUCH = 8 * 1024 * 1024


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    try:
        async with asyncio.timeout(DEADLINE):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            yield reader, writer
    finally:
        writer.transport.abort()


async def test_whoever_floods_after_our_close_is_cut_off() -> None:
    """And keeps no socket until the time for the closing handshake is over. (uvicorn's class stops reading.)"""
    limits = Limits(close_seconds=100 * DEADLINE)
    async with (
        serve(echo.create_service, replace(echo.settings(), websocket="picows", limits=limits)) as service,
        connected(service) as (reader, writer),
    ):
        writer.write(frame(BINARY, b"?"))
        assert (await reader.readexactly(4))[:1] == b"\x88"
        with pytest.raises(OSError):  # noqa: PT011, PT012 - which one, and when, depends on the moment
            while True:
                writer.write(1000 * frame(TEXT, b"x" * 100))
                await writer.drain()
                await asyncio.sleep(0)


async def test_a_flood_does_not_make_the_read_buffer_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    protocols: list[Any] = []
    hand_over = PicowsProtocol._hand_over

    def noting(self: PicowsProtocol, receiver: Receiver) -> DirectTransport:
        direct = hand_over(self, receiver)
        protocols.append(direct._tcp.get_protocol())
        return direct

    monkeypatch.setattr(PicowsProtocol, "_hand_over", noting)
    async with (
        serve(echo.create_service, replace(echo.settings(), websocket="picows")) as service,
        connected(service) as (reader, writer),
    ):
        reading = asyncio.create_task(reader.read(-1))
        piece = 1000 * frame(TEXT, b"x")
        for _ in range(MUCH // len(piece)):
            writer.write(piece)
        await writer.drain()
        writer.write(frame(8, (1000).to_bytes(2, "big")))
        await reading
    (protocol,) = protocols
    assert len(WSProtocol.get_buffer(protocol, -1)) <= 4 * _READ_BYTES

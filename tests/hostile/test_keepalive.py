"""Pings of the server's: who answers stays, who does not is told 1011 and goes."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
import uvicorn

from tests.helpers.services import DEADLINE, UNIT, Service, replace, serve
from tests.hostile import echo
from tests.hostile.attacks import frame

PING, PONG, CLOSE, TEXT = 0x89, 0xA, 0x88, 0x81


@pytest.fixture(params=["picows", "uvicorn"])
async def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    often = partial(uvicorn.Config, ws_ping_interval=2 * UNIT, ws_ping_timeout=5 * UNIT)
    monkeypatch.setattr("live_support.service.server.uvicorn.Config", often)
    async with serve(echo.create_service, replace(echo.settings(), websocket=request.param)) as service:
        yield service


class Raw:
    """A WebSocket whose pings are answered by the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, service: Service) -> "Raw":
        raw = cls(*await asyncio.open_connection("127.0.0.1", service.port))
        raw.writer.write(
            b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 101 " in await raw.reader.readuntil(b"\r\n\r\n")
        return raw

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: its first byte, and its payload."""
        async with asyncio.timeout(DEADLINE):
            first, size = await self.reader.readexactly(2)
            return first, await self.reader.readexactly(size)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_who_answers_stays(service: Service) -> None:
    raw = await Raw.open(service)
    for _ in range(5):
        first, payload = await raw.receive()
        assert first == PING
        raw.writer.write(frame(PONG, payload))
    raw.writer.write(frame(1, b"still here"))
    while (received := await raw.receive())[0] == PING:
        raw.writer.write(frame(PONG, received[1]))
    assert received == (TEXT, b"still here")
    await raw.close()


async def test_who_does_not_answer_is_told_1011_and_goes(service: Service) -> None:
    raw = await Raw.open(service)
    while (received := await raw.receive())[0] == PING:
        pass
    assert received[0] == CLOSE
    assert int.from_bytes(received[1][:2], "big") == 1011
    async with asyncio.timeout(DEADLINE):
        assert await raw.reader.read() == b""
    await raw.close()

"""Frames that share a read with the end of their connection: what still leaves, and in which order."""

import asyncio

import pytest

from tests.helpers.services import DEADLINE, replace, serve
from tests.hostile import echo
from tests.hostile.attacks import frame

TEXT, CLOSE, NO_OPCODE = 1, 8, 3
NORMAL = (1000).to_bytes(2, "big")


async def talk(sent: bytes) -> bytes:
    """What an echo server answers on a connection that ends, picows' frames as they come."""
    async with serve(echo.create_service, replace(echo.settings(), websocket="picows")) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        async with asyncio.timeout(DEADLINE):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)
            answered = await reader.read()
        writer.close()
        return answered


@pytest.mark.parametrize("count", [1, 2])
async def test_what_is_answered_in_the_turn_of_a_close_leaves_before_its_answer(count: int) -> None:
    assert await talk(count * frame(TEXT, b"hi") + frame(CLOSE, NORMAL)) == count * b"\x81\x02hi" + b"\x88\x02" + NORMAL


async def test_who_breaks_the_protocol_gets_what_was_answered_before() -> None:
    reserved = bytes([frame(TEXT, b"hi")[0] | 0x20]) + frame(TEXT, b"hi")[1:]
    answered = await talk(frame(TEXT, b"hi") + reserved + frame(CLOSE, NORMAL))
    assert answered.startswith(b"\x81\x02hi\x88")


async def test_nothing_follows_a_close_frame_of_picows_own() -> None:
    answered = await talk(2 * frame(TEXT, b"hi") + frame(NO_OPCODE, b"?"))
    before, close, after = answered.partition(b"\x88")
    assert (before, close) in [(b"", b"\x88"), (2 * b"\x81\x02hi", b"\x88")]
    assert len(after) == 1 + after[0]

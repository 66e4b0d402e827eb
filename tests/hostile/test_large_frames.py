"""Large frames to a peer that reads late: whole, in order, and each with its own header."""

import random
import socket

import pytest

from live_support.limits import Limits
from tests.helpers.services import replace, serve
from tests.helpers.wire import Socket
from tests.hostile import echo

SIZES = [random.Random(seed).choice((9_000, 20_000, 60_000, 65_536, 65_535, 130, 126, 125, 5)) for seed in range(90)]  # noqa: S311


@pytest.mark.parametrize("layer", ["picows", "uvicorn"])
async def test_large_frames_reach_a_late_reader_whole(layer: str) -> None:
    limits = Limits(outbox_bytes=10**8, send_seconds=600, in_flight_frames=10**6, replay_window_messages=10**6)
    async with serve(echo.create_service, replace(echo.settings(), websocket=layer, limits=limits)) as service:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        small.connect(("127.0.0.1", service.port))
        async with Socket.open(f"{service.ws}/echo", sock=small, max_queue=1) as reader:
            for number, size in enumerate(SIZES):
                await reader.connection.send(f"{number}:".ljust(size, "x"))
            for number, size in enumerate(SIZES):
                assert await reader.connection.recv() == f"{number}:".ljust(size, "x")

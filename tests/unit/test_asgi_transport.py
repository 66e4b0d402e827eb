"""AsgiTransport: what happens when the peer goes at an unlucky moment."""

import asyncio
from typing import Any

from litestar.exceptions import WebSocketDisconnect
from structlog.testing import capture_logs

from live_support.settings import Settings
from live_support.websocket.connection import Connection
from live_support.websocket.connections import Connections
from live_support.websocket.handler import NullHandler


class GonePeer:
    """A WebSocket whose peer has gone: the next send hears of it, and then the reader does."""

    scope: dict[str, Any] = {}  # noqa: RUF012 - read only

    def __init__(self) -> None:
        self._tried = asyncio.Event()

    async def accept(self, **_: object) -> None:
        """Accept."""

    async def receive(self) -> dict[str, str]:
        """Tell that the peer has gone."""
        await self._tried.wait()
        return {"type": "websocket.disconnect"}

    async def send(self, _: object) -> None:
        """Fail as Litestar does."""
        self._tried.set()
        raise WebSocketDisconnect(detail="connection is disconnected")


async def test_a_frame_for_a_peer_that_has_gone_is_no_failure() -> None:
    socket: Any = GonePeer()
    connection = Connection(Settings(), Connections())
    connection.send(b"{}")
    with capture_logs() as logs:
        await connection.run(socket, NullHandler())
    assert connection.closing
    assert logs == []

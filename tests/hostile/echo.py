"""A service that says back what it is told: the production WebSocket layer and nothing else.

`python -m tests.hostile.echo` serves it alone in a process, on `LIVE_SUPPORT_CHAT_PORT`.
"""

import os
from typing import Any

import msgspec
from litestar import Litestar, WebSocket, get, websocket

from live_support.rate import Rate
from live_support.service.app import Service
from live_support.service.drain import Drain
from live_support.service.server import Server
from live_support.settings import Settings
from live_support.websocket.connection import Connection
from live_support.websocket.connections import Connections
from live_support.websocket.handler import Handler
from schemas.errors import ChatError
from schemas.wire_v1 import V1


class Echo(Handler):
    """Says back what it is told."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def frame_received(self, frame: bytes) -> None:
        """Send it back."""
        self._connection.send(frame)

    def error_frame(self, error: ChatError) -> bytes:
        """Encode it as the services do."""
        return V1.error(error)

    def connection_lost(self) -> None:
        """Keep nothing."""


def create_service(settings: Settings) -> Service:
    """Build the service."""
    connections = Connections()

    @websocket("/echo")
    async def echo(socket: WebSocket[Any, Any, Any]) -> None:
        connection = Connection(settings, connections)
        await connection.run(socket, Echo(connection))

    @get("/health", sync_to_thread=False)
    def health() -> str:
        return "ok"

    app = Litestar([echo, health], openapi_config=None, logging_config=None)
    return Service(settings, app, connections, Drain(settings.limits, connections))


def settings() -> Settings:
    """As in production, without the rate that a test would run into."""
    return msgspec.structs.replace(Settings.from_env(os.environ), message_rate=Rate("1000000/second"))


def main() -> None:
    """Serve until SIGTERM."""
    given = settings()
    Server(create_service(given), given.chat_port).run()


if __name__ == "__main__":
    main()

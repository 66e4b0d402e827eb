"""A service that says back what it is told: the production WebSocket layer and nothing else.

`python -m tests.hostile.echo` serves it alone in a process, on `LIVE_SUPPORT_CHAT_PORT`.
"""

import os
from typing import Any

import msgspec
from litestar import Litestar, WebSocket, get, websocket
from litestar.datastructures import State

from live_support.service.app import Server
from live_support.service.drain import Drain
from live_support.settings import Rate, Settings
from live_support.websocket.connection import Connection


def create_app(settings: Settings) -> Litestar:
    """Build the service."""
    drain = Drain(settings.limits)

    @websocket("/echo")
    async def echo(socket: WebSocket[Any, Any, Any]) -> None:
        connection = Connection(socket, settings, drain.connections)
        await connection.run(connection.send, lambda: None)

    @get("/health", sync_to_thread=False)
    def health() -> str:
        return "ok"

    return Litestar([echo, health], openapi_config=None, logging_config=None, state=State({"drain": drain}))


def settings() -> Settings:
    """As in production, without the rate that a test would run into."""
    return msgspec.structs.replace(Settings.from_env(os.environ), message_rate=Rate("1000000/second"))


def main() -> None:
    """Serve until SIGTERM."""
    given = settings()
    Server(create_app(given), given, given.chat_port).run()


if __name__ == "__main__":
    main()

"""Accepts a WebSocket and makes its transport: the fast one where the server offers it, else ASGI's."""

from collections.abc import Callable
from typing import Any

from litestar import WebSocket

from live_support.websocket.asgi_transport import AsgiTransport
from live_support.websocket.extensions import DIRECT
from live_support.websocket.transport import Receiver, Transport


async def open_transport(
    socket: WebSocket[Any, Any, Any], receiver: Receiver, subprotocol: str | None = None
) -> Transport:
    """Accept a WebSocket and return its transport.

    Args:
        socket: not accepted yet.
        receiver: called with frames and events.
        subprotocol: the one to select, of those that the client offers.

    Raises:
        Exception: the client has disconnected; which exception depends on the server.
    """
    await socket.accept(subprotocols=subprotocol)
    extensions: dict[str, Any] = socket.scope.get("extensions") or {}
    hand_over: Callable[[Receiver], Transport] | None = extensions.get(DIRECT)
    return hand_over(receiver) if hand_over else AsgiTransport(socket, receiver)

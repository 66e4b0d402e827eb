"""The uvicorn WebSocket class of both services: uvicorn's own, with what an ASGI application cannot do itself."""

from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

ABORT = "live_support.abort"
"""The scope extension with which the application cuts off a peer that does not read."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Offers the application to abort the TCP connection.

    A close frame, and even closing the transport, waits behind everything that the peer has not read; so a
    peer that never reads would keep its socket for ever.
    """

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not set when the handshake was refused
            cast(dict[str, object], self.scope["extensions"])[ABORT] = self.transport.abort

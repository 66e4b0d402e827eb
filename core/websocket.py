"""WebSocketProtocol: uvicorn's own WebSocket class, with what an application cannot do itself.

It is the one of the setting `uvicorn`; for `picows` it does the handshake (`core.picows_protocol`).
"""

from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from core.rate import Bucket
from core.settings import Limits, Rate

ABORT = "live_support.abort"
"""The scope extension with which the application cuts off a peer that does not read."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Offers the application to abort the TCP connection, and bounds what costs a peer nothing.

    A close frame, and even closing the transport, waits behind everything that the peer has not read; so a peer
    that never reads would keep its socket for ever. Pings are answered without the application, and empty
    fragments add nothing to a message's size: without a bound either would let the process grow.
    """

    def __init__(self, *args: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self._control_frames = Bucket(Rate(f"{limits.control_frames_per_second}/second"))

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not set when the handshake was refused
            cast(dict[str, object], self.scope["extensions"])[ABORT] = self.transport.abort

    def handle_ping(self) -> None:
        if self._control_frames.take(self.loop.time()):
            self._cut_off(CloseCode.POLICY_VIOLATION, "too many pings")
        else:
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._control_frames.take(self.loop.time()):
            self._cut_off(CloseCode.POLICY_VIOLATION, "too many pongs")
        else:
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= self._limits.fragments:
            self._cut_off(CloseCode.POLICY_VIOLATION, "too many fragments")
        else:
            super().handle_cont(event)

    def _cut_off(self, code: CloseCode, reason: str) -> None:
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()
        self.loop.call_later(self._limits.close_seconds, self.transport.abort)

"""PicowsProtocol: the WebSocket class of uvicorn's that hands open connections over to picows.

uvicorn's own class does the handshake, so that refusals, headers and subprotocols are what they are with it. In the
scope stands an extension with which the handler, once it has accepted, takes the connection out of ASGI: from then
on frames come by a plain call, and leave by one. No task, queue or ASGI message is left of the handshake.

`live_support.websocket.picows_transport` is what the handler gets.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import structlog
from picows import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined] # not public, hence missing in the stubs
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState
from websockets.http11 import Request

from live_support.websocket.extensions import DIRECT
from live_support.websocket.picows_transport import DirectTransport
from live_support.websocket.transport import Receiver
from live_support.websocket.uvicorn_protocol import WebSocketProtocol

log = structlog.get_logger()

_READ_BYTES = 16 * 1024
_BUFFER_BYTES = 2048
"""picows' buffer begins with this, and doubles as long as a frame does not fit."""

# The handshake is over when picows sees the connection. It is shown one all the same, and what it answers is empty.
_HEAD = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class _Answered:
    """The response to that handshake, as picows wants it."""

    status = HTTPStatus.SWITCHING_PROTOCOLS
    headers: dict[str, str] = {}  # noqa: RUF012 - picows writes the same key into it each time

    def to_bytes(self) -> bytearray:
        return bytearray()


class _Log:
    """picows' logger: any client can make it write errors, so only its own exceptions pass."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802, ARG002
        return False

    def debug(self, *_: object) -> None:
        pass

    info = warning = error = debug

    def exception(self, message: str, *_: object) -> None:
        log.exception("picows_failed", reason=message)


class _Gone:
    """Stands for the TCP transport in uvicorn's object once the connection is picows'."""

    def close(self) -> None:
        pass


_ANSWERED, _LOG, _GONE = _Answered(), _Log(), cast(asyncio.Transport, _Gone())


class PicowsProtocol(WebSocketProtocol):
    """uvicorn's class up to the end of the handshake."""

    def __init__(self, *args: Any, server_state: ServerState, **options: Any) -> None:
        super().__init__(*args, server_state=server_state, **options)
        self._server_state = server_state

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast(dict[str, object], self.scope["extensions"])[DIRECT] = self._hand_over

    def handshake_answered(self) -> None:
        """Leave the frames that have come too early to picows."""

    def _hand_over(self, receiver: Receiver) -> "DirectTransport":
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self.stop_keepalive()
        tcp, self.transport = self.transport, _GONE
        self.disconnected = True  # whatever the application sends by ASGI from now on raises ClientDisconnected
        self.connections.discard(self)
        direct = DirectTransport(receiver, tcp, self._server_state, self._limits)
        protocol = _Protocol(
            None, None, False, lambda _: WSUpgradeResponseWithListener(cast(Any, _ANSWERED), direct), _LOG, True, None,
            False, None, None, 1, False, self.config.ws_max_size, None, _BUFFER_BYTES,
        )  # fmt: skip
        protocol.connection_made(tcp)
        protocol.get_buffer(-1)[: len(_HEAD)] = _HEAD
        protocol.buffer_updated(len(_HEAD))
        # picows would keep the parsed request.
        protocol.transport.request.headers = {}
        direct.opened(protocol.transport, self.ping_interval, self.ping_timeout)
        tcp.set_protocol(protocol)
        if self._rest:
            # Reading has paused since. Not now: whoever called is yet to get the transport.
            self.loop.call_soon(_catch_up, protocol, tcp, self._rest)
            self._rest = b""
        return direct


def _catch_up(protocol: WSProtocol, tcp: asyncio.Transport, data: bytes) -> None:
    """Show picows the frames that came before the answer to the handshake, and read on."""
    if not tcp.is_closing():
        tcp.resume_reading()
    while data and not tcp.is_closing():
        buffer = protocol.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


_get_buffer: Callable[[WSProtocol, int], memoryview] = WSProtocol.get_buffer


class _Protocol(WSProtocol):  # type: ignore[misc]
    __slots__ = ()

    def get_buffer(self, size_hint: int) -> memoryview:
        # Whenever a read fills the buffer, picows doubles it; so a client that floods would have a buffer as large as
        # the kernel's. With this it grows only for a frame that does not fit.
        buffer = _get_buffer(self, size_hint)
        return buffer if len(buffer) <= _READ_BYTES else buffer[:_READ_BYTES]

    def data_received(self, data: bytes) -> None:
        """Never called. uvloop keeps the method of the protocol before, and with it all that is left of uvicorn's."""

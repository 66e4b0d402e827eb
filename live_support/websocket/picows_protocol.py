"""PicowsProtocol: a WebSocket class for uvicorn that hands open connections over to picows.

uvicorn's own class does the handshake, so refusals, headers and subprotocols are the same. The scope has an extension
with which the handler, once it has accepted, takes the connection out of ASGI: from then on frames are received and
sent by plain calls. No task, queue or ASGI message is left of the handshake.

The handler gets a `live_support.websocket.picows_transport`.
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
"""The initial size of picows' buffer, which doubles until a frame fits."""

# picows gets the connection after the handshake, but expects one. So it is given this request, and answers nothing.
_HEAD = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class _Answered:
    """The empty response to that handshake, in the form that picows expects."""

    status = HTTPStatus.SWITCHING_PROTOCOLS
    headers: dict[str, str] = {}  # noqa: RUF012 - picows writes the same key into it each time

    def to_bytes(self) -> bytearray:
        return bytearray()


class _Log:
    """A logger for picows: any client can cause error messages, so only its own exceptions are logged."""

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
        """Leave frames that came before the answer to the handshake to picows."""

    def _hand_over(self, receiver: Receiver) -> "DirectTransport":
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self.stop_keepalive()
        tcp, self.transport = self.transport, _GONE
        self.disconnected = True  # so sending by ASGI raises ClientDisconnected from now on
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
            # Reading has been paused since. Later, because the caller does not have the transport yet.
            self.loop.call_soon(_catch_up, protocol, tcp, self._rest)
            self._rest = b""
        return direct


def _catch_up(protocol: WSProtocol, tcp: asyncio.Transport, data: bytes) -> None:
    """Pass the frames that came before the answer to the handshake to picows, and read on."""
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
        # picows doubles the buffer whenever a read fills it, so a flood would make it as large as the kernel's. With
        # this bound it grows only for a frame that does not fit.
        buffer = _get_buffer(self, size_hint)
        return buffer if len(buffer) <= _READ_BYTES else buffer[:_READ_BYTES]

    def data_received(self, data: bytes) -> None:
        """Never called. Otherwise uvloop would keep the former protocol's method, and with it uvicorn's objects."""

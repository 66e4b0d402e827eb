"""WebSocketProtocol: uvicorn's own WebSocket class, with additions that an application cannot make itself.

The setting `uvicorn` uses it; for `picows` it does the handshake (`live_support.websocket.picows_protocol`).
"""

import socket
import struct
from asyncio import BaseTransport, Transport
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request

from live_support.http.problems import MEDIA_TYPE, RETRY_MS, problem_body, retry_after
from live_support.limits import Limits
from live_support.refusal_log import Refusal, refused, refused_by_layer
from live_support.websocket.extensions import ABORT, SEND_PART
from live_support.websocket.frame_rules import FrameRules, ViolationError

_PIECE_BYTES = 4096
_RESET_AT_ONCE = struct.pack("ii", 1, 0)


def cut(tcp: Transport) -> None:
    """Reset a TCP connection; otherwise the kernel would keep unread data for minutes."""
    with suppress(RuntimeError, OSError, ValueError):  # the transport was aborted before
        # Otherwise the socket is closed already, and its number may belong to another one.
        if not tcp.is_closing() or tcp.get_write_buffer_size():
            connection: socket.socket = tcp.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    tcp.abort()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Lets the application abort the TCP connection, and bounds frames that cost a client nothing.

    A close frame, and even closing the transport, waits until the client has read everything before it; so a client
    that never reads would keep its socket for ever. Pings are answered without the application, and empty
    fragments add nothing to a message's size: without a bound either would let the process grow.

    Of uvicorn's class it relies on names that are not public: `conn`, `scope`, `queue`, `frames`, `read_paused`,
    `writable`, `transport`, `handshake_initiated`, `handshake_complete`, `initial_response`, `disconnected`,
    `close_sent`, `close_timeout`, the `handle_...` methods, `handle_parser_exception`, and `send_500_response`.
    """

    def __init__(self, *args: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self.close_timeout = limits.close_seconds
        self._rest = b""
        self._rules = FrameRules(limits)

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        # Otherwise the kernel buffers some 4 MB before it shows that the client does not read.
        tcp: socket.socket = transport.get_extra_info("socket")
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.send_buffer_bytes)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not set when the handshake was refused
            extensions = cast(dict[str, object], self.scope["extensions"])
            extensions[ABORT] = partial(cut, self.transport)
            extensions[SEND_PART] = self._send_part

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)  # the head, from the HTTP protocol
            return
        # Otherwise one read would be parsed and queued at once: thousands of tiny frames, with a dict for each.
        self._rest += data
        if self.handshake_complete:
            self._parse()
        elif len(self._rest) <= self._limits.frame_bytes:
            # Frames of a client that does not wait for the answer to its handshake are kept.
            self.transport.pause_reading()
        else:
            self._rest = b""
            refused(Refusal.REQUEST_TOO_LARGE)
            self._reject(HTTPStatus.BAD_REQUEST, "Too much was sent before the answer to the handshake.")
            self.disconnected = True
            self.transport.close()

    def handshake_answered(self) -> None:
        """Parse frames that came before the answer to the handshake. Called when that is sent."""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._parse()

    def _parse(self) -> None:
        while self._rest and not self.read_paused and not self.transport.is_closing():
            piece, self._rest = self._rest[:_PIECE_BYTES], self._rest[_PIECE_BYTES:]
            super().data_received(piece)

    async def receive(self) -> ASGIReceiveEvent:
        event = await super().receive()
        if self.handshake_complete:
            self._parse()
        return event

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.handshake_answered()
        elif message["type"] == "websocket.http.response.body":
            # As uvicorn does after a close; otherwise it logs the refusal as an error of the application.
            self.handshake_complete = self.close_sent
        elif message["type"] == "websocket.close":
            # uvicorn's own timer only closes, which waits for a client that does not read.
            self.loop.call_later(self._limits.close_seconds, cut, self.transport)

    async def _send_part(self, part: bytes, *, first: bool, last: bool) -> None:
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        try:
            (self.conn.send_text if first else self.conn.send_continuation)(part, last)
        except InvalidState:
            raise ClientDisconnected from None
        self.transport.write(b"".join(self.conn.data_to_send()))

    def send_500_response(self) -> None:
        """Refuse the handshake because of an internal error: the client, or a proxy, may try again."""
        self._reject(HTTPStatus.SERVICE_UNAVAILABLE, "The server failed to answer.")

    def _reject(self, status: HTTPStatus, detail: str) -> None:
        if self.initial_response or self.handshake_complete:
            return
        wait_ms = RETRY_MS if status is HTTPStatus.SERVICE_UNAVAILABLE else None
        response = self.conn.reject(status, problem_body(status, detail, retry_after_ms=wait_ms).decode())
        response.headers["Content-Type"] = MEDIA_TYPE
        if wait_ms is not None:
            response.headers["Retry-After"] = retry_after(wait_ms)
        self.conn.send_response(response)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def handle_ping(self) -> None:
        try:
            self._rules.control_frame_received(self.loop.time())
        except ViolationError as violation:
            self._cut_off(violation)
        else:
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        try:
            self._rules.control_frame_received(self.loop.time())
        except ViolationError as violation:
            self._cut_off(violation)
        else:
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        try:
            self._rules.check_fragments(len(self.frames))
        except ViolationError as violation:
            self._cut_off(violation)
        else:
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is not None:
            refused_by_layer(self.conn.close_sent.code)
        super().handle_parser_exception()

    def _cut_off(self, violation: ViolationError) -> None:
        if self.transport.is_closing():
            return
        if not self.close_sent:
            self.conn.fail(violation.code, violation.reason)
            self.handle_parser_exception()
        self.transport.close()
        self.loop.call_later(self._limits.close_seconds, cut, self.transport)

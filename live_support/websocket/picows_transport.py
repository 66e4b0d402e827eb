"""DirectTransport: an open WebSocket on picows: a transport for the connection, a listener for picows.

picows only splits the stream of bytes into frames; `FrameRules` applies RFC 6455 to them.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

from picows import WSFrame, WSListener, WSMsgType, WSTransport
from uvicorn.server import ServerState
from websockets.frames import CloseCode

from live_support.limits import Limits
from live_support.refusal_log import refused_by_layer
from live_support.timing_wheel import NEVER
from live_support.websocket.frame_rules import FrameRules, ViolationError, close_answer
from live_support.websocket.transport import Receiver
from live_support.websocket.uvicorn_protocol import cut

_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
_PING, _PONG, _CLOSE = WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE

_MAX_COPIED_BYTES = 8192
"""picows copies frames up to this size. For a larger one it queues the header as a view of memory that its next frame
overwrites, so a client that reads late would get the header of another frame."""

_FIN_BIT = 0x80


@lru_cache(4096)
def _header(size: int, first_byte: int = _FIN_BIT | _TEXT.value) -> bytes:
    """Make the header of a server's frame (RFC 6455, section 5.2), by default of a whole text message."""
    if size < 126:
        return b"%c%c" % (first_byte, size)
    length = b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    return b"%c%b" % (first_byte, length)


class DirectTransport(WSListener):
    """An open WebSocket on picows. See `live_support.websocket.transport.Transport`.

    Args:
        receiver: called with frames and events.
        tcp: the TCP connection.
        server: uvicorn's state, with the connections that it closes at its stop.
        limits: bounds of fragments and control frames.
    """

    __slots__ = (
        "_ignoring_input",
        "_loop",
        "_ping_at",
        "_ping_seconds",
        "_pong_by",
        "_pong_seconds",
        "_receiver",
        "_rules",
        "_server",
        "_tcp",
        "_websocket",
    )

    def __init__(self, receiver: Receiver, tcp: asyncio.Transport, server: ServerState, limits: Limits) -> None:
        self._receiver = receiver
        self._tcp = tcp
        self._server = server
        self._rules = FrameRules(limits)
        self._ignoring_input = False
        self._pong_by = NEVER

    def opened(self, websocket: WSTransport, ping_seconds: float | None, pong_seconds: float | None) -> None:
        """Start on a connection that picows has taken over."""
        self._loop = asyncio.get_running_loop()
        self._websocket = websocket
        self._ping_seconds = ping_seconds or NEVER
        self._pong_seconds = pong_seconds or NEVER
        # Random, so that connections that were opened together do not get their pings together.
        self._ping_at = self._loop.time() + self._ping_seconds * random.uniform(0.5, 1)  # noqa: S311
        self._server.connections.add(cast(Any, self))

    # For the connection.

    async def run(self) -> None:
        """Return at once: picows calls this object for each frame."""

    def send(self, frames: Sequence[bytes]) -> None:
        if self._websocket.is_close_frame_sent:
            return  # by picows, because of an error that it has not reported yet
        try:
            if len(frames) > 1:
                self._tcp.write(b"".join([part for frame in frames for part in (_header(len(frame)), frame)]))
            elif len(frames[0]) <= _MAX_COPIED_BYTES:
                self._websocket.send(_TEXT, frames[0])
            else:
                self._tcp.writelines((_header(len(frames[0])), frames[0]))
        except RuntimeError:  # the connection is lost, which was not reported yet
            pass

    def send_part(self, part: bytes, *, first: bool, last: bool) -> None:
        if self._websocket.is_close_frame_sent:
            return  # as above
        first_byte = (_TEXT if first else _CONTINUATION).value | (_FIN_BIT if last else 0)
        with suppress(RuntimeError):
            self._tcp.writelines((_header(len(part), first_byte), part))

    def close(self, code: int, reason: str) -> None:
        with suppress(RuntimeError):
            self._websocket.send_close(cast(Any, code), reason.encode())
        self._ignoring_input = True
        self._rules.close_sent()

    def abort(self) -> None:
        self._ignoring_input = True
        cut(self._tcp)

    def pause_reading(self) -> None:
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        self._tcp.resume_reading()

    def buffered(self) -> int:
        return self._tcp.get_write_buffer_size()

    def keep_alive(self, now: float) -> float:
        if self._pong_by <= now:
            if self._tcp.is_reading():
                self._fail(ViolationError(CloseCode.INTERNAL_ERROR, "keepalive ping timeout", at_once=True))
                return NEVER
            # The answer may be in the data that is not being read now.
            self._pong_by = now + self._pong_seconds
        if self._ping_at <= now:
            self._websocket.send_ping()
            self._ping_at = now + self._ping_seconds
            self._pong_by = min(self._pong_by, now + self._pong_seconds)
        return min(self._ping_at, self._pong_by)

    # For the server.

    @property
    def transport(self) -> asyncio.Transport:
        """The TCP connection, under the name that uvicorn's protocols use."""
        return self._tcp

    def shutdown(self) -> None:
        """Called when the server has stopped and closed all connections: this one was opened afterwards."""
        self.abort()

    # For picows.

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._ignoring_input:
            if self._rules.ignored(frame.payload_size) or frame.msg_type is _CLOSE:
                self._tcp.close()
            return
        try:
            message = self._message_of(transport, frame)
        except ViolationError as violation:
            self._fail(violation)
        else:
            if message is not None:
                self._receiver.frame_received(message)

    def _message_of(self, transport: WSTransport, frame: WSFrame) -> bytes | None:
        """Handle a frame; return the text message that it completes, if it does."""
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise ViolationError(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
        # The frame's memory belongs to picows: the next read overwrites it.
        if kind is _TEXT:
            return self._rules.message_began(frame.get_payload_as_bytes(), last=frame.fin)
        if kind is _CONTINUATION:
            return self._rules.message_continued(frame.get_payload_as_bytes(), last=frame.fin)
        if kind is _BINARY:
            self._rules.binary_began()
            self._receiver.binary_received()
        elif kind is _CLOSE:
            self._closed_by_client(frame.get_payload_as_bytes())
        else:
            if kind is _PONG:
                self._pong_by = NEVER
            self._rules.control_frame_received(self._loop.time())
            if kind is _PING:
                transport.send_pong(frame.get_payload_as_bytes())
        return None

    def _closed_by_client(self, payload: bytes) -> None:
        # First, so that earlier frames are sent before the answer.
        self._receiver.closing_began()
        code, reason = close_answer(payload)
        if code is None:
            self._websocket.send(_CLOSE, b"")
        else:
            if reason:  # the close frame breaks a rule itself
                refused_by_layer(code)
            self._websocket.send_close(cast(Any, code), reason.encode())
        self._ignoring_input = True
        self._tcp.close()

    def _fail(self, violation: ViolationError) -> None:
        """Close, because the client broke a rule. It may answer with its own close frame."""
        refused_by_layer(violation.code)
        self._receiver.closing_began()
        self.close(violation.code, violation.reason)
        if violation.at_once:
            self._tcp.close()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        handshake: Any = transport.close_handshake  # None without one, unlike in the stubs
        if not self._ignoring_input and handshake is not None and handshake.sent is not None:
            refused_by_layer(handshake.sent.code)  # picows has closed by itself
        self._ignoring_input = True
        self._server.connections.discard(cast(Any, self))
        receiver = self._receiver
        del self._receiver  # it refers to this transport
        receiver.connection_lost()

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

"""PicowsProtocol: the WebSocket class of uvicorn's that hands open connections over to picows.

uvicorn's own class does the handshake, so that refusals, headers and subprotocols are what they are with it. In the
scope stands an extension with which the handler, once it has accepted, takes the connection out of ASGI: from then
on frames come by a plain call, and leave by one. No task, queue or ASGI message is left of the handshake.

Pings, closing, fragments and the limits are here, since picows only cuts the stream of bytes into frames.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import structlog
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined] # not public, hence missing in the stubs
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.http11 import Request

from live_support.limits import Limits
from live_support.refusal_log import refused_by_layer
from live_support.timing_wheel import NEVER
from live_support.websocket.transport import DIRECT, Receiver
from live_support.websocket.uvicorn_protocol import WebSocketProtocol, cut

log = structlog.get_logger()

_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
_PING, _PONG, _CLOSE = WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE

_READ_BYTES = 16 * 1024
_BUFFER_BYTES = 2048
"""picows' buffer begins with this, and doubles as long as a frame does not fit."""

_COPIED_BYTES = 8192
"""picows copies frames up to this size. Of a larger one it queues the header as a view of memory that its next frame
overwrites, so a peer that reads late would get another frame's header."""

_DEAF_BYTES = 1024 * 1024
"""How much a peer may still send when we wait for its close frame; each frame counts as 1 KiB and its size."""

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


_FIN_BIT = 0x80


@lru_cache(4096)
def _header(size: int, first_byte: int = _FIN_BIT | _TEXT.value) -> bytes:
    """Begin a frame of a server's (RFC 6455, section 5.2), by default one that is a text message."""
    if size < 126:
        return b"%c%c" % (first_byte, size)
    length = b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    return b"%c%b" % (first_byte, length)


_get_buffer: Callable[[WSProtocol, int], memoryview] = WSProtocol.get_buffer


class _Protocol(WSProtocol):  # type: ignore[misc]
    __slots__ = ()

    def get_buffer(self, size_hint: int) -> memoryview:
        # Whenever a read fills the buffer, picows doubles it; so a peer that floods would have a buffer as large as
        # the kernel's. With this it grows only for a frame that does not fit.
        buffer = _get_buffer(self, size_hint)
        return buffer if len(buffer) <= _READ_BYTES else buffer[:_READ_BYTES]

    def data_received(self, data: bytes) -> None:
        """Never called. uvloop keeps the method of the protocol before, and with it all that is left of uvicorn's."""


class DirectTransport(WSListener):
    """An open WebSocket on picows. See `live_support.websocket.transport.Transport`.

    Args:
        receiver: is told what comes.
        tcp: the connection.
        server: uvicorn's state: which connections are told of its stop, and for which tasks it waits.
        limits: of fragments and control frames.
    """

    __slots__ = (
        "_control_full_at",
        "_deaf",
        "_fragments",
        "_limits",
        "_loop",
        "_ping_at",
        "_ping_seconds",
        "_pong_by",
        "_pong_seconds",
        "_receiver",
        "_server",
        "_size",
        "_tcp",
        "_websocket",
    )

    def __init__(self, receiver: Receiver, tcp: asyncio.Transport, server: ServerState, limits: Limits) -> None:
        self._receiver = receiver
        self._tcp = tcp
        self._server = server
        self._limits = limits
        self._fragments: list[bytes] | None = None
        self._size = 0
        self._deaf = False
        self._control_full_at = 0.0
        self._pong_by = NEVER

    def opened(self, websocket: WSTransport, ping_seconds: float | None, pong_seconds: float | None) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._websocket = websocket
        self._ping_seconds = ping_seconds or NEVER
        self._pong_seconds = pong_seconds or NEVER
        # Spread, so that connections that came together are not all asked together.
        self._ping_at = self._loop.time() + self._ping_seconds * random.uniform(0.5, 1)  # noqa: S311
        self._server.connections.add(cast(Any, self))

    # For the connection.

    async def run(self) -> None:
        """Return at once: picows calls for each frame."""

    def send(self, frames: Sequence[bytes]) -> None:
        if self._websocket.is_close_frame_sent:
            return  # by picows, because of an error of which we are yet to be told
        try:
            if len(frames) > 1:
                self._tcp.write(b"".join([part for frame in frames for part in (_header(len(frame)), frame)]))
            elif len(frames[0]) <= _COPIED_BYTES:
                self._websocket.send(_TEXT, frames[0])
            else:
                self._tcp.writelines((_header(len(frames[0])), frames[0]))
        except RuntimeError:  # the connection is lost, which we are yet to be told
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
        self._deaf = True
        self._size = 0
        self._fragments = None

    def abort(self) -> None:
        self._deaf = True
        cut(self._tcp)

    def pause_reading(self) -> None:
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        self._tcp.resume_reading()

    def buffered(self) -> int:
        return self._tcp.get_write_buffer_size()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._server.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("task_failed", exc_info=error)

    def keep_alive(self, now: float) -> float:
        if self._pong_by <= now:
            if self._tcp.is_reading():
                self._fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
                self._tcp.close()
                return NEVER
            # The answer may lie where we do not read at the moment.
            self._pong_by = now + self._pong_seconds
        if self._ping_at <= now:
            self._websocket.send_ping()
            self._ping_at = now + self._ping_seconds
            self._pong_by = min(self._pong_by, now + self._pong_seconds)
        return min(self._ping_at, self._pong_by)

    # For the server.

    @property
    def transport(self) -> asyncio.Transport:
        """The TCP connection, under the name that uvicorn's protocols have for it."""
        return self._tcp

    def shutdown(self) -> None:
        """Called when the server stops and has seen everybody off: whoever is here has only just come."""
        self.abort()

    # For picows.

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if self._deaf:
            self._size += 1024 + frame.payload_size
            if kind is _CLOSE or self._size > _DEAF_BYTES:
                self._tcp.close()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fail(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
        elif kind is _TEXT and frame.fin and self._fragments is None:
            # The frame's memory is picows': the next read overwrites it.
            message = frame.get_payload_as_bytes()
            if message.isascii():
                self._receiver.frame_received(message)
            else:
                self._receive(message)
        elif kind is _PING:
            if not self._flooded():
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind is _PONG:
            self._pong_by = NEVER
            self._flooded()
        elif kind is _CLOSE:
            self._closed_by_peer(frame)
        else:
            self._data_frame(frame)

    def _receive(self, message: bytes) -> None:
        try:
            message.decode()
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "not UTF-8")
        else:
            self._receiver.frame_received(message)

    def _data_frame(self, frame: WSFrame) -> None:
        """Put a message together."""
        is_first = frame.msg_type is not _CONTINUATION
        if is_first is (self._fragments is not None):
            self._fail(
                CloseCode.PROTOCOL_ERROR, "a message in the middle of another" if is_first else "nothing to continue"
            )
        elif frame.msg_type is _BINARY:
            self._receiver.binary_received()
        elif self._fragments is None:
            self._fragments = [frame.get_payload_as_bytes()]
            self._size = frame.payload_size
        else:
            self._size += frame.payload_size
            if self._size > self._limits.frame_bytes:
                self._fail(CloseCode.MESSAGE_TOO_BIG, "message too big")
            elif len(self._fragments) >= self._limits.fragments:
                self._fail(CloseCode.POLICY_VIOLATION, "too many fragments")
                self._tcp.close()
            else:
                self._fragments.append(frame.get_payload_as_bytes())
                if frame.fin:
                    message, self._fragments = b"".join(self._fragments), None
                    self._receive(message)

    def _flooded(self) -> bool:
        """Count a control frame: they are answered below the application, so they have a rate of their own."""
        rate = self._limits.control_frames_per_second
        now = self._loop.time()
        self._control_full_at = max(now, self._control_full_at) + 1 / rate
        if self._control_full_at - now <= 1 + 1e-7:
            return False
        self._fail(CloseCode.POLICY_VIOLATION, "too many control frames")
        self._tcp.close()
        return True

    def _closed_by_peer(self, frame: WSFrame) -> None:
        # First, so that what was sent before leaves before.
        self._receiver.closing_began()
        code: int = cast(Any, frame.get_close_code())  # a plain number unless picows knows it
        # picows has refused most of the codes that may not be sent.
        if frame.payload_size == 0:
            self._websocket.send(_CLOSE, b"")
        elif code in (0, 1006) or code >= 5000:
            self._websocket.send_close(cast(Any, CloseCode.PROTOCOL_ERROR), b"invalid close code")
            refused_by_layer(CloseCode.PROTOCOL_ERROR)
        else:
            self._websocket.send_close(cast(Any, code))
        self._deaf = True
        self._tcp.close()

    def _fail(self, code: CloseCode, reason: str) -> None:
        """Close, because the peer breaks the rules. It may answer with its own close frame."""
        refused_by_layer(code)
        self._receiver.closing_began()
        self.close(code, reason)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        handshake: Any = transport.close_handshake  # None without one, unlike in the stubs
        if not self._deaf and handshake is not None and handshake.sent is not None:
            refused_by_layer(handshake.sent.code)  # picows has closed, without a word to us
        self._deaf = True
        self._server.connections.discard(cast(Any, self))
        receiver = self._receiver
        del self._receiver  # which holds this transport
        receiver.connection_lost()

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

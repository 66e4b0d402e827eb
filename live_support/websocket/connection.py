"""Connection: one WebSocket, as the services see it. Knows frames, deadlines and close codes, not chats.

Nobody ever waits for the peer: what it does not take waits in a bounded outbox. And the peer waits for us: while
one of its frames is worked on, the later ones wait in order, and after a few of them reading pauses.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from litestar import WebSocket

from live_support import subprotocol
from live_support.rate import Bucket
from live_support.refusal_log import Refusal, refused
from live_support.settings import Settings
from live_support.timing_wheel import NEVER
from live_support.websocket.asgi_transport import AsgiTransport
from live_support.websocket.connections import Connections
from live_support.websocket.picows_protocol import DIRECT
from live_support.websocket.transport import Transport
from schemas.codec import encode
from schemas.errors import ChatError, CloseCode, Forbidden, InvalidFrame, RateLimited
from schemas.messages import Error, ErrorArgs

log = structlog.get_logger()

_LONGEST_THROTTLE_SECONDS = 1.0
# More leaves in several writes, so that one is told in between when the peer takes no more.
_WRITE_BYTES = 16 * 1024
# Close codes from here on are the protocol's own: each says why a client is sent away.
_OURS = 4000
# Of tokens and rates there is a line with more to say.
_LOGGED_ELSEWHERE = (CloseCode.NOT_AUTHENTICATED, CloseCode.RATE_LIMITED)

Pending = Coroutine[Any, Any, None] | None
Receive = Callable[[bytes], Pending]
Leave = Callable[[], Pending]
Refill = Callable[[], list[bytes]]
IdleGrace = Callable[[float], Awaitable[float]]


async def _no_grace(idle_seconds: float) -> float:  # noqa: ARG001
    return 0


class Connection:
    """A WebSocket to which `send` and `close` never wait, and whose frames go to a plain function.

    Args:
        socket: not accepted yet.
        settings: the deadlines and bounds.
        connections: the process's; it belongs to them while it is open.
        refill: asked for more frames whenever the peer has taken everything; see `flush`.
        idle_grace: told for how many seconds the connection has been idle, says for how many more it may be; 0 lets it
            close.
    """

    # Thousands of them are idle at a time: no dict, and what most never need is made when it is needed.
    __slots__ = (
        "_bucket",
        "_close_code",
        "_close_reason",
        "_close_sent",
        "_connections",
        "_cut_at",
        "_deaf",
        "_expected",
        "_expected_at",
        "_expected_why",
        "_idle_grace",
        "_in_parts",
        "_inbox",
        "_last_activity",
        "_leave",
        "_limits",
        "_loop",
        "_lost",
        "_malformed",
        "_opened",
        "_outbox",
        "_outbox_size",
        "_patient_until",
        "_read_again_at",
        "_receive",
        "_refill",
        "_refused",
        "_room",
        "_settings",
        "_socket",
        "_task",
        "_transport",
        "_unanswered",
        "_writable",
        "due",
        "id",
    )

    def __init__(
        self,
        socket: WebSocket[Any, Any, Any],
        settings: Settings,
        connections: Connections,
        *,
        refill: Refill | None = None,
        idle_grace: IdleGrace = _no_grace,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.due = NEVER
        self._socket: WebSocket[Any, Any, Any] | None = socket
        self._settings = settings
        self._limits = settings.limits
        self._connections = connections
        self._refill = refill
        self._idle_grace = idle_grace
        self._loop = asyncio.get_running_loop()
        self._transport: Transport  # once it is open
        self._opened = False
        self._receive: Receive = _ignore
        self._leave: Leave = _nothing
        self._lost = False

        self._outbox: list[bytes] | None = None
        self._outbox_size = 0  # counts only while there is one
        self._writable = False
        self._in_parts = False
        self._room: asyncio.Future[None] | None = None
        self._close_code: CloseCode | None = None
        self._close_reason = ""
        self._close_sent = False

        self._bucket = Bucket(settings.message_rate)
        self._refused = 0
        self._malformed = 0
        self._inbox: deque[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self._unanswered = 0
        self._deaf = False

        # Times of the event loop's clock.
        self._last_activity = self._loop.time()
        self._patient_until = 0.0
        self._read_again_at = NEVER
        self._cut_at = NEVER
        self._expected_at = NEVER
        self._expected: Callable[[], bool] = bool
        self._expected_why = ""

    # For the services: none of these waits.

    def send(self, frame: bytes) -> None:
        """Send a text frame; a peer that lets too many pile up is closed with 4008.

        What is sent in one turn of the event loop leaves together, at its end.
        """
        if self._close_code is not None:
            return
        outbox = self._outbox
        if outbox is None:
            self._outbox = [frame]
            self._outbox_size = len(frame)
            if self._writable:
                self._connections.flush_soon(self)
            return
        if len(outbox) >= self._limits.outbox_frames or self._outbox_size > self._limits.outbox_bytes:
            if self._writable and not self._in_parts:  # it is only much for one turn
                self.flush()
                self.send(frame)
            else:
                self._empty_outbox()
                self.close(CloseCode.SLOW_CONSUMER)
            return
        outbox.append(frame)
        self._outbox_size += len(frame)

    async def send_part(self, part: bytes, *, last: bool = False) -> bool:
        """Send a part of a message that is too large to wait for the peer as a whole.

        It waits until the peer has taken most of what was sent before. Other messages wait for the last part.

        Returns:
            Whether more may be sent: not to a peer that has gone or is to go.
        """
        self.flush()
        while self._close_code is None and not self._writable:
            self._room = self._loop.create_future()
            await self._room
            self.flush()
        if self._close_code is not None:
            return False
        self._last_activity = self._loop.time()
        first, self._in_parts = not self._in_parts, not last
        self._transport.send_part(part, first=first, last=last)
        if last:
            self.flush()
        return True

    def refuse(self, error: ChatError) -> None:
        """Send an `Error`, and close if the error says so."""
        self.send(error_frame(error))
        if error.close is not None:
            self.close(error.close)

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        """Close after the frames that are queued. The first code counts, and its reason unless another is given."""
        if self._close_code is None:
            if code >= _OURS and code not in _LOGGED_ELSEWHERE:
                refused(code)
            self._close_code = code
            self._close_reason = reason or code.reason
            self._inbox = None
            if self._in_parts:
                self._empty_outbox()  # nothing but the close may come in the middle of a message
            self.flush()
            self._tell_room()

    @property
    def closing(self) -> bool:
        """Whether nothing more will be sent."""
        return self._close_code is not None

    def expect(self, condition: Callable[[], bool], seconds: float, reason: str) -> None:
        """Close with 4408 and a reason unless a condition holds after some seconds."""
        self._expected = condition
        self._expected_why = reason
        self._expected_at = self._loop.time() + seconds
        self._connections.wake(self, self._expected_at)

    def busy(self) -> None:
        """Note that a frame's answer will come later; with too many of them, later frames wait."""
        self._unanswered += 1

    def ready(self, error: Exception | None) -> None:
        """Note that a frame was dealt with, or tell the peer why not."""
        self._unanswered -= 1
        if error is not None:
            self._failed(error)
        if self._unanswered == self._limits.unanswered - 1:
            self._loop.call_soon(self._proceed)

    # For the end of the service.

    def stop_receiving(self) -> None:
        """Take no more frames; those that were taken are dealt with."""
        self._deaf = True

    @property
    def working(self) -> bool:
        """Whether frames that were taken are still to be answered."""
        if self._in_parts:
            return False  # whoever is still reading an answer gets it elsewhere
        return self._task is not None or self._unanswered > 0 or bool(self._inbox)

    def abort(self) -> None:
        """Cut the connection, now."""
        self._empty_outbox()
        self.close(CloseCode.SERVICE_RESTART)
        if self._opened:
            self._transport.abort()

    # The connection's life.

    async def run(self, receive: Receive, leave: Leave) -> None:
        """Accept, and pass on each frame until the peer or we close.

        It may return while the connection lives on: then no task waits for it, and nothing of its handler is kept.

        Args:
            receive: takes a frame, and is done with it when it returns None; a coroutine is run, and later frames
                wait for its end. What either raises of `ChatError` is told to the peer; anything else closes
                with 1011.
            leave: called when the connection is gone and all its frames have been dealt with.
        """
        socket, self._socket = self._socket, None
        if socket is None:
            raise RuntimeError("A connection runs once.")
        self._receive, self._leave = receive, leave
        try:
            await socket.accept(subprotocols=subprotocol.select(socket))
            extensions: dict[str, Any] = socket.scope.get("extensions") or {}
            attach = extensions.get(DIRECT)
            transport: Transport = attach(self) if attach else AsgiTransport(socket, self)
        except BaseException:  # the peer has gone in the middle of it
            if pending := leave():
                await pending
            raise
        self._transport = transport
        self._opened = True
        now = self._last_activity = self._loop.time()
        self._connections.add(self, now)
        self._writable = True
        self.flush()
        if isinstance(transport, AsgiTransport):
            await transport.run()

    # What the transport tells.

    def frame_received(self, frame: bytes) -> None:
        if self._deaf or self._close_code is not None:
            return
        now = self._last_activity = self._loop.time()
        if self._inbox is not None:
            self._inbox.append(frame)
        elif self._task is None and self._unanswered < self._limits.unanswered:
            self._handle(frame, now)
        else:
            self._inbox = deque((frame,))
            self._transport.pause_reading()

    def binary_received(self) -> None:
        self.close(CloseCode.UNSUPPORTED_DATA)

    def pause_writing(self) -> None:
        self._writable = False
        size = self._transport.buffered()
        self._cut_off_in(self._limits.send_seconds + size / self._limits.send_bytes_per_second)

    def resume_writing(self) -> None:
        self._writable = True
        if not self._close_sent:
            self._cut_at = NEVER
            self.flush()
        self._tell_room()

    def closing_began(self) -> None:
        if self._close_code is None:
            self._close_code = CloseCode.INTERNAL_ERROR  # not sent: the transport sends its own
        self._close_sent = True
        self.flush()
        self._empty_outbox()
        self._tell_room()
        self._cut_off_in(self._limits.close_seconds)

    def connection_lost(self) -> None:
        self._connections.discard(self)
        self._lost = self._close_sent = True
        self._writable = False
        if self._close_code is None:
            self._close_code = CloseCode.INTERNAL_ERROR
        self._empty_outbox()
        self._tell_room()
        self._proceed()

    # Reading.

    @property
    def _blocked(self) -> bool:
        return self._task is not None or self._unanswered >= self._limits.unanswered

    def _handle(self, frame: bytes, now: float) -> None:
        try:
            if retry_seconds := self._bucket.take(now):
                self._throttle()
                refused(Refusal.MESSAGES)
                raise RateLimited("Rate limit exceeded.", retry_after_ms=round(retry_seconds * 1000) + 1)
            self._refused = 0
            pending = self._receive(frame)
            if pending is None:
                self._malformed = 0
                return
        except Exception as error:
            self._failed(error)
        else:
            self._task = self._transport.spawn(self._finish(pending))

    async def _finish(self, pending: Coroutine[Any, Any, None]) -> None:
        try:
            await pending
            self._malformed = 0
        except asyncio.CancelledError:
            # The server's patience at its stop is over.
            self._inbox = None
            raise
        except Exception as error:
            self._failed(error)
        finally:
            self._task = None
            self._proceed()

    def _proceed(self) -> None:
        """Deal with the frames that waited; then read on, or leave."""
        while self._inbox and not self._blocked:
            self._handle(self._inbox.popleft(), self._loop.time())
        if self._blocked:
            return
        self._inbox = None
        if self._lost:
            self._end()
        elif self._read_again_at == NEVER:
            self._transport.resume_reading()

    def _throttle(self) -> None:
        # Every refused frame is answered, so a flood is slowed down where it comes from: reading pauses until the
        # bucket would have held all that was refused.
        self._refused += 1
        pause = min(self._refused * self._settings.message_rate.interval_seconds, _LONGEST_THROTTLE_SECONDS)
        self._read_again_at = self._loop.time() + pause
        self._transport.pause_reading()
        self._connections.wake(self, self._read_again_at)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, InvalidFrame):
            self._malformed += 1
            self.refuse(error)
            if self._malformed >= self._limits.malformed_in_a_row:
                self.close(CloseCode.MALFORMED)
        elif isinstance(error, ChatError):
            self._malformed = 0
            if isinstance(error, Forbidden) and error.close is None:
                refused(Refusal.NOT_YOURS)
            self.refuse(error)
        else:
            log.error("frame_failed", connection=self.id, exc_info=error)
            self.close(CloseCode.INTERNAL_ERROR)

    def _end(self) -> None:
        leave, self._leave = self._leave, _nothing
        # These lead back here; without them the memory is free at once, and not at the next garbage collection.
        self._receive, self._refill, self._idle_grace, self._expected = _ignore, None, _no_grace, bool
        try:
            pending = leave()
        except Exception as error:
            log.error("leave_failed", connection=self.id, exc_info=error)
        else:
            if pending is not None:
                self._transport.spawn(pending)

    # Writing.

    def flush(self) -> None:
        """Hand over what waits, and more of the refill, as long as the peer takes it."""
        while self._writable and not self._in_parts and (frames := self._outbox or self._refilled()):
            if self._outbox_size <= _WRITE_BYTES:
                self._outbox = None
            else:
                frames = self._first_of(frames)
            self._last_activity = self._loop.time()
            self._transport.send(frames)
        if self._close_code is not None and self._outbox is None:
            self._send_close()

    def _tell_room(self) -> None:
        """Let `send_part` look again."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _refilled(self) -> list[bytes] | None:
        if self._refill is None or self._close_code is not None:
            return None
        outbox = self._outbox = self._refill() or None
        self._outbox_size = sum(map(len, outbox or ()))
        return outbox

    def _first_of(self, outbox: list[bytes]) -> list[bytes]:
        """Take from the outbox what may leave in one write: at least one frame."""
        count = size = 0
        while not count or (count < len(outbox) and size + len(outbox[count]) <= _WRITE_BYTES):
            size += len(outbox[count])
            count += 1
        self._outbox = outbox[count:] or None
        self._outbox_size -= size
        return outbox[:count]

    def _empty_outbox(self) -> None:
        self._outbox = None
        self._outbox_size = 0

    def _send_close(self) -> None:
        if self._close_sent or self._close_code is None or not self._opened:
            return
        self._close_sent = True
        self._transport.close(self._close_code, self._close_reason)
        # A peer that does not even read the close frame would keep its socket for ever.
        self._cut_off_in(self._limits.close_seconds)

    # Deadlines.

    def _cut_off_in(self, seconds: float) -> None:
        """Cut the connection unless something better happens before."""
        self._cut_at = min(self._cut_at, self._loop.time() + seconds)
        self._connections.wake(self, self._cut_at)

    def sweep(self, now: float) -> float:
        """Do what is due; return when the next thing will be."""
        transport = self._transport
        if self._cut_at <= now:
            self._empty_outbox()
            self.close(CloseCode.SLOW_CONSUMER)
            transport.abort()
            return NEVER
        if self._read_again_at <= now:
            self._read_again_at = NEVER
            self._proceed()
        if self._expected_at <= now:
            self._expected_at = NEVER
            if not self._expected():
                self.close(CloseCode.IDLE, self._expected_why)
        if self._close_code is not None:
            return min(self._cut_at, self._read_again_at)
        idle_at = max(self._last_activity + self._settings.idle_seconds, self._patient_until)
        if idle_at <= now:
            idle_at = self._patient_until = NEVER
            transport.spawn(self._idle())
        return min(self._cut_at, self._read_again_at, self._expected_at, idle_at, transport.keep_alive(now))

    async def _idle(self) -> None:
        try:
            grace = await self._idle_grace(self._loop.time() - self._last_activity)
        except Exception as error:
            log.error("idle_failed", connection=self.id, exc_info=error)
            grace = 0.0
        now = self._loop.time()
        # What has just been sent leaves at the end of this turn. What a peer does not take is no activity.
        sending = self._writable and self._outbox is not None
        if grace <= 0 and not sending and self._last_activity + self._settings.idle_seconds <= now:
            self.close(CloseCode.IDLE)
        else:
            self._patient_until = now + grace
            self._connections.wake(self, max(self._patient_until, self._last_activity + self._settings.idle_seconds))


def _ignore(frame: bytes) -> None:  # noqa: ARG001
    return None


def _nothing() -> None:
    return None


def error_frame(error: ChatError) -> bytes:
    """Encode an error as an `Error` message."""
    args = ErrorArgs(code=error.code, message=error.message)
    if error.retry_after_ms is not None:
        args = ErrorArgs(code=error.code, message=error.message, retry_after_ms=error.retry_after_ms)
    return encode(Error(args))

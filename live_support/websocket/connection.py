"""Connection: one WebSocket, as the services see it. Knows frames, deadlines and close codes, not chats.

Nobody ever waits for the peer: what it does not take waits in a bounded outbox. And the peer waits for us: while
one of its frames is worked on, the later ones wait in order, and after a few of them reading pauses.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Coroutine
from typing import Any

import structlog
from litestar import WebSocket

from live_support.rate import Bucket
from live_support.refusal_log import Refusal, refused
from live_support.settings import Settings
from live_support.timing_wheel import NEVER
from live_support.websocket.connections import Connections
from live_support.websocket.handler import Handler, NullHandler
from live_support.websocket.open_transport import open_transport
from live_support.websocket.transport import Transport
from schemas.errors import ChatError, ClaimsNobody, CloseCode, Forbidden, InvalidFrame, RateLimited

log = structlog.get_logger()

_LONGEST_THROTTLE_SECONDS = 1.0
# More leaves in several writes, so that one is told in between when the peer takes no more.
_WRITE_BYTES = 16 * 1024
# Close codes from here on are the protocol's own: each says why a client is sent away. The others are for failures of
# ours, but for one.
_OURS = 4000
# Of tokens and rates there is a line with more to say.
_LOGGED_ELSEWHERE = (CloseCode.NOT_AUTHENTICATED, CloseCode.RATE_LIMITED)


_NO_HANDLER = NullHandler()
"""Stands for the handler before a connection opens and after its end."""


class Connection:
    """A WebSocket to which `send` and `close` never wait, and whose frames go to a `Handler`.

    Args:
        settings: the deadlines and bounds.
        connections: the process's; it belongs to them while it is open.
    """

    # Thousands of them are idle at a time: no dict, and what most never need is made when it is needed.
    __slots__ = (
        "_bucket",
        "_close_code",
        "_close_reason",
        "_close_sent",
        "_connections",
        "_cut_at",
        "_deadline_at",
        "_deadline_reason",
        "_deaf",
        "_handler",
        "_in_parts",
        "_inbox",
        "_last_activity",
        "_limits",
        "_loop",
        "_lost",
        "_malformed",
        "_opened",
        "_outbox",
        "_outbox_size",
        "_patient_until",
        "_read_again_at",
        "_refused",
        "_room",
        "_settings",
        "_task",
        "_transport",
        "_unanswered",
        "_writable",
        "due",
        "id",
    )

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self.id = secrets.token_hex(8)
        self.due = NEVER
        self._settings = settings
        self._limits = settings.limits
        self._connections = connections
        self._handler: Handler = _NO_HANDLER
        self._loop = asyncio.get_running_loop()
        self._transport: Transport  # once it is open
        self._opened = False
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
        self._deadline_at = NEVER
        self._deadline_reason = ""

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

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        """Close after the frames that are queued. The first code counts, and its reason unless another is given."""
        if self._close_code is None:
            if code is CloseCode.UNSUPPORTED_DATA or (code >= _OURS and code not in _LOGGED_ELSEWHERE):
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

    def set_deadline(self, seconds: float, reason: str) -> None:
        """Close with 4408 and a reason unless `clear_deadline` is called within some seconds."""
        self._deadline_reason = reason
        self._deadline_at = self._loop.time() + seconds
        self._connections.wake(self, self._deadline_at)

    def clear_deadline(self) -> None:
        """Call off what `set_deadline` has set."""
        self._deadline_at = NEVER

    def request_started(self) -> None:
        """Count a frame whose answer comes later; with too many of them in flight, later frames wait."""
        self._unanswered += 1

    def request_finished(self, error: Exception | None) -> None:
        """End what `request_started` began; an error is told to the client."""
        self._unanswered -= 1
        if error is not None:
            self._failed(error)
        if self._unanswered == self._limits.in_flight_frames - 1:
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

    async def run(self, socket: WebSocket[Any, Any, Any], handler: Handler, *, subprotocol: str | None = None) -> None:
        """Accept, and pass each frame to the handler until the peer or we close. Called once.

        It may return while the connection lives on: then no task waits for it, and nothing of the handshake is kept.

        Args:
            socket: not accepted yet.
            handler: of this connection alone.
            subprotocol: the one to select, of those that the client offers.
        """
        self._handler = handler
        try:
            transport = await open_transport(socket, self, subprotocol)
        except BaseException:  # the peer has gone in the middle of it
            if pending := handler.connection_lost():
                await pending
            raise
        self._transport = transport
        self._opened = True
        now = self._last_activity = self._loop.time()
        self._connections.add(self, now)
        self._writable = True
        self.flush()
        await transport.run()

    # What the transport tells.

    def frame_received(self, frame: bytes) -> None:
        if self._deaf or self._close_code is not None:
            return
        now = self._last_activity = self._loop.time()
        if self._inbox is not None:
            self._inbox.append(frame)
        elif self._task is None and self._unanswered < self._limits.in_flight_frames:
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
        return self._task is not None or self._unanswered >= self._limits.in_flight_frames

    def _handle(self, frame: bytes, now: float) -> None:
        try:
            if retry_seconds := self._bucket.take(now):
                self._throttle()
                refused(Refusal.MESSAGES)
                raise RateLimited("Rate limit exceeded.", retry_after_ms=round(retry_seconds * 1000) + 1)
            self._refused = 0
            pending = self._handler.frame_received(frame)
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
            if not isinstance(error, ClaimsNobody):
                refused(Refusal.MALFORMED)
            self._refuse(error)
            if self._malformed >= self._limits.malformed_in_a_row:
                self.close(CloseCode.MALFORMED)
        elif isinstance(error, ChatError):
            self._malformed = 0
            if isinstance(error, Forbidden) and error.close is None:
                refused(Refusal.NOT_YOURS)
            self._refuse(error)
        else:
            log.error("frame_failed", connection=self.id, exc_info=error)
            self.close(CloseCode.INTERNAL_ERROR)

    def _refuse(self, error: ChatError) -> None:
        """Tell the client of an error, and close if the error says so."""
        if self._close_code is not None:
            return  # and perhaps the handler is gone
        self.send(self._handler.error_frame(error))
        if error.close is not None:
            self.close(error.close)

    def _end(self) -> None:
        # It leads back here; without it the memory is free at once, and not at the next garbage collection.
        handler, self._handler = self._handler, _NO_HANDLER
        try:
            pending = handler.connection_lost()
        except Exception as error:
            log.error("leave_failed", connection=self.id, exc_info=error)
        else:
            if pending is not None:
                self._transport.spawn(pending)

    # Writing.

    def flush(self) -> None:
        """Hand over what waits, and more of the handler's, as long as the peer takes it."""
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
        if self._close_code is not None:
            return None
        outbox = self._outbox = self._handler.more_frames() or None
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
        if self._deadline_at <= now:
            self._deadline_at = NEVER
            self.close(CloseCode.IDLE, self._deadline_reason)
        if self._close_code is not None:
            return min(self._cut_at, self._read_again_at)
        idle_at = max(self._last_activity + self._settings.idle_seconds, self._patient_until)
        if idle_at <= now:
            idle_at = self._patient_until = NEVER
            transport.spawn(self._idle())
        return min(self._cut_at, self._read_again_at, self._deadline_at, idle_at, transport.keep_alive(now))

    async def _idle(self) -> None:
        try:
            grace = await self._handler.idle_grace(self._loop.time() - self._last_activity)
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

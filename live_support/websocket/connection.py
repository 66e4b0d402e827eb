"""Connection: one WebSocket, as the services see it. Knows frames, deadlines and close codes, not chats.

This module has its life, its deadlines and its receiving side; the sending side is in `live_support.websocket.sender`.
While one of a client's frames is being handled, its later ones wait in order, and reading pauses.
"""

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any

import structlog
from litestar import WebSocket

from live_support.refusal_log import Refusal, refused
from live_support.settings import Settings
from live_support.timing_wheel import NEVER
from live_support.websocket.conduct import Conduct
from live_support.websocket.connections import Connections
from live_support.websocket.handler import Handler
from live_support.websocket.inbox import Inbox
from live_support.websocket.open_transport import open_transport
from live_support.websocket.sender import NO_HANDLER, Sender
from live_support.websocket.state import CLOSED, CLOSING, CONNECTING, DRAINING, OPEN, REFUSED
from live_support.websocket.transport import Receiver
from schemas.errors import ChatError, CloseCode

log = structlog.get_logger()


class Connection(Sender, Receiver):
    """A WebSocket whose `send` and `close` never wait, and whose frames are passed to a `Handler`.

    Args:
        settings: the deadlines and bounds.
        connections: the registry of the process, which holds it while it is open.
    """

    __slots__ = ("_conduct", "_inbox", "_patient_until", "_read_again_at", "id")

    def __init__(self, settings: Settings, connections: Connections) -> None:
        super().__init__(settings, connections)
        self.id = secrets.token_hex(8)
        self._inbox = Inbox(settings.limits.in_flight_frames)
        self._conduct = Conduct(settings.message_rate, settings.limits.malformed_in_a_row)
        # Times of the event loop's clock.
        self._patient_until = 0.0
        self._read_again_at = NEVER

    # For the services.

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        if not self.closing:
            self._inbox.clear()
            super().close(code, reason)

    def request_started(self) -> None:
        """Count a frame as in flight: its answer comes later. With too many in flight, later frames wait."""
        self._inbox.in_flight += 1

    def request_finished(self, error: Exception | None) -> None:
        """Count a frame as answered; an error is sent to the client."""
        may_go_on = self._inbox.finish()
        if error is not None:
            self._failed(error)
        if may_go_on:
            self._loop.call_soon(self._proceed)

    # For the end of the service.

    def stop_receiving(self) -> None:
        """Accept no more frames; accepted ones are still handled."""
        if self._state is OPEN:
            self._state = DRAINING

    @property
    def working(self) -> bool:
        """Whether accepted frames are not answered yet."""
        return self._inbox.working and not self._outbox.in_parts  # a client in the middle of a history joins elsewhere

    # The connection's life.

    async def run(self, socket: WebSocket[Any, Any, Any], handler: Handler, *, subprotocol: str | None = None) -> None:
        """Accept the handshake, and pass each frame to the handler until the end. Called once.

        It may return while the connection stays open: then no task waits for it, and nothing of the handshake is kept.

        Args:
            socket: not accepted yet.
            handler: of this connection alone.
            subprotocol: the one to select, of those that the client offers.
        """
        self._handler = handler
        try:
            self._transport = await open_transport(socket, self, subprotocol)
        except BaseException:  # the client has disconnected meanwhile
            if pending := handler.connection_lost():
                await pending
            raise
        self._state = OPEN if self._state is CONNECTING else CLOSING
        now = self._last_activity = self._loop.time()
        self._connections.add(self, now)
        self._outbox.writable = True
        self.flush()
        await self._transport.run()

    # Called by the transport.

    def frame_received(self, frame: bytes) -> None:
        if self._state is not OPEN:
            return
        now = self._last_activity = self._loop.time()
        if self._inbox.accept(frame):
            self._handle(frame, now)
        else:
            self._transport.pause_reading()

    def binary_received(self) -> None:
        self.close(CloseCode.UNSUPPORTED_DATA)

    def connection_lost(self) -> None:
        self._connections.discard(self)
        self._state = CLOSED
        self._outbox.writable = False
        self._drop_unsent()
        self._proceed()

    # Reading.

    def _handle(self, frame: bytes, now: float) -> None:
        try:
            if refusal := self._conduct.take(now):
                self._throttle(now)
                raise refusal
            pending = self._handler.frame_received(frame)
            if pending is None:
                self._conduct.malformed = 0
                return
        except Exception as error:
            self._failed(error)
        else:
            self._inbox.hold()
            self._connections.spawn(self._finish(pending))

    async def _finish(self, pending: Coroutine[Any, Any, None]) -> None:
        try:
            await pending
            self._conduct.malformed = 0
        except asyncio.CancelledError:
            self._inbox.clear()  # the server stops and waits no longer
            raise
        except Exception as error:
            self._failed(error)
        finally:
            self._inbox.release()
            self._proceed()

    def _proceed(self) -> None:
        """Handle the frames that waited; then read on, or end."""
        while (frame := self._inbox.next_frame()) is not None:
            self._handle(frame, self._loop.time())
        if self._inbox.blocked:
            return
        if self._state is CLOSED:
            self._end()
        elif self._read_again_at == NEVER:
            self._transport.resume_reading()

    def _throttle(self, now: float) -> None:
        refused(Refusal.MESSAGES)
        self._read_again_at = now + self._conduct.pause_seconds
        self._transport.pause_reading()
        self._connections.schedule(self, self._read_again_at)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, ChatError):
            too_many = self._conduct.failed(error)
            self.refuse(error)
            if too_many:
                self.close(CloseCode.MALFORMED)
        else:
            log.error("frame_failed", connection=self.id, exc_info=error)
            self.close(CloseCode.INTERNAL_ERROR)

    def _end(self) -> None:
        # The handler refers to this connection: without it the memory is freed at once, not by the garbage collector.
        handler, self._handler = self._handler, NO_HANDLER
        try:
            if pending := handler.connection_lost():
                self._connections.spawn(pending)
        except Exception as error:
            log.error("leave_failed", connection=self.id, exc_info=error)

    # Deadlines.

    def on_deadline(self, now: float) -> float:
        """Do what is due; return the time of the next deadline."""
        if self._cut_at <= now:
            self._cut_at = NEVER  # only once: an aborted transport has no socket
            self.abort(CloseCode.SLOW_CONSUMER)
            return self._read_again_at  # ASGI's transport hears of the end only when it reads again
        if self._read_again_at <= now:
            self._read_again_at = NEVER
            self._proceed()
        if self._deadline_at <= now:
            self._deadline_at = NEVER
            self.close(CloseCode.IDLE, self._deadline_reason)
        if self._state >= REFUSED:
            return min(self._cut_at, self._read_again_at)
        idle_at = max(self._last_activity + self._settings.idle_seconds, self._patient_until)
        if idle_at <= now:
            idle_at = self._patient_until = NEVER
            self._connections.spawn(self._idle())
        return min(self._cut_at, self._read_again_at, self._deadline_at, idle_at, self._transport.keep_alive(now))

    async def _idle(self) -> None:
        try:
            grace = await self._handler.idle_grace(self._loop.time() - self._last_activity)
        except Exception as error:
            log.error("idle_failed", connection=self.id, exc_info=error)
            grace = 0.0
        now = self._loop.time()
        idle_at = self._last_activity + self._settings.idle_seconds
        # Frames of this turn are sent at its end. Frames that a client does not read are no activity.
        sending = self._outbox.writable and len(self._outbox) > 0
        if grace <= 0 and not sending and idle_at <= now:
            self.close(CloseCode.IDLE)
        else:
            self._patient_until = now + grace
            self._connections.schedule(self, max(self._patient_until, idle_at))

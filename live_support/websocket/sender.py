"""Sender: the sending side of a connection. It sends frames in order, and finally a close frame.

It never waits for the client: frames that the client does not read wait in a bounded outbox.
"""

import asyncio

from live_support.refusal_log import Refusal, refused
from live_support.settings import Settings
from live_support.timing_wheel import NEVER
from live_support.websocket.connections import Connections, RegisteredConnection
from live_support.websocket.handler import Handler, NullHandler
from live_support.websocket.outbox import Outbox
from live_support.websocket.state import CLOSE_SENT, CLOSING, CONNECTING, REFUSED, State
from live_support.websocket.transport import Transport
from schemas.errors import ChatError, ClaimsNobody, CloseCode, Forbidden, InvalidFrame

# Close codes from here on are the protocol's own, and give a reason in the client. All others but one are for failures
# of ours.
_OURS = 4000
# Refused tokens and rates have log lines with more detail.
_LOGGED_ELSEWHERE = (CloseCode.NOT_AUTHENTICATED, CloseCode.RATE_LIMITED)

NO_HANDLER = NullHandler()
"""The handler of a connection before it opens and after its end."""


class Sender(RegisteredConnection):
    """The sending side of a `Connection`. It closes the connection of a client that reads too slowly.

    Args:
        settings: the deadlines and bounds.
        connections: the registry of the process.
    """

    # Thousands of connections are idle at a time, so they have no dict.
    __slots__ = (
        "_close_code",
        "_close_reason",
        "_connections",
        "_cut_at",
        "_deadline_at",
        "_deadline_reason",
        "_handler",
        "_last_activity",
        "_loop",
        "_outbox",
        "_room",
        "_settings",
        "_state",
        "_transport",
    )

    def __init__(self, settings: Settings, connections: Connections) -> None:
        super().__init__()
        self._settings = settings
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._handler: Handler = NO_HANDLER
        self._transport: Transport  # once it is open
        self._state: State = CONNECTING
        self._outbox = Outbox(settings.limits)
        self._room: asyncio.Future[None] | None = None
        self._close_code = CloseCode.INTERNAL_ERROR
        self._close_reason = ""
        # Times of the event loop's clock.
        self._last_activity = self._loop.time()
        self._cut_at = NEVER
        self._deadline_at = NEVER
        self._deadline_reason = ""

    # For the services: none of these but `send_part` waits.

    def send(self, frame: bytes) -> None:
        """Send a text frame; a client for which too many pile up is closed with 4008.

        The frames of one turn of the event loop are written together, at its end.
        """
        if self._state >= REFUSED:
            return
        waiting = self._outbox.add(frame)
        if waiting == 1:
            if self._outbox.writable:
                self._connections.flush_soon(self)
        elif not waiting:
            self._send_despite_full_outbox(frame)

    def _send_despite_full_outbox(self, frame: bytes) -> None:
        if self._outbox.writable and not self._outbox.in_parts:  # these are only many frames for one turn
            self.flush()
            self.send(frame)
        else:
            self._outbox.clear()
            self.close(CloseCode.SLOW_CONSUMER)

    async def send_part(self, part: bytes, *, last: bool = False) -> bool:
        """Send a part of a message that is too large to be queued as a whole.

        It waits until the client has read most of the former parts. Other messages wait for the last part.

        Returns:
            Whether more may be sent: not if the connection is closing or closed.
        """
        self.flush()
        while self._state < REFUSED and not self._outbox.writable:
            self._room = self._loop.create_future()
            await self._room
            self.flush()
        if self._state >= REFUSED:
            return False
        self._last_activity = self._loop.time()
        self._transport.send_part(part, first=self._outbox.start_part(last=last), last=last)
        if last:
            self.flush()
        return True

    def refuse(self, error: ChatError) -> None:
        """Send an error to the client, and close if the error has a close code."""
        if isinstance(error, InvalidFrame) and not isinstance(error, ClaimsNobody):
            refused(Refusal.MALFORMED)
        elif isinstance(error, Forbidden) and error.close is None:
            refused(Refusal.NOT_YOURS)
        if self._state >= REFUSED:
            return  # the handler may be gone
        self.send(self._handler.error_frame(error))
        if error.close is not None:
            self.close(error.close)

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        """Close after the queued frames. The first code counts, and its reason unless another is given."""
        if self._state >= REFUSED:
            return
        if code is CloseCode.UNSUPPORTED_DATA or (code >= _OURS and code not in _LOGGED_ELSEWHERE):
            refused(code)
        self._close_code = code
        self._close_reason = reason or code.reason
        if self._state is CONNECTING:
            self._state = REFUSED
            return
        self._state = CLOSING
        if self._outbox.in_parts:
            self._outbox.clear()  # only a close frame may come in the middle of a message
        self.flush()
        self._tell_room()

    @property
    def closing(self) -> bool:
        """Whether no further frame will be sent."""
        return self._state >= REFUSED

    def set_deadline(self, seconds: float, reason: str) -> None:
        """Close with 4408 and a reason unless `clear_deadline` is called within some seconds."""
        self._deadline_reason = reason
        self._deadline_at = self._loop.time() + seconds
        self._connections.schedule(self, self._deadline_at)

    def clear_deadline(self) -> None:
        """Cancel the deadline of `set_deadline`."""
        self._deadline_at = NEVER

    def abort(self, code: CloseCode = CloseCode.SERVICE_RESTART) -> None:
        """Cut the connection at once. It must have been open."""
        self._outbox.clear()
        self.close(code)
        self._transport.abort()

    # Called by the transport.

    def pause_writing(self) -> None:
        self._outbox.writable = False
        limits = self._settings.limits
        self._cut_off_in(limits.send_seconds + self._transport.buffered() / limits.send_bytes_per_second)

    def resume_writing(self) -> None:
        self._outbox.writable = True
        if self._state < CLOSE_SENT:
            self._cut_at = NEVER
            self.flush()
        self._tell_room()

    def closing_began(self) -> None:
        self._state = CLOSE_SENT
        self.flush()
        self._drop_unsent()
        self._cut_off_in(self._settings.limits.close_seconds)

    # Writing.

    def flush(self) -> None:
        """Pass queued frames, and then further ones of the handler, to the transport while it accepts them."""
        outbox = self._outbox
        while frames := outbox.next_write() or self._refilled():
            self._last_activity = self._loop.time()
            self._transport.send(frames)
        if self._state is CLOSING and not outbox:
            self._send_close()

    def _refilled(self) -> list[bytes] | None:
        outbox = self._outbox
        if self._state >= REFUSED or not outbox.writable or outbox.in_parts:
            return None
        frames = self._handler.more_frames()
        if not frames:
            return None
        outbox.refill(frames)
        return outbox.next_write()

    def _drop_unsent(self) -> None:
        self._outbox.clear()
        self._tell_room()

    def _tell_room(self) -> None:
        """Wake `send_part`."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _send_close(self) -> None:
        self._state = CLOSE_SENT
        self._transport.close(self._close_code, self._close_reason)
        # A client that does not read the close frame would otherwise keep its socket for ever.
        self._cut_off_in(self._settings.limits.close_seconds)

    def _cut_off_in(self, seconds: float) -> None:
        """Cut the connection after some seconds, unless the client goes on reading or closes before."""
        self._cut_at = min(self._cut_at, self._loop.time() + seconds)
        self._connections.schedule(self, self._cut_at)

"""Connection: one WebSocket, its reader and its writer. Knows frames, deadlines and close codes, not chats.

The handler's own task reads, a second one writes; whichever ends first ends the other. Everything that leaves
goes through the bounded outbox, so nobody ever waits for this peer.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from core.rate import Bucket
from core.settings import Settings
from core.websocket import ABORT
from schemas.codec import encode
from schemas.errors import ChatError, CloseCode, InvalidFrame, RateLimited
from schemas.messages import Error, ErrorArgs

log = structlog.get_logger()

_LINGER_SECONDS = 15.0

Handle = Callable[[str], Awaitable[None]]
Refill = Callable[[], Iterable[str]]
IdleGrace = Callable[[], Awaitable[float]]


async def _no_grace() -> float:
    return 0


class Connection:
    """A WebSocket as the services see it: `send` and `close` never wait, incoming frames go to a handler.

    Args:
        socket: not accepted yet.
        settings: the deadlines and bounds.
        refill: asked for more frames whenever the outbox has run empty; see `wake`.
        idle_grace: asked when the connection has been idle, for seconds of patience; 0 lets it close.
    """

    def __init__(
        self,
        socket: WebSocket[Any, Any, Any],
        settings: Settings,
        *,
        refill: Refill = tuple,
        idle_grace: IdleGrace = _no_grace,
    ) -> None:
        self.id = secrets.token_hex(8)
        self._socket = socket
        self._limits = settings.limits
        self._idle_seconds = settings.idle_seconds
        self._refill = refill
        self._idle_grace = idle_grace
        self._bucket = Bucket(settings.message_rate)
        self._malformed = 0
        self._outbox: deque[str] = deque()
        self._outbox_size = 0
        self._last_size = 0
        self._wake = asyncio.Event()
        self._close_code: CloseCode | None = None
        self._loop = asyncio.get_running_loop()
        self._last_activity = self._loop.time()

    # For the services: none of these waits.

    def send(self, frame: str) -> None:
        """Queue a frame; a peer that lets too many pile up is closed with 4008."""
        if self.closing:
            return
        if len(self._outbox) >= self._limits.outbox_frames or self._outbox_size > self._limits.outbox_bytes:
            self._outbox.clear()
            self.close(CloseCode.SLOW_CONSUMER)
            return
        self._outbox.append(frame)
        self._outbox_size += len(frame)
        self._wake.set()

    def refuse(self, error: ChatError) -> None:
        """Queue an `Error`, and close if the error says so."""
        self.send(error_frame(error))
        if error.close is not None:
            self.close(error.close)

    def close(self, code: CloseCode) -> None:
        """Close after the frames that are queued. The first code counts."""
        if self._close_code is None:
            self._close_code = code
            self._wake.set()

    @property
    def closing(self) -> bool:
        """Whether nothing more will be sent."""
        return self._close_code is not None

    def wake(self) -> None:
        """Let the writer ask for more frames."""
        self._wake.set()

    # The connection's life.

    async def run(self, handle: Handle) -> None:
        """Accept, then pass each text frame to the handler until the peer or we close.

        What the handler raises of `ChatError` is told to the peer; anything else closes with 1011.
        """
        await self._socket.accept()
        self._last_activity = self._loop.time()
        writer = asyncio.create_task(self._write())
        try:
            await self._read(handle)
        finally:
            # After a close of ours the writer ends by itself; after the peer's it has nothing left to do.
            if not self.closing:
                writer.cancel()
            await asyncio.wait([writer])
            if not writer.cancelled() and (error := writer.exception()):
                log.error("writer_failed", connection=self.id, exc_info=error)

    async def _read(self, handle: Handle) -> None:
        while (event := await self._socket.receive())["type"] == "websocket.receive":
            if self.closing:
                continue
            text = event.get("text")
            if text is None:
                self.close(CloseCode.UNSUPPORTED_DATA)
                continue
            self._last_activity = self._loop.time()
            await self._handle(handle, text)

    async def _handle(self, handle: Handle, text: str) -> None:
        try:
            if retry_seconds := self._bucket.take(self._loop.time()):
                raise RateLimited("You send too fast.", retry_after_ms=round(retry_seconds * 1000) + 1)
            await handle(text)
            self._malformed = 0
        except InvalidFrame as error:
            self._malformed += 1
            self.refuse(error)
            if self._malformed >= self._limits.malformed_in_a_row:
                self.close(CloseCode.MALFORMED)
        except ChatError as error:
            self._malformed = 0
            self.refuse(error)
        except Exception as error:
            log.error("frame_failed", connection=self.id, exc_info=error)
            self.close(CloseCode.INTERNAL_ERROR)

    async def _write(self) -> None:
        try:
            while True:
                self._wake.clear()
                await self._flush()
                if self._close_code is not None:
                    await self._send_close(self._close_code)
                    return
                await self._wait()
        except TimeoutError:
            self._abort()
        except (RuntimeError, OSError, WebSocketDisconnect):
            # The peer is gone, or the server has closed at its own stop: the reader hears of it.
            self.close(CloseCode.SERVICE_RESTART)

    async def _flush(self) -> None:
        while True:
            while self._outbox:
                frame = self._outbox.popleft()
                self._outbox_size -= len(frame)
                await self._send({"type": "websocket.send", "text": frame})
                self._last_size = len(frame)
                self._last_activity = self._loop.time()
            if self.closing:
                return
            self._outbox.extend(self._refill())
            if not self._outbox:
                return
            self._outbox_size = sum(map(len, self._outbox))

    async def _send(self, event: Any) -> None:
        # A send waits until the peer has taken most of what was sent before.
        seconds = self._limits.send_seconds + self._last_size / self._limits.send_bytes_per_second
        async with asyncio.timeout(seconds):
            await self._socket.send(event)

    async def _send_close(self, code: CloseCode) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": code.reason})
        # A peer that does not even read the close frame would keep its socket for ever.
        self._loop.call_later(_LINGER_SECONDS, self._abort)

    def _abort(self) -> None:
        self.close(CloseCode.SLOW_CONSUMER)
        extensions: dict[str, Any] = self._socket.scope.get("extensions") or {}
        if ABORT in extensions:
            extensions[ABORT]()

    async def _wait(self) -> None:
        """Wait until there is something to write, or until the connection has been idle for too long."""
        deadline = self._last_activity + self._idle_seconds
        while not self._wake.is_set():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wake.wait()
            except TimeoutError:
                # Frames that came in meanwhile have only moved the mark; a timer per frame would cost more.
                now = self._loop.time()
                deadline = self._last_activity + self._idle_seconds
                if deadline <= now and (deadline := now + await self._idle_grace()) <= now:
                    self.close(CloseCode.IDLE)


def error_frame(error: ChatError) -> str:
    """Encode an error as an `Error` message."""
    args = ErrorArgs(code=error.code, message=error.message)
    if error.retry_after_ms is not None:
        args = ErrorArgs(code=error.code, message=error.message, retry_after_ms=error.retry_after_ms)
    return encode(Error(args)).decode()

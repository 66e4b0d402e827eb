"""AsgiTransport: a WebSocket over ASGI's `receive` and `send`, for every server that speaks ASGI.

The handler's own task reads, a second one writes. ASGI's `send` waits for the client, so the
writer gets a few frames at a time.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from live_support.timing_wheel import NEVER
from live_support.websocket.extensions import ABORT, SEND_PART
from live_support.websocket.transport import Receiver

log = structlog.get_logger()


class AsgiTransport:
    """An accepted WebSocket that lives as long as `run`."""

    def __init__(self, socket: WebSocket[Any, Any, Any], receiver: Receiver) -> None:
        self._socket = socket
        self._receiver = receiver
        self._frames: Sequence[bytes] = ()
        self._part: tuple[bytes, bool, bool] | None = None
        self._whole: list[bytes] = []
        self._last_size = 0
        self._close: tuple[int, str] | None = None
        self._wake = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()

    def send(self, frames: Sequence[bytes]) -> None:
        self._frames = frames
        self._wake.set()
        self._receiver.pause_writing()

    def send_part(self, part: bytes, *, first: bool, last: bool) -> None:
        self._part = part, first, last
        self._wake.set()
        self._receiver.pause_writing()

    def close(self, code: int, reason: str) -> None:
        self._close = code, reason
        self._wake.set()

    def abort(self) -> None:
        extensions: dict[str, Any] = self._socket.scope.get("extensions") or {}
        if ABORT in extensions:
            extensions[ABORT]()

    def pause_reading(self) -> None:
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()

    def buffered(self) -> int:
        # A send waits until the client has read most of the former ones.
        return self._last_size

    def keep_alive(self, now: float) -> float:  # noqa: ARG002 - the server sends the pings
        return NEVER

    async def run(self) -> None:
        """Read until the client or we close."""
        writer = asyncio.create_task(self._write())
        try:
            await self._read()
        finally:
            writer.cancel()
            self._receiver.connection_lost()
            await asyncio.wait([writer])
            if not writer.cancelled() and (error := writer.exception()):
                log.error("writer_failed", exc_info=error)

    async def _read(self) -> None:
        while True:
            await self._may_read.wait()
            event = await self._socket.receive()
            if event["type"] != "websocket.receive":
                return
            text = event.get("text")
            if text is None:
                self._receiver.binary_received()
            else:
                self._receiver.frame_received(text.encode())

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._frames or self._part:
                    if self._part:
                        (part, first, last), self._part = self._part, None
                        await self._write_part(part, first=first, last=last)
                        self._last_size = len(part)
                        del part  # not to be kept while nothing is sent
                    else:
                        frames, self._frames = self._frames, ()
                        for frame in frames:
                            await self._socket.send({"type": "websocket.send", "text": frame.decode(), "bytes": None})
                        self._last_size = sum(map(len, frames))
                        del frames, frame  # as above
                    self._receiver.resume_writing()  # which may pass on the next ones
                if self._close is not None:
                    code, reason = self._close
                    await self._socket.send({"type": "websocket.close", "code": code, "reason": reason})
                    return
        except (RuntimeError, OSError, WebSocketDisconnect):
            # The client is gone, or the server has closed at its own stop: the reader notices.
            self._receiver.closing_began()

    async def _write_part(self, part: bytes, *, first: bool, last: bool) -> None:
        extensions: dict[str, Any] = self._socket.scope.get("extensions") or {}
        if SEND_PART in extensions:
            await extensions[SEND_PART](part, first=first, last=last)
            return
        self._whole.append(part)
        if last:
            text, self._whole = b"".join(self._whole).decode(), []
            await self._socket.send({"type": "websocket.send", "text": text, "bytes": None})

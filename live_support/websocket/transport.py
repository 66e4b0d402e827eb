"""What a Connection stands on: the interface of the two transports, and what they tell the connection.

`live_support.websocket.picows_protocol` has the fast one, which hands over frames by a plain call;
`live_support.websocket.asgi_transport` works on every ASGI server.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

DIRECT = "live_support.direct"
"""The scope extension of a server that hands over its connections: called with a `Receiver` right after the handshake,
it returns a `Transport`."""


class Transport(Protocol):
    """One open WebSocket of text frames. Nothing but `run` waits."""

    async def run(self) -> None:
        """Move frames until the end, where that needs the caller's task; else return at once."""

    def send(self, frames: Sequence[bytes]) -> None:
        """Send text frames, in one write where that can be; before more are sent, the receiver may be told to pause."""

    def send_part(self, part: bytes, *, first: bool, last: bool) -> None:
        """Send a part of a text message as a frame; no other message is sent until the last one."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind everything that was sent."""

    def abort(self) -> None:
        """Cut the connection; what was sent may be lost."""

    def pause_reading(self) -> None:
        """Take no more from the peer; a bounded rest may still be handed over."""

    def resume_reading(self) -> None:
        """Go on reading."""

    def buffered(self) -> int:
        """Bytes that the peer has not taken yet."""

    def keep_alive(self, now: float) -> float:
        """Send a ping when it is time, give a peer up that has not answered one; return when to call again."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a coroutine, for whose end the server waits when it stops."""


class Receiver(Protocol):
    """The connection, as its transport sees it. Nothing here waits or raises."""

    def frame_received(self, frame: bytes) -> None:
        """Take a text frame: valid UTF-8, not larger than the limit."""

    def binary_received(self) -> None:
        """Hear that the peer has sent a binary frame."""

    def pause_writing(self) -> None:
        """Send no more, the peer does not take it."""

    def resume_writing(self) -> None:
        """Go on sending."""

    def closing_began(self) -> None:
        """Hear that the transport begins to close: the peer wants it, or has broken the protocol.

        It is the last chance to send what waits.
        """

    def connection_lost(self) -> None:
        """Hear that it is over. Called once, and last."""

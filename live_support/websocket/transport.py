"""What a Connection stands on: the interface of the two transports, and what they tell the connection.

`live_support.websocket.picows_transport` has the fast one, which hands over frames by a plain call;
`live_support.websocket.asgi_transport` works on every ASGI server.
"""

from collections.abc import Sequence
from typing import Protocol


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
        """Take no more from the client; a bounded rest may still be handed over."""

    def resume_reading(self) -> None:
        """Go on reading."""

    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""

    def keep_alive(self, now: float) -> float:
        """Send a ping when it is time, give a client up that has not answered one; return when to call again."""


class Receiver(Protocol):
    """The connection, as its transport sees it. Nothing here waits or raises."""

    __slots__ = ()

    def frame_received(self, frame: bytes) -> None:
        """Take a text frame: valid UTF-8, not larger than the limit."""

    def binary_received(self) -> None:
        """Hear that the client has sent a binary frame."""

    def pause_writing(self) -> None:
        """Send no more, the client does not take it."""

    def resume_writing(self) -> None:
        """Go on sending."""

    def closing_began(self) -> None:
        """Hear that the transport begins to close: the client wants it, or has broken the protocol.

        It is the last chance to send what waits.
        """

    def connection_lost(self) -> None:
        """Hear that it is over. Called once, and last."""

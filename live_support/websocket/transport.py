"""Transport and Receiver: the interface of the two transports, and that of the connection towards them.

`live_support.websocket.picows_transport` has the fast one, which passes on frames by a plain call;
`live_support.websocket.asgi_transport` works on every ASGI server.
"""

from collections.abc import Sequence
from typing import Protocol


class Transport(Protocol):
    """One open WebSocket of text frames. Only `run` waits."""

    async def run(self) -> None:
        """Transfer frames until the end, if that needs the caller's task; otherwise return at once."""

    def send(self, frames: Sequence[bytes]) -> None:
        """Send text frames, in one write if possible; afterwards the receiver may be told to pause."""

    def send_part(self, part: bytes, *, first: bool, last: bool) -> None:
        """Send a part of a text message as a frame; no other message is sent until the last one."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after all other frames."""

    def abort(self) -> None:
        """Cut the connection; sent frames may be lost."""

    def pause_reading(self) -> None:
        """Stop reading; a bounded number of frames may still be received."""

    def resume_reading(self) -> None:
        """Go on reading."""

    def buffered(self) -> int:
        """Return how many bytes wait to be sent."""

    def keep_alive(self, now: float) -> float:
        """Send a ping if it is due, and close if one was not answered; return when to call again."""


class Receiver(Protocol):
    """The connection, as its transport sees it. No method waits or raises."""

    __slots__ = ()

    def frame_received(self, frame: bytes) -> None:
        """Handle a text frame: valid UTF-8, not larger than the limit."""

    def binary_received(self) -> None:
        """Handle a binary frame."""

    def pause_writing(self) -> None:
        """Stop sending: the client does not read."""

    def resume_writing(self) -> None:
        """Go on sending."""

    def closing_began(self) -> None:
        """Note that the transport begins to close: the client has closed or broken the protocol.

        This is the last chance to send queued frames.
        """

    def connection_lost(self) -> None:
        """Note the end of the TCP connection. Called once, and last."""

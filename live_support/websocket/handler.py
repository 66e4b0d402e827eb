"""Handler: handles the frames of one connection. Each kind of session implements it."""

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from schemas.errors import ChatError

Pending = Coroutine[Any, Any, None] | None


class Handler(ABC):
    """The application side of one connection, which calls it. Only its coroutines may wait."""

    __slots__ = ()

    @abstractmethod
    def frame_received(self, frame: bytes) -> Pending:
        """Handle a text frame.

        Returns:
            None when it is handled or in flight (see `Connection.request_started`), else a coroutine that the
            connection runs before it passes on the next frame.

        Raises:
            ChatError: the frame was refused; the coroutine may raise it, too. The client is sent an error frame. Any
                other exception closes with 1011.
        """

    @abstractmethod
    def connection_lost(self) -> Pending:
        """Clean up: the connection is gone and all its frames have been handled. Called once, and last."""

    @abstractmethod
    def error_frame(self, error: ChatError) -> bytes:
        """Encode an error for this client."""

    def more_frames(self) -> list[bytes]:
        """Return the next frames to send. Called whenever the outbox is empty; see `Connection.flush`."""
        return []

    async def idle_grace(self, idle_seconds: float) -> float:  # noqa: ARG002
        """Return how many seconds longer an idle connection may stay open; 0 closes it."""
        return 0


class NullHandler(Handler):
    """Ignores all frames: for a connection that is only accepted to be closed with a code."""

    __slots__ = ()

    def frame_received(self, frame: bytes) -> None:
        """Ignore the frame."""

    def connection_lost(self) -> None:
        """Do nothing."""

    def error_frame(self, error: ChatError) -> bytes:
        raise NotImplementedError from error

"""Handler: what a connection does with its frames. Each kind of session implements it."""

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from schemas.errors import ChatError

Pending = Coroutine[Any, Any, None] | None


class Handler(ABC):
    """One connection's application side. The connection calls it; only its coroutines may wait."""

    __slots__ = ()

    @abstractmethod
    def frame_received(self, frame: bytes) -> Pending:
        """Do what a text frame asks for.

        Returns:
            None when it is done or on its way (see `Connection.request_started`), else a coroutine that the
            connection runs before it passes on the next frame.

        Raises:
            ChatError: the frame was refused, also by the coroutine; the client gets the error's frame. Any other
                exception closes with 1011.
        """

    @abstractmethod
    def connection_lost(self) -> Pending:
        """Clean up: the connection is gone and all its frames have been handled. Called once, and last."""

    @abstractmethod
    def error_frame(self, error: ChatError) -> bytes:
        """Encode an error for this client."""

    def more_frames(self) -> list[bytes]:
        """Return the next frames to send. Called whenever the client has taken everything; see `Connection.flush`."""
        return []

    async def idle_grace(self, idle_seconds: float) -> float:  # noqa: ARG002
        """Return for how many seconds more an idle connection may stay open; 0 closes it."""
        return 0


class NullHandler(Handler):
    """Ignores everything: for a connection that is only told why it is closed."""

    __slots__ = ()

    def frame_received(self, frame: bytes) -> None:
        """Ignore it."""

    def connection_lost(self) -> None:
        """Do nothing."""

    def error_frame(self, error: ChatError) -> bytes:
        raise NotImplementedError from error

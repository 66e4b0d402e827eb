"""Sent: a message that is on the wire, until the server has answered it."""

import asyncio
from collections.abc import Callable

from live_support_client._errors import LiveSupportError, NotAcknowledged
from live_support_client._models import StoredMessage


class Sent:
    """A message and the answer that is to come.

    Args:
        content: of the message.
    """

    __slots__ = ("_answer", "_timer", "content", "late")

    def __init__(self, content: str) -> None:
        self.content = content
        self.late = False
        """Whether a connection was given up for want of the answer."""
        self._answer: asyncio.Future[StoredMessage] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None

    def set_timer(self, seconds: float, act: Callable[["Sent"], None]) -> None:
        """Act unless the answer comes in time."""
        self._timer = asyncio.get_running_loop().call_later(seconds, act, self)

    async def answer(self) -> StoredMessage:
        """Wait for the answer.

        Raises:
            LiveSupportError: the message was refused, or is not known to be stored.
        """
        return await self._answer

    def abandon(self) -> None:
        """Note that nobody waits for the answer any more."""
        if not self._answer.cancel() and not self._answer.cancelled():
            self._answer.exception()  # seen, although nobody asks any more

    def settle(self, outcome: StoredMessage | LiveSupportError) -> None:
        """Give the answer to who waits for it."""
        if self._timer is not None:
            self._timer.cancel()
        if self._answer.done():  # a cancelled `send` has cancelled it
            return
        if isinstance(outcome, StoredMessage):
            self._answer.set_result(outcome)
        else:
            self._answer.set_exception(outcome)


def unanswered(error: Exception) -> NotAcknowledged:
    """Say that there will be no answer, because of an error."""
    unknown = NotAcknowledged(f"The connection ended before the answer: {error}")
    unknown.__cause__ = error
    return unknown

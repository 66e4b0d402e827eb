"""Expiring: notices the end of a chat in this process."""

import asyncio
from abc import abstractmethod

from live_support.chats.store import ChatStore
from live_support.tasks import Tasks
from live_support.timing_wheel import NEVER, Timed, TimingWheel
from schemas.errors import Unavailable

_RETRY_SECONDS = 1.0
_LATE_SECONDS = 0.003
"""Added to deadlines, so that an expired key is surely gone. The wheel may be 2 ms early."""
# If an idle connection and its chat end within this time, `ChatExpired` is sent first. A busy process may be late.
_EXPIRY_MARGIN_MS = 1000


class Expiring(Timed):
    """A chat with its expiry. Redis decides whether it has expired: other processes may have renewed it."""

    __slots__ = ("_deadline", "_ended", "_loop", "_store", "_tasks", "_wheel", "chat_id")

    def __init__(self, chat_id: str, store: ChatStore, tasks: Tasks, wheel: TimingWheel) -> None:
        super().__init__()
        self.chat_id = chat_id
        self._store = store
        self._tasks = tasks
        self._wheel = wheel
        self._loop = asyncio.get_running_loop()
        self._deadline = 0.0
        self._ended = False

    @abstractmethod
    def _expire(self) -> None:
        """Tell all connections that the chat is gone."""

    def renew(self, ttl_ms: int) -> None:
        """Set when the chat expires unless it is renewed again."""
        if self._ended:
            return  # the last connection left while Redis was asked
        self._deadline = self._loop.time() + ttl_ms / 1000
        self._wheel.schedule(self, self._deadline + _LATE_SECONDS)

    def on_deadline(self, now: float) -> float:
        """Check whether the chat has expired if its time is over; return the next deadline."""
        if self._deadline > now:
            return self._deadline + _LATE_SECONDS
        self._tasks.spawn(self._check())
        return NEVER

    async def _check(self) -> None:
        """Ask Redis how long the chat lives."""
        try:
            remaining_ms = await self._store.remaining_ms(self.chat_id)
        except Unavailable:
            self.renew(round(_RETRY_SECONDS * 1000))
            return
        if remaining_ms is None:
            self._expire()
        else:
            self.renew(remaining_ms)

    async def idle_grace(self) -> float:
        """Return how many seconds an idle connection must wait because the chat is about to expire.

        If both happen at about the same time, `ChatExpired` is sent first (PROTOCOL section 3).
        """
        try:
            remaining_ms = await self._store.remaining_ms(self.chat_id)
        except Unavailable:
            return 0
        if remaining_ms is None:
            self._expire()
            return 0
        return remaining_ms / 1000 + 0.05 if remaining_ms < _EXPIRY_MARGIN_MS else 0

    def end(self) -> None:
        """Cancel the deadline: the last connection is gone."""
        self._ended = True
        self._wheel.cancel(self)

"""Feed: the part of the waiting list that one agent's connection has not been sent yet."""

from collections import deque
from collections.abc import Callable

from live_support.chats.waiting_view import WaitingView
from schemas.codec import encode
from schemas.messages import JoinRequest

_FRAMES_PER_FLUSH = 64


class Feed:
    """One agent's cursor in the waiting list: first all waiting users, oldest first, then each new one.

    Args:
        view: the list.
        wake: called when there is more to `take`.
    """

    def __init__(self, view: WaitingView, wake: Callable[[], None]) -> None:
        self._view = view
        self._wake = wake
        self._pending = deque(view.backlog())
        self._shown = view.arrivals
        view.listeners.add(wake)

    def take(self) -> list[bytes]:
        """Return the next frames; none when everything is shown."""
        frames: list[bytes] = []
        while len(frames) < _FRAMES_PER_FLUSH and (self._pending or self._advance()):
            arrival = self._pending.popleft()
            # A user who was claimed meanwhile is not shown; one who came back is shown for the new stay.
            if self._view.is_waiting(arrival):
                frames.append(encode(JoinRequest(user_id=arrival.user.user_id, chat_id=arrival.user.chat_id)))
        return frames

    def _advance(self) -> bool:
        self._pending.extend(self._view.after(self._shown))
        if self._pending:
            self._shown = self._pending[-1].number
        return bool(self._pending)

    def close(self) -> None:
        """Stop following the list."""
        self._view.listeners.discard(self._wake)

"""Turns: a few at a time, shared fairly between many."""

import asyncio
from collections import deque


class Turns:
    """Lets so many work at a time, and of each owner one; the owners who wait take turns.

    So an owner who wants a thousand turns delays everybody else by one.

    Args:
        at_once: how many may work.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._working: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Of each owner. Whose last turn is the longest ago comes first."""

    async def begin(self, owner: str) -> None:
        """Wait for a turn. Whoever has had it calls `end`."""
        if self._free and owner not in self._working:
            self._start(owner)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(owner, turn)
            else:
                self.end(owner)  # it came in the same moment
            raise

    def end(self, owner: str) -> None:
        """End a turn: the next one begins."""
        self._free += 1
        self._working.discard(owner)
        if owner in self._waiting:
            self._waiting[owner] = self._waiting.pop(owner)  # behind the others
        following = next((other for other in self._waiting if other not in self._working), None)
        if following is not None:
            self._start(following)
            turn = self._waiting[following][0]
            self._forget(following, turn)
            turn.set_result(None)

    def _start(self, owner: str) -> None:
        self._free -= 1
        self._working.add(owner)

    def _forget(self, owner: str, turn: "asyncio.Future[None]") -> None:
        turns = self._waiting[owner]
        turns.remove(turn)
        if not turns:
            del self._waiting[owner]

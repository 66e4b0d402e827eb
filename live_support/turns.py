"""Turns: limits how many work at a time, and shares that fairly between owners."""

import asyncio
from collections import deque


class Turns:
    """Lets a few work at a time, of each owner one; owners that wait are served in rotation.

    So an owner with a thousand requests delays every other one by one turn only.

    Args:
        at_once: how many may work at a time.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._working: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """The waiting requests of each owner. The owner whose last turn is the longest ago comes first."""

    async def begin(self, owner: str) -> None:
        """Wait for a turn. The caller must call `end` afterwards."""
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
                self.end(owner)  # the turn was given in the same moment
            raise

    def end(self, owner: str) -> None:
        """End a turn, so that the next one begins."""
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

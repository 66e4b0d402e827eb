"""WaitingView: this process's copy of the waiting list.

The list has a version, and each entry of a user has an id. The changes since the known version are read, or the whole
list if Redis does not know that version. A user who was not in the list before, or only with another entry, is an
arrival. Arrivals are numbered in this process: a reader remembers one number, and Redis may come back with older data.
Restarts, late agents and lost publications all end in the same complete list.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import NamedTuple

from live_support.chats.join_queue import JoinQueue, Waiting, WaitingList
from live_support.redis.hub import Hub
from live_support.tasks import Tasks, every
from schemas.errors import Unavailable

_MAX_REFRESH_INTERVAL_SECONDS = 1.0
_MIN_REFRESH_INTERVAL_SECONDS = 0.05


class Arrival(NamedTuple):
    """A user who has entered the list, numbered by this process."""

    number: int
    user: Waiting


class WaitingView:
    """The waiting list as this process knows it. A listener of the hub."""

    def __init__(self, queue: JoinQueue, hub: Hub) -> None:
        self._queue = queue
        self._hub = hub
        self._version = ""
        self._users: dict[str, Arrival] = {}
        """In the order of arrival."""
        self.arrivals = 0
        """The number of arrivals so far."""
        self._backlog: tuple[Arrival, ...] | None = None
        self.listeners: set[Callable[[], None]] = set()
        """Called after new arrivals."""
        self._stale = asyncio.Event()
        self._stale.set()  # nothing is known yet
        self._refreshing = asyncio.Lock()
        self._asked = 0
        self._answered = 0
        self._failure: Unavailable | None = None
        self._tasks = Tasks()

    def publication(self, payload: bytes) -> None:  # noqa: ARG002 - only a hint: the list itself is read
        """Note that the list has changed."""
        self._stale.set()

    def missed(self) -> None:
        """Note that the list may have changed."""
        self._stale.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the copy up to date."""
        keys = self._queue.keys
        channels = (keys.join_channel, keys.queue.changed)
        for channel in channels:
            self._hub.subscribe(channel, self)
        self._tasks.spawn(every(_MIN_REFRESH_INTERVAL_SECONDS, self._refresh_when_stale))
        try:
            yield
        finally:
            await self._tasks.close()
            for channel in channels:
                self._hub.unsubscribe(channel)

    async def _refresh_when_stale(self) -> None:
        try:
            async with asyncio.timeout(_MAX_REFRESH_INTERVAL_SECONDS):
                await self._stale.wait()
        except TimeoutError:
            pass  # a hint may have been lost: read anyway
        await self.refresh()

    async def refresh(self) -> None:
        """Read the list if it has changed, and call the listeners.

        Raises:
            Unavailable: Redis gives no definite answer.
        """
        self._asked += 1
        mine = self._asked
        async with self._refreshing:  # one reply at a time, so that no reply is overtaken by an older one
            # One read serves all callers that came before it began: otherwise many agents would wait for as many reads,
            # each of which takes its full timeout while Redis is away.
            if self._answered < mine:
                asked = self._asked
                self._failure = await self._read()
                self._answered = asked
            if self._failure is not None:
                raise Unavailable(self._failure.message)

    async def _read(self) -> Unavailable | None:
        self._stale.clear()
        try:
            waiting_list = await self._queue.waiting_list(known_version=self._version)
        except Unavailable as error:
            return error
        if waiting_list is not None:
            self._take(waiting_list)
        return None

    def _take(self, waiting_list: WaitingList) -> None:
        self._version = waiting_list.version
        gone = waiting_list.gone
        if gone is None:
            gone = list(self._users.keys() - {user.user_id for user in waiting_list.users})
        for user_id in gone:
            self._users.pop(user_id, None)
        new = [user for user in waiting_list.users if not self._has(user)]
        for user in sorted(new, key=_entry_id):
            self.arrivals += 1
            self._users.pop(user.user_id, None)  # so that the user goes to the end
            self._users[user.user_id] = Arrival(self.arrivals, user)
        if new or gone:
            self._backlog = None
        if new:
            for notify in self.listeners:
                notify()

    def _has(self, user: Waiting) -> bool:
        known = self._users.get(user.user_id)
        return known is not None and known.user.entry_id == user.entry_id

    def backlog(self) -> tuple[Arrival, ...]:
        """Return all waiting users, longest waiting first. Later ones are `after` the number `arrivals`."""
        if self._backlog is None:
            self._backlog = tuple(sorted(self._users.values(), key=_queued_at))
        return self._backlog

    def is_waiting(self, arrival: Arrival) -> bool:
        """Whether the user still has this same entry."""
        return self._users.get(arrival.user.user_id) is arrival

    def after(self, number: int) -> list[Arrival]:
        """Return the arrivals after a number, in order."""
        return list(takewhile(lambda arrival: arrival.number > number, reversed(self._users.values())))[::-1]


def _entry_id(user: Waiting) -> int:
    return user.entry_id


def _queued_at(arrival: Arrival) -> tuple[int, str]:
    return arrival.user.queued_at_us, arrival.user.user_id

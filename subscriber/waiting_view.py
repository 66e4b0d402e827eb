"""WaitingView: this process's copy of the waiting list, and each agent's way through it.

The list has a version, and each user's stay in it a number. What has changed since the known version is read, or the
whole list where Redis does not know that version. Whoever was not in the list before, or for another stay, has arrived.
Arrivals are counted here, so an agent's connection needs one number to know what it has shown, and Redis may come back
with older data. Restarts, late agents and lost publications all end in the same complete list.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import NamedTuple

from live_support.chats.join_queue import JoinQueue, Waiting, WaitingList
from live_support.chats.store import ChatStore
from live_support.redis.hub import Hub
from live_support.settings import Settings
from live_support.tasks import Tasks, every
from schemas.codec import encode
from schemas.errors import Unavailable
from schemas.messages import JoinRequest

_REFRESH_SECONDS = 1.0
_APART_SECONDS = 0.05
_AT_ONCE = 64


class Arrival(NamedTuple):
    """A user's stay in the list, as this process counts them."""

    number: int
    user: Waiting


class WaitingView:
    """The waiting list as this process knows it. A listener of the hub's."""

    def __init__(self, queue: JoinQueue, store: ChatStore, hub: Hub, settings: Settings) -> None:
        self._queue = queue
        self._store = store
        self._hub = hub
        self._settings = settings
        self._version = ""
        self._users: dict[str, Arrival] = {}
        """In the order in which they arrived."""
        self._arrivals = 0
        self._backlog: tuple[Arrival, ...] | None = None
        self._feeds: set[Feed] = set()
        self._stale = asyncio.Event()
        self._stale.set()  # nothing is known yet
        self._refreshing = asyncio.Lock()
        self._asked = 0
        self._answered = 0
        self._failure: Unavailable | None = None
        self._tasks = Tasks()

    def publication(self, payload: bytes) -> None:  # noqa: ARG002 - only a hint: the list itself is read
        """Hear that the list has changed."""
        self._stale.set()

    def missed(self) -> None:
        """Hear that it may have."""
        self._stale.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the list."""
        keys = self._queue.keys
        channels = (keys.join_channel, keys.queue.changed)
        for channel in channels:
            self._hub.subscribe(channel, self)
        sweep_seconds = min(1.0, self._settings.leave_grace_seconds / 4, self._settings.claim_lease_seconds / 4)
        self._tasks.spawn(every(sweep_seconds, lambda: self._queue.sweep(self._store)))
        self._tasks.spawn(every(_APART_SECONDS, self._refresh_when_stale))
        try:
            yield
        finally:
            await self._tasks.close()
            for channel in channels:
                self._hub.unsubscribe(channel)

    async def _refresh_when_stale(self) -> None:
        try:
            async with asyncio.timeout(_REFRESH_SECONDS):
                await self._stale.wait()
        except TimeoutError:
            pass  # a hint may have been lost: look all the same
        await self.refresh()

    async def refresh(self) -> None:
        """Read the list if it has changed, and wake the agents' connections.

        Raises:
            Unavailable: Redis gives no definite answer.
        """
        self._asked += 1
        mine = self._asked
        async with self._refreshing:  # one answer after the other, so that none is overtaken by an older one
            # One reading serves all who asked before it began: a crowd of agents does not queue for as many, each of
            # which would take its time while Redis is away.
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
        for user in sorted(new, key=_stay):
            self._arrivals += 1
            self._users.pop(user.user_id, None)  # so that it goes to the end
            self._users[user.user_id] = Arrival(self._arrivals, user)
        if new or gone:
            self._backlog = None
        if new:
            for feed in self._feeds:
                feed.wake()

    def _has(self, user: Waiting) -> bool:
        known = self._users.get(user.user_id)
        return known is not None and known.user.stay == user.stay

    def open_feed(self, wake: Callable[[], None]) -> "Feed":
        """Begin to show the list to an agent; `wake` is called when there is more."""
        if self._backlog is None:
            self._backlog = tuple(sorted(self._users.values(), key=_place))
        feed = Feed(self, self._backlog, self._arrivals, wake)
        self._feeds.add(feed)
        return feed

    def close_feed(self, feed: "Feed") -> None:
        """Stop showing it."""
        self._feeds.discard(feed)

    def is_waiting(self, arrival: Arrival) -> bool:
        """Whether the user is still in this same stay."""
        return self._users.get(arrival.user.user_id) is arrival

    def after(self, number: int) -> list[Arrival]:
        """Who arrived after an arrival, in that order."""
        return list(takewhile(lambda arrival: arrival.number > number, reversed(self._users.values())))[::-1]


class Feed:
    """One agent's way through the list: first all who wait, oldest place first, then whoever comes."""

    def __init__(self, view: WaitingView, backlog: tuple[Arrival, ...], shown: int, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._view = view
        self._pending = deque(backlog)
        self._shown = shown

    def take(self) -> list[bytes]:
        """Return the next frames; none when everything is shown."""
        frames: list[bytes] = []
        while len(frames) < _AT_ONCE and (self._pending or self._advance()):
            arrival = self._pending.popleft()
            # Who was claimed since is not shown, and who came back is shown for the new stay.
            if self._view.is_waiting(arrival):
                frames.append(encode(JoinRequest(user_id=arrival.user.user_id, chat_id=arrival.user.chat_id)))
        return frames

    def _advance(self) -> bool:
        self._pending.extend(self._view.after(self._shown))
        if self._pending:
            self._shown = self._pending[-1].number
        return bool(self._pending)


def _stay(user: Waiting) -> int:
    return user.stay


def _place(arrival: Arrival) -> tuple[int, str]:
    return arrival.user.place, arrival.user.user_id

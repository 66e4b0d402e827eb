"""WaitingView: this process's copy of the waiting list, and each agent's way through it.

The list has a version, and each user's stay in it a number that rises with every entry. So an agent's
connection needs one number to know what it has shown: whoever has a higher stay is new to it. Restarts, late
agents and lost publications all end in the same complete list.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from core.hub import Hub
from core.join_queue import JoinQueue, Waiting, WaitingList
from core.settings import Settings
from core.store import ChatStore
from core.tasks import Tasks, every
from schemas.codec import encode
from schemas.errors import Unavailable
from schemas.messages import JoinRequest

_REFRESH_SECONDS = 1.0
_APART_SECONDS = 0.05
_AT_ONCE = 64


class WaitingView:
    """The waiting list as this process knows it. A listener of the hub's."""

    def __init__(self, queue: JoinQueue, store: ChatStore, hub: Hub, settings: Settings) -> None:
        self._queue = queue
        self._store = store
        self._hub = hub
        self._settings = settings
        self._version = ""
        self._users: dict[str, Waiting] = {}
        self._by_stay: list[Waiting] = []
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
        self._users = {user.user_id: user for user in waiting_list.users}
        self._by_stay = sorted(waiting_list.users, key=_stay)
        for feed in self._feeds:
            feed.wake()

    def open_feed(self, wake: Callable[[], None]) -> "Feed":
        """Begin to show the list to an agent; `wake` is called when there is more."""
        feed = Feed(self, tuple(self._users.values()), wake)
        self._feeds.add(feed)
        return feed

    def close_feed(self, feed: "Feed") -> None:
        """Stop showing it."""
        self._feeds.discard(feed)

    def is_waiting(self, user: Waiting) -> bool:
        """Whether the user is still in this same stay."""
        return self._users.get(user.user_id) == user

    def after(self, stay: int) -> list[Waiting]:
        """Who entered after a stay, in that order."""
        return self._by_stay[bisect_right(self._by_stay, stay, key=_stay) :]


class Feed:
    """One agent's way through the list: first all who wait, oldest place first, then whoever comes."""

    def __init__(self, view: WaitingView, backlog: tuple[Waiting, ...], wake: Callable[[], None]) -> None:
        self.wake = wake
        self._view = view
        self._pending = deque(backlog)
        self._shown = max((user.stay for user in backlog), default=0)

    def take(self) -> list[bytes]:
        """Return the next frames; none when everything is shown."""
        frames: list[bytes] = []
        while len(frames) < _AT_ONCE and (self._pending or self._advance()):
            user = self._pending.popleft()
            # Who was claimed since is not shown, and who came back is shown for the new stay.
            if self._view.is_waiting(user):
                frames.append(encode(JoinRequest(user_id=user.user_id, chat_id=user.chat_id)))
        return frames

    def _advance(self) -> bool:
        self._pending.extend(self._view.after(self._shown))
        if self._pending:
            self._shown = self._pending[-1].stay
        return bool(self._pending)


def _stay(user: Waiting) -> int:
    return user.stay

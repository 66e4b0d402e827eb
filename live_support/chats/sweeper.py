"""Sweeper: forgets users whose presence has ended, and ends claims whose lease is over.

Every process of both services runs one: any of them may sweep at any time, and repeated sweeps do no harm.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from live_support.chats.join_queue import JoinQueue, Overdue
from live_support.chats.store import ChatStore
from live_support.settings import Settings
from live_support.tasks import Tasks, every
from schemas.errors import ChatGone

_MAX_INTERVAL_SECONDS = 1.0


class Sweeper:
    """Ends presences and claims that no process ends any more.

    Args:
        queue: the queue to sweep.
        store: the chats, which decide what becomes of an overdue claim.
        settings: of the grace and the lease.
    """

    def __init__(self, queue: JoinQueue, store: ChatStore, settings: Settings) -> None:
        self._queue = queue
        self._store = store
        # Often enough that a grace or a lease lasts at most a quarter longer than its setting.
        self._interval_seconds = min(
            _MAX_INTERVAL_SECONDS, settings.leave_grace_seconds / 4, settings.claim_lease_seconds / 4
        )
        self._tasks = Tasks()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep at intervals."""
        self._tasks.spawn(every(self._interval_seconds, self.sweep))
        try:
            yield
        finally:
            await self._tasks.close()

    async def sweep(self) -> None:
        """Forget absent users, and end the claims whose lease is over.

        Raises:
            Unavailable: Redis gives no definite answer.
        """
        for overdue in await self._queue.overdue():
            await self.settle(overdue)

    async def settle(self, overdue: Overdue) -> None:
        """End an overdue claim, depending on its chat.

        Another sweeper may have done so meanwhile, and the agent may have claimed the user again.

        Args:
            overdue: found by `JoinQueue.overdue`.

        Raises:
            Unavailable: Redis gives no definite answer.
        """
        user_id, chat_id, claim = overdue
        try:
            support_id = await self._store.support_id(chat_id)
        except ChatGone:
            # A chat that is stored all the same is in a state of a later release, which settles the claim itself.
            if await self._store.remaining_ms(chat_id) is None:
                await self._queue.forget(user_id)
            return
        if support_id:
            # The process of the joining Support died before it could mark the user as served.
            await self._queue.mark_served(user_id=user_id, chat_id=chat_id)
        else:
            await self._queue.release_overdue(user_id, claim=claim)

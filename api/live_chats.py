"""LiveChats: all chats that have connections in this process, and the rounds that keep them in step with Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice

import structlog

from api.live_chat import LiveChat, Member
from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore
from live_support.redis.hub import Hub
from live_support.settings import Settings
from live_support.tasks import Tasks, every
from live_support.timing_wheel import TimingWheel
from schemas.errors import Unavailable
from schemas.messages import Participant

log = structlog.get_logger()

_OFFSETS_SECONDS = 2.0
_OFFSETS_AT_ONCE = 500
# Between parts of a round: 1000 chats a second are compared, so a round over 10 000 takes 12 s. It is only a fallback:
# after a lost connection to Redis all gaps are filled as soon as there is a new one.
_OFFSETS_PAUSE_SECONDS = 0.5
_TICK_SECONDS = 0.05
"""Resolution of the chats' deadlines."""
_LEAVE_SECONDS = 1.0
_WITHDRAW_SECONDS = 0.05
_CATCH_UP_POLL_SECONDS = 0.01


class LiveChats:
    """The registry of live chats."""

    def __init__(self, store: ChatStore, queue: JoinQueue, hub: Hub, settings: Settings) -> None:
        self._store = store
        self._queue = queue
        self._hub = hub
        self._settings = settings
        self._chats: dict[str, LiveChat] = {}
        self._wheel = TimingWheel(_TICK_SECONDS)
        self._tasks = Tasks()
        self._leaving = Tasks()

    def enter(self, chat_id: str, member: Member) -> LiveChat:
        """Add a session to its chat, where it stays until `leave`."""
        chat = self._chats.get(chat_id)
        if chat is None:
            chat = self._chats[chat_id] = LiveChat(chat_id, self._store, self._queue, self._tasks, self._wheel)
            self._hub.subscribe(self._store.keys.chat(chat_id).live, chat, sharded=True)
        chat.members.add(member)
        return chat

    async def listening(self, chat: LiveChat) -> None:
        """Wait until all further publications of the chat arrive.

        Raises:
            Unavailable: Redis did not confirm the subscription in time.
        """
        await self._hub.confirmed(self._store.keys.chat(chat.chat_id).live)

    def leave(self, chat: LiveChat, member: Member, participant: Participant | None) -> None:
        """Remove a session from its chat.

        Args:
            chat: returned by `enter`.
            member: the session.
            participant: the one that it had joined as; None if it had not joined.
        """
        chat.members.discard(member)
        if not chat.members:
            del self._chats[chat.chat_id]
            self._hub.unsubscribe(self._store.keys.chat(chat.chat_id).live)
            chat.end()
        if participant is not None:
            self._leaving.spawn(self._leave(chat, member.connection_id, participant))

    async def _leave(self, chat: LiveChat, connection_id: str, participant: Participant) -> None:
        try:
            await self._store.leave(chat.chat_id, participant, connection_id)
            if not chat.members and (presence := chat.presence):
                await self._touch_last(chat.chat_id, presence)
        except Unavailable:
            # The user is not touched any more, so the grace counts from the last round.
            log.warning("leave_failed")

    async def _touch_last(self, chat_id: str, presence: Presence) -> None:
        """Let the grace end with the chat at the latest, unless another process has connections in it.

        The order of the reads matters: a connection that joins meanwhile either renews the chat before, or touches the
        user afterwards.
        """
        known_until = await self._queue.present_until(presence.user_id)
        others = await self._store.connections(chat_id)
        remaining_ms = await self._store.remaining_ms(chat_id)
        if remaining_ms is not None:
            grace_ms = self._settings.leave_grace_ms
            grace_ms = grace_ms if others else min(remaining_ms, grace_ms)
            await self._queue.touch_last(presence, grace_ms=grace_ms, known_until=known_until)

    def waiting_grace(self, chat: LiveChat, idle_seconds: float) -> float:
        """Return how many seconds longer a waiting User may be idle: as long as the user may wait in the queue.

        It is given in steps, since the connection is like any other once an agent has joined.
        """
        if chat.queued_at_us is None:
            return 0
        return max(0, min(self._settings.waiting_ttl_ms / 1000 - idle_seconds, self._settings.idle_seconds))

    def withdraw(self, chat_id: str, participant: Participant, connection_id: str) -> None:
        """Undo a join whose outcome is unknown."""
        self._leaving.spawn(self._withdraw(chat_id, participant, connection_id))

    async def _withdraw(self, chat_id: str, participant: Participant, connection_id: str) -> None:
        loop = asyncio.get_running_loop()
        chat_ends = loop.time() + self._settings.chat_ttl_seconds
        while (remaining := chat_ends - loop.time()) > 0:
            try:
                # With a long timeout it runs before any later join as soon as Redis is back.
                await self._store.leave(chat_id, participant, connection_id, timeout_seconds=remaining)
                return
            except Unavailable:  # at once: Redis accepts no writes
                await asyncio.sleep(_WITHDRAW_SECONDS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the rounds."""
        grace_seconds = self._settings.leave_grace_seconds
        self._tasks.spawn(every(grace_seconds / 3, self._touch))
        self._tasks.spawn(every(_OFFSETS_SECONDS, lambda: self._check_offsets(_OFFSETS_PAUSE_SECONDS)))
        try:
            yield
        finally:
            # So that the grace of the users here begins now, and not with the last round.
            await self._leaving.finish(_LEAVE_SECONDS)
            await self._leaving.close()
            await self._tasks.close()
            self._wheel.close()

    async def catch_up(self) -> None:
        """Deliver all entries that the logs hold by now.

        Raises:
            Unavailable: Redis gives no definite answer.
        """
        await self._check_offsets()
        while any(chat.repairing for chat in self._chats.values()):  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(_CATCH_UP_POLL_SECONDS)

    async def _touch(self) -> None:
        # Read only when its batch is sent: a chat that expires meanwhile has left the queue, and must not come back.
        chats = tuple(self._chats.values())
        await self._queue.touch(presence for chat in chats if (presence := chat.presence))

    async def _check_offsets(self, pause_seconds: float = 0) -> None:
        chats = iter(tuple(self._chats.values()))
        while some := tuple(islice(chats, _OFFSETS_AT_ONCE)):
            furthest = [chat.furthest for chat in some]
            offsets = await self._store.offsets([chat.chat_id for chat in some])
            for chat, offset, before in zip(some, offsets, furthest, strict=True):
                chat.check_offset(offset, furthest=before)
            if len(some) == _OFFSETS_AT_ONCE:
                await asyncio.sleep(pause_seconds)

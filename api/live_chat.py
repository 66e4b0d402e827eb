"""LiveChat: a chat as long as this process has connections in it. Fans out, fills gaps, and notices the end.

Every session has a cursor, the offset of the last entry that it got. A publication with the next offset is sent
on; with any later one it reveals a gap, and the log is read. So it does not matter whether publications are
lost, doubled, or overtaken by the snapshot of a join.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore, Snapshot
from live_support.logs import short
from live_support.tasks import Tasks
from live_support.timing_wheel import NEVER, Wheel
from schemas.codec import encode
from schemas.entry import JOINED, REPLACED, Entry
from schemas.errors import CloseCode, Unavailable
from schemas.messages import ChatExpired, ChatExpiredArgs, SupportJoined, UserJoined

log = structlog.get_logger()

_RETRY_SECONDS = 1.0
_LATE_SECONDS = 0.003
"""A key whose time is up is surely gone then. The wheel may look 2 ms too early."""
# How far apart a connection and its chat may end for `ChatExpired` to go first. A busy process is late by some of it.
_EXPIRY_MARGIN_MS = 1000

_decode_joined = msgspec.json.Decoder(UserJoined | SupportJoined).decode


class Member(Protocol):
    """A joined session, as its chat sees it."""

    cursor: int | None
    """None until the session has joined."""

    @property
    def connection_id(self) -> str:
        """Names the connection in the log."""

    @property
    def send(self) -> Callable[[bytes], None]:
        """Queues a frame."""

    def close(self, code: CloseCode) -> None:
        """Close after the queued frames."""


class LiveChat:
    """One chat's connections in this process."""

    __slots__ = (
        "_deadline",
        "_dirty",
        "_gone",
        "_latest",
        "_loop",
        "_queue",
        "_store",
        "_tasks",
        "_wheel",
        "chat_id",
        "due",
        "members",
        "place",
        "repairing",
        "support_id",
        "user_id",
    )

    def __init__(self, chat_id: str, store: ChatStore, queue: JoinQueue, tasks: Tasks, wheel: Wheel) -> None:
        self.chat_id = chat_id
        self.user_id = ""
        self.support_id: str | None = None
        self.place: int | None = None
        """The user's place in the queue while this process knows it."""
        self.members: set[Member] = set()
        self._store = store
        self._queue = queue
        self._tasks = tasks
        self._wheel = wheel
        self._gone = False
        self._latest = 0
        self.repairing = False
        """Whether the log is being read, because something is missing here."""
        self._dirty = False
        self._loop = asyncio.get_running_loop()
        self._deadline = 0.0
        self.due = NEVER

    # Joining.

    def learn(self, snapshot: Snapshot, *, user_id: str, place: int | None) -> None:
        """Note what a session that joins has found out about the chat."""
        self.user_id = user_id
        # The snapshot may be older than what the log has told since.
        self.support_id = snapshot.support_id or self.support_id
        self.place = place if self.support_id is None else None
        self.renew(snapshot.ttl_ms)

    def follow(self, member: Member, offset: int) -> None:
        """Let a session that has been told the log up to an offset hear what comes behind it."""
        member.cursor = offset
        if self._latest > offset:
            self.missed()

    @property
    def presence(self) -> Presence | None:
        """What the queue is told of this chat: None until it waits or has an agent, and when it is gone."""
        if self._gone or (self.place is None and self.support_id is None):
            return None
        return Presence(self.user_id, self.chat_id, self.place)

    # Delivery.

    def publication(self, payload: bytes) -> None:
        """Take a hint of the hub's: an entry of the log."""
        self._deliver(Entry.parse(payload))

    def missed(self) -> None:
        """Read the log: publications may have been lost."""
        self._dirty = True
        if not self.repairing:
            self.repairing = True
            self._tasks.spawn(self._repair())

    def _deliver(self, entry: Entry) -> None:
        """Send an entry to whoever is at it; one that is no message, or of an unknown kind, only moves the cursors."""
        offset = entry.offset
        if offset > self._latest:
            self._latest = offset
        if entry.kind == JOINED:
            self._learn(entry.body)
        replaced = entry.body.decode() if entry.kind == REPLACED else None
        frame = entry.frame()
        for member in tuple(self.members):
            cursor = member.cursor
            if cursor is None or offset <= cursor:
                continue
            if offset > cursor + 1:
                self.missed()
                continue
            member.cursor = offset
            if frame is not None:
                member.send(frame)
            elif replaced == member.connection_id:
                member.close(CloseCode.REPLACED)

    def _learn(self, body: bytes) -> None:
        joined = _decode_joined(body)
        if isinstance(joined, SupportJoined):
            self.support_id = joined.support_id
            self.place = None
            # With an agent the chat's time may be shorter than it was while waiting.
            self._tasks.spawn(self._check())

    async def _repair(self) -> None:
        try:
            while self._dirty:
                self._dirty = False
                cursors = [member.cursor for member in self.members if member.cursor is not None]
                if cursors:
                    # A piece at a time, so that whoever takes what it gets is no slow consumer of much at once.
                    entries = await self._store.entries_after(self.chat_id, min(cursors))
                    for entry in entries:
                        self._deliver(entry)
                    self._dirty |= bool(entries)
        except Unavailable:
            # `check_offset` finds the gap again when Redis is back.
            log.warning("repair_failed", chat=short(self.chat_id))
        finally:
            self.repairing = False

    @property
    def furthest(self) -> int:
        """The highest cursor here."""
        return max([member.cursor or 0 for member in self.members], default=0)

    def check_offset(self, offset: int | None, *, furthest: int) -> None:
        """Compare the chat in Redis with what was delivered here.

        Args:
            offset: of the log's last entry; None when the chat is gone.
            furthest: as it was before the offset was read, for entries may have come in since.
        """
        cursors = [member.cursor for member in self.members if member.cursor is not None]
        if not cursors:
            return
        if offset is None:
            self._expire()
        elif offset < furthest:
            # Redis has lost entries that were delivered. A new join shows what is left.
            log.error("log_lost_entries", chat=short(self.chat_id))
            for member in tuple(self.members):
                member.close(CloseCode.SERVICE_RESTART)
        elif offset > min(cursors):
            self.missed()

    # Expiry.

    def renew(self, ttl_ms: int) -> None:
        """Set when the chat expires unless something happens in it."""
        if not self.members:
            return  # the last one left while Redis was asked
        self._deadline = self._loop.time() + ttl_ms / 1000
        self._wheel.wake(self, self._deadline + _LATE_SECONDS)

    def sweep(self, now: float) -> float:
        """See whether the chat has expired, if that may be; return when it may be next."""
        if self._deadline > now:
            return self._deadline + _LATE_SECONDS
        self._tasks.spawn(self._check())
        return NEVER

    async def _check(self) -> None:
        """Ask Redis how long the chat lives: other processes may have renewed it."""
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
        """Say how long an idle connection is to wait because the chat is about to expire, in seconds.

        Where both fall together `ChatExpired` goes first (PROTOCOL section 3).
        """
        try:
            remaining_ms = await self._store.remaining_ms(self.chat_id)
        except Unavailable:
            return 0
        if remaining_ms is None:
            self._expire()
            return 0
        return remaining_ms / 1000 + 0.05 if remaining_ms < _EXPIRY_MARGIN_MS else 0

    def _expire(self) -> None:
        """Tell everybody that the chat is gone."""
        frame = expired_frame(self.chat_id)
        for member in tuple(self.members):
            if member.cursor is not None:
                member.send(frame)
                member.close(CloseCode.CHAT_GONE)
        if self.presence is not None:
            self._tasks.spawn(self._forget())
        self._gone = True

    async def _forget(self) -> None:
        try:
            await self._queue.forget(self.user_id)
        except Unavailable:
            # Nobody touches the user any more, so the sweeper does it.
            log.warning("forget_failed", chat=short(self.chat_id))

    def end(self) -> None:
        """Stop the clock: the last connection is gone."""
        self._wheel.forget(self)


def expired_frame(chat_id: str) -> bytes:
    """Encode `ChatExpired`."""
    return encode(ChatExpired(ChatExpiredArgs(chat_id=chat_id)))

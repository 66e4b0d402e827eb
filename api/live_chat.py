"""LiveChat: a chat as long as this process has connections in it. Fans out, fills gaps, and notices the end.

Every session has a cursor, the offset of the last entry that it got. A publication with the next offset is sent
on; with any later one it reveals a gap, and the log is read. So it does not matter whether publications are
lost, doubled, or overtaken by the snapshot of a join.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from api.expiring import Expiring
from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore, Snapshot
from live_support.logs import short
from live_support.tasks import Tasks
from live_support.timing_wheel import TimingWheel
from schemas.entry import JOINED, REPLACED, Entry
from schemas.errors import CloseCode, Unavailable
from schemas.messages import SupportJoined, UserJoined
from schemas.wire import Wire

log = structlog.get_logger()

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

    @property
    def wire(self) -> Wire:
        """Encodes what it is sent."""

    def close(self, code: CloseCode) -> None:
        """Close after the queued frames."""


class LiveChat(Expiring):
    """One chat's connections in this process."""

    __slots__ = (
        "_dirty",
        "_gone",
        "_latest",
        "_queue",
        "members",
        "queued_at_us",
        "repairing",
        "support_id",
        "user_id",
    )

    def __init__(self, chat_id: str, store: ChatStore, queue: JoinQueue, tasks: Tasks, wheel: TimingWheel) -> None:
        super().__init__(chat_id, store, tasks, wheel)
        self.user_id = ""
        self.support_id: str | None = None
        self.queued_at_us: int | None = None
        """Since when the user waits, while this process knows it."""
        self.members: set[Member] = set()
        self._queue = queue
        self._gone = False
        self._latest = 0
        self.repairing = False
        """Whether the log is being read, because something is missing here."""
        self._dirty = False

    # Joining.

    def learn(self, snapshot: Snapshot, *, user_id: str, queued_at_us: int | None) -> None:
        """Note what a session that joins has found out about the chat."""
        self.user_id = user_id
        # The snapshot may be older than what the log has told since.
        self.support_id = snapshot.support_id or self.support_id
        self.queued_at_us = queued_at_us if self.support_id is None else None
        self.renew(snapshot.ttl_ms)

    def follow(self, member: Member, offset: int) -> None:
        """Let a session that has been told the log up to an offset hear what comes behind it."""
        member.cursor = offset
        if self._latest > offset:
            self.missed()

    @property
    def presence(self) -> Presence | None:
        """What the queue is told of this chat: None until it waits or has an agent, and when it is gone."""
        if self._gone or (self.queued_at_us is None and self.support_id is None):
            return None
        return Presence(self.user_id, self.chat_id, self.queued_at_us)

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
        for member in tuple(self.members):
            cursor = member.cursor
            if cursor is None or offset <= cursor:
                continue
            if offset > cursor + 1:
                self.missed()
                continue
            member.cursor = offset
            frame = entry.frame(member.wire)
            if frame is not None:
                member.send(frame)
            elif entry.kind == REPLACED and entry.body.decode() == member.connection_id:
                member.close(CloseCode.REPLACED)

    def _learn(self, body: bytes) -> None:
        joined = _decode_joined(body)
        if isinstance(joined, SupportJoined):
            self.support_id = joined.support_id
            self.queued_at_us = None
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

    def _expire(self) -> None:
        for member in tuple(self.members):
            if member.cursor is not None:
                member.send(member.wire.expired(self.chat_id))
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

"""LiveChat: a chat that has connections in this process. Delivers entries, fills gaps, and notices the expiry.

Every session has a cursor, the offset of the last entry that it was sent. A publication with the next offset is sent
on; a later one reveals a gap, and the log is read. So publications may be lost, doubled, or overtaken by the snapshot
of a join.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from api.expiring import Expiring
from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore, Snapshot
from live_support.logs import fingerprint
from live_support.tasks import Tasks
from live_support.timing_wheel import TimingWheel
from schemas.entry import JOINED, REPLACED, Entry
from schemas.errors import CloseCode, Unavailable
from schemas.messages import SupportJoined, UserJoined
from schemas.wire import Wire

log = structlog.get_logger()

_decode_joined = msgspec.json.Decoder(UserJoined | SupportJoined).decode


class Member(Protocol):
    """A session in a chat, as the chat sees it."""

    cursor: int | None
    """None until the session has joined."""

    @property
    def connection_id(self) -> str:
        """Name of the connection in the log."""

    @property
    def send(self) -> Callable[[bytes], None]:
        """Queues a frame."""

    @property
    def wire(self) -> Wire:
        """Encodes messages to it."""

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
        """Since when the user has waited, if this process knows it."""
        self.members: set[Member] = set()
        self._queue = queue
        self._gone = False
        self._latest = 0
        self.repairing = False
        """Whether the log is being read to fill a gap."""
        self._dirty = False

    # Joining.

    def learn(self, snapshot: Snapshot, *, user_id: str, queued_at_us: int | None) -> None:
        """Note the state of the chat at a session's join."""
        self.user_id = user_id
        # The snapshot may be older than entries that were delivered since.
        self.support_id = snapshot.support_id or self.support_id
        self.queued_at_us = queued_at_us if self.support_id is None else None
        self.renew(snapshot.ttl_ms)

    def follow(self, member: Member, offset: int) -> None:
        """Deliver the entries after an offset to a session that has been sent those before."""
        member.cursor = offset
        if self._latest > offset:
            self.missed()

    @property
    def presence(self) -> Presence | None:
        """The user's presence for the queue: None until the user waits or has an agent, and when the chat is gone."""
        if self._gone or (self.queued_at_us is None and self.support_id is None):
            return None
        return Presence(self.user_id, self.chat_id, self.queued_at_us)

    # Delivery.

    def publication(self, payload: bytes) -> None:
        """Deliver a published entry of the log."""
        self._deliver(Entry.parse(payload))

    def missed(self) -> None:
        """Read the log, since publications may have been lost."""
        self._dirty = True
        if not self.repairing:
            self.repairing = True
            self._tasks.spawn(self._repair())

    def _deliver(self, entry: Entry) -> None:
        """Send an entry to each session whose next one it is. One without a message only moves the cursors."""
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
            # With an agent the time to live may be shorter than it was while waiting.
            self._tasks.spawn(self._check())

    async def _repair(self) -> None:
        try:
            while self._dirty:
                self._dirty = False
                cursors = [member.cursor for member in self.members if member.cursor is not None]
                if cursors:
                    # One piece at a time, so that a large gap does not overflow the outbox of a client that reads.
                    entries = await self._store.entries_after(self.chat_id, min(cursors))
                    for entry in entries:
                        self._deliver(entry)
                    self._dirty |= bool(entries)
        except Unavailable:
            # `check_offset` finds the gap again when Redis is back.
            log.warning("repair_failed", chat=fingerprint(self.chat_id))
        finally:
            self.repairing = False

    @property
    def furthest(self) -> int:
        """The highest cursor of this process."""
        return max([member.cursor or 0 for member in self.members], default=0)

    def check_offset(self, offset: int | None, *, furthest: int) -> None:
        """Compare the chat in Redis with what was delivered here.

        Args:
            offset: of the log's last entry; None if the chat is gone.
            furthest: read before the offset, since entries may have arrived meanwhile.
        """
        cursors = [member.cursor for member in self.members if member.cursor is not None]
        if not cursors:
            return
        if offset is None:
            self._expire()
        elif offset < furthest:
            # Redis has lost delivered entries. A new join shows the remaining ones.
            log.error("log_lost_entries", chat=fingerprint(self.chat_id))
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
            # No process touches the user any more, so the sweeper does it.
            log.warning("forget_failed", chat=fingerprint(self.chat_id))

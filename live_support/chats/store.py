"""ChatStore: the chats in Redis. One script per operation; the log is the truth."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from hashlib import sha256
from typing import Literal, get_args

from msgspec import Struct

from live_support.chats.keys import Keys, said_field
from live_support.chats.scripts import load_script
from live_support.chats.writer import Writer
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from live_support.turns import Turns
from schemas.entry import CHAT_MESSAGE, Entry
from schemas.errors import (
    AlreadyClaimed,
    ChatFull,
    ChatGone,
    CloseCode,
    Forbidden,
    InvalidFrame,
    RateLimited,
    Unavailable,
)
from schemas.messages import Participant

# Redis cuts a connection with subscriptions when more than 32 MB of replies wait on it, and a few tabs that join a full
# chat at once would be enough. So a long log is read in pieces, a few at a time in all, one at a time for each chat.
# Reading for joins and for repairs is bounded separately, so that neither waits for the other.
_WHOLE_LOG_BYTES = 16 * 1024
_PIECE_ENTRIES = 100
_PIECE_BYTES = 128 * 1024
"""About how much of a history is queued for one client."""
_JOINS_AT_ONCE = 6
_REPAIRS_AT_ONCE = 4

ChatState = Literal["open", "waiting", "active"]
"""Open until the User's first Join, then waiting, and active as soon as a Support has joined."""

# Earlier releases store no state. A chat in a state of a later release counts as expired here.
_KNOWN_STATES = (None, *(state.encode() for state in get_args(ChatState)))

_Outcome = Literal[b"gone", b"forbidden", b"claimed", b"unnamed", b"crowded", b"limited", b"first", b"again"]


class JoinAttempt(Struct, frozen=True, kw_only=True):
    """What a connection claims to be when it joins."""

    connection_id: str
    participant: Participant
    user_id: str
    support_id: str | None = None
    token: str | None = None
    agent_id: str = ""
    """The agent whose token a Support has: only that one may join again."""
    joined: bytes
    """The args of `Joined`, appended if this is the participant's first join."""
    new_support_id: str = ""
    support_user_name: str = ""


class Snapshot(Struct, frozen=True, kw_only=True):
    """A chat at the moment of a join."""

    first: bool
    """Whether this was the participant's first join."""
    support_id: str | None
    support_user_name: str
    state: ChatState
    ttl_ms: int
    full: bool
    """Whether the participant already had the maximum of connections, so that the oldest must be closed."""
    offset: int
    """The last entry's number in the log; 0 when there is none."""
    messages: int
    bytes: int
    """Size of the messages."""
    entries: list[Entry] | None
    """The log, or None if it is long and must be read in pieces."""

    @property
    def waiting(self) -> bool:
        """Whether the user waits for an agent."""
        return self.state == "waiting"


class ChatStore:
    """The chats in Redis.

    All methods raise `Unavailable` when Redis gives no definite answer in time, and may be repeated.
    """

    def __init__(self, redis: RedisClient, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self.keys = Keys(settings.key_prefix)
        self._open = load_script(redis, "chat", "open")
        self._join = load_script(
            redis,
            "chat",
            "join",
            max_connections=settings.limits.connections_per_participant,
            max_replaced=settings.limits.replaced_connections,
            joins=settings.chat_join_rate.count,
            join_us=max(1, round(settings.chat_join_rate.interval_seconds * 1_000_000)),
            whole_log_bytes=_WHOLE_LOG_BYTES,
            chat_ttl_ms=settings.chat_ttl_ms,
            waiting_ttl_ms=settings.waiting_ttl_ms,
        )
        self._replace = load_script(
            redis, "chat", "replace", max_connections=settings.limits.connections_per_participant
        )
        self._append = load_script(
            redis,
            "chat",
            "timestamp",
            "append",
            replay_window=settings.limits.replay_window_messages,
            max_messages=settings.chat_max_messages,
            max_bytes=settings.chat_max_bytes,
            chat_ttl_ms=settings.chat_ttl_ms,
            waiting_ttl_ms=settings.waiting_ttl_ms,
        )
        self._joins = Turns(_JOINS_AT_ONCE)
        self._repairs = Turns(_REPAIRS_AT_ONCE)

    async def open(self, chat_id: str, *, user_id: str, username: str, token: str | None = None) -> None:
        """Open a chat for a user; with a token, every `Join` of the User needs it."""
        await self._open(self.keys.chat(chat_id), user_id, username, _hashed(token), self._settings.chat_ttl_ms)

    async def join(self, chat_id: str, attempt: JoinAttempt) -> Snapshot:
        """Let a connection join, and read the chat in the same step.

        Raises:
            ChatGone: unknown or expired.
            Forbidden: the ids or the token are not the chat's.
            AlreadyClaimed: the chat has another Support.
            InvalidFrame: a first Support without a name.
            ChatFull: too many connections of this chat have replaced others.
            RateLimited: too many joins of this chat.
        """
        reply = await self._join(
            self.keys.chat(chat_id),
            attempt.connection_id,
            attempt.participant,
            attempt.user_id,
            attempt.support_id or "",
            _hashed(attempt.token),
            attempt.joined,
            attempt.new_support_id,
            attempt.support_user_name,
            attempt.agent_id,
        )
        outcome: _Outcome = reply[0]
        match outcome:
            case b"gone":
                raise ChatGone
            case b"forbidden":
                raise Forbidden("The ids or the token do not match this chat.", close=CloseCode.FORBIDDEN)
            case b"claimed":
                raise AlreadyClaimed("Another agent has this chat.", close=CloseCode.ALREADY_CLAIMED)
            case b"unnamed":
                raise InvalidFrame("The first Join of a Support needs supportUserName.")
            case b"crowded":
                raise ChatFull("This chat has had too many connections.", close=CloseCode.TRY_AGAIN_LATER)
            case b"limited":
                message = "This chat is joined too often."
                raise RateLimited(message, close=CloseCode.RATE_LIMITED, retry_after_ms=int(reply[1]))
        _, support_id, support_user_name, state, ttl_ms, full, offset, messages, size, *log = reply
        bodies = zip(log[::2], log[1::2], strict=True)
        return Snapshot(
            first=outcome == b"first",
            support_id=support_id.decode() or None,
            support_user_name=support_user_name.decode(),
            state=state.decode(),
            ttl_ms=ttl_ms,
            full=bool(full),
            offset=offset,
            messages=messages,
            bytes=size,
            entries=[Entry(number, kind, body) for number, (kind, body) in enumerate(bodies, start=1)]
            if log or not offset
            else None,
        )

    async def make_room(self, chat_id: str, participant: Participant, connection_id: str) -> None:
        """Close the oldest connections of a participant who has too many."""
        await self._replace(self.keys.chat(chat_id), connection_id, participant)

    def writer(self, chat_id: str, connection_id: str, own_id: str) -> Writer:
        """Make the writer of a connection that has joined.

        Args:
            chat_id: of the chat.
            connection_id: of the connection.
            own_id: the `userId` or `supportId` that it has joined with. Once it is no longer the chat's, messages are
                refused.
        """
        keys = self.keys.chat(chat_id)
        begin = self._append.packed(2, keys, said_field(connection_id), own_id)
        return Writer(self._redis, keys.meta, begin)

    async def messages(self, chat_id: str, snapshot: Snapshot) -> AsyncGenerator[list[bytes], None]:
        """Read the messages of a snapshot with a long log, piece by piece. A piece may be empty.

        Raises:
            ChatGone: it has expired meanwhile.
        """
        read, count = 0, _entries_of(snapshot.bytes // max(1, snapshot.messages))
        while read < snapshot.offset:
            piece = await self._read(self._joins, chat_id, read, min(count, snapshot.offset - read))
            if not piece:
                raise ChatGone
            size, taken = 0, []
            for entry in piece:  # messages may be larger than the average: the rest is read again
                size += len(entry.body)
                taken.append(entry)
                if size >= _PIECE_BYTES:
                    break
            read, count = taken[-1].offset, _entries_of(size // len(taken))
            yield [entry.body for entry in taken if entry.kind == CHAT_MESSAGE]

    async def entries_after(self, chat_id: str, offset: int) -> list[Entry]:
        """Read a piece of the log after an offset; it is empty at the end of the log."""
        return await self._read(self._repairs, chat_id, offset, _PIECE_ENTRIES)

    async def _read(self, turns: Turns, chat_id: str, offset: int, count: int) -> list[Entry]:
        first, last = f"{offset + 1}-0", f"{offset + count}-1"
        try:
            async with asyncio.timeout(self._settings.limits.store_seconds):
                await turns.begin(chat_id)
        except TimeoutError:
            raise Unavailable("The server cannot read anything now, try again later.") from None
        try:
            piece = await self._redis.run("XRANGE", self.keys.chat(chat_id).log, first, last)
        finally:
            turns.end(chat_id)
        return [Entry(int(entry_id.partition(b"-")[0]), kind, body) for entry_id, (kind, body, *_) in piece]

    async def offsets(self, chat_ids: Sequence[str]) -> list[int | None]:
        """Read the last offset of each chat; None if the chat is gone."""
        replies = await self._redis.run_all([("HGET", self.keys.chat(chat_id).meta, "offset") for chat_id in chat_ids])
        return [None if offset is None else int(offset) for offset in replies]

    async def remaining_ms(self, chat_id: str) -> int | None:
        """Return how long the chat lives unless it is renewed; None if it is gone."""
        remaining = await self._redis.run("PTTL", self.keys.chat(chat_id).meta)
        return None if remaining < 0 else remaining

    async def support_id(self, chat_id: str) -> str | None:
        """Return the `supportId`; None if no agent has joined.

        Raises:
            ChatGone: unknown or expired.
        """
        meta = self.keys.chat(chat_id).meta
        user_id, support_id, state = await self._redis.run("HMGET", meta, "userId", "supportId", "state")
        if user_id is None or state not in _KNOWN_STATES:
            raise ChatGone
        return support_id.decode() if support_id else None

    async def leave(
        self, chat_id: str, participant: Participant, connection_id: str, *, timeout_seconds: float | None = None
    ) -> None:
        """Remove a connection from the chat's list; with a timeout, wait that long even while Redis is away."""
        member = f"{participant}:{connection_id}"
        await self._redis.run("ZREM", self.keys.chat(chat_id).connections, member, timeout_seconds=timeout_seconds)

    async def connections(self, chat_id: str) -> int:
        """Count the connections on the chat's list."""
        return int(await self._redis.run("ZCARD", self.keys.chat(chat_id).connections))


def _entries_of(size: int) -> int:
    """Return how many entries of a size make a piece."""
    return min(_PIECE_ENTRIES, max(1, _PIECE_BYTES // max(1, size)))


def _hashed(token: str | None) -> str:
    """Hash a token, so that a reader of Redis cannot use it; "" for none."""
    return sha256(token.encode()).hexdigest() if token else ""

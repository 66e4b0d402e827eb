"""JoinQueue: the waiting users and who claimed them. Every change is one script; the list has a version."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from live_support.chats.keys import Keys
from live_support.chats.scripts import load_script
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from schemas.codec import encode
from schemas.errors import AlreadyClaimed, CloseCode, NotWaiting, Unavailable
from schemas.messages import JoinRequest

T = TypeVar("T")

_TOUCH_AT_ONCE = 200
_SWEEP_AT_ONCE = 100


class Claimant(NamedTuple):
    """Who claims a user."""

    agent_id: str
    """A hash of the agent's `sub`; "" where agents need no token."""
    connection_id: str


class StoredEntry(Struct, array_like=True, frozen=True):
    """A user's entry as the scripts write it. What a later release appends is passed over here, and kept in Redis."""

    state: Literal["waiting", "served"]
    chat_id: str
    entry_id: str


_decode_entry = msgspec.json.Decoder(StoredEntry).decode


class Waiting(NamedTuple):
    """A user in the waiting list."""

    user_id: str
    chat_id: str
    entry_id: int
    """New each time that the user enters the list, and higher than any before it."""
    queued_at_us: int
    """When the user first entered the list, in microseconds since the epoch. It says who is next."""


class WaitingList(NamedTuple):
    """The users whom nobody has claimed as of a version: all of them, longest waiting first, or what has changed."""

    version: str
    users: list[Waiting]
    gone: list[str] | None
    """Who has left the list, if `users` are only those who have changed; None if they are all."""


class Presence(NamedTuple):
    """A chat that has connections here."""

    user_id: str
    chat_id: str
    queued_at_us: int | None
    """As in `Waiting`; None when the user does not wait."""


class Overdue(NamedTuple):
    """A claim whose lease is over."""

    user_id: str
    chat_id: str
    claim: str
    """As it is stored."""


class JoinQueue:
    """The join queue in Redis.

    All methods raise `Unavailable` when Redis gives no definite answer in time, and may be repeated.
    """

    def __init__(self, redis: RedisClient, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self.keys = Keys(settings.key_prefix)
        self._enqueue = load_script(redis, "queue", "enqueue")
        self._claim = load_script(redis, "queue", "claim")
        self._claim_for_join = load_script(redis, "queue", "claim_for_join")
        self._release = load_script(redis, "queue", "release")
        self._release_overdue = load_script(redis, "queue", "release_overdue")
        self._mark_served = load_script(redis, "queue", "mark_served")
        self._forget = load_script(redis, "queue", "forget")
        self._touch = load_script(redis, "queue", "touch")
        self._sweep = load_script(redis, "queue", "sweep")
        self._snapshot = load_script(redis, "queue", "snapshot")

    async def enqueue(self, *, user_id: str, chat_id: str) -> int | None:
        """Let a user wait, and publish the join request unless the user waits already.

        Returns:
            `queued_at_us` of the user; None if an agent has joined meanwhile.

        Raises:
            Unavailable: also when the queue is full.
        """
        request = encode(JoinRequest(user_id=user_id, chat_id=chat_id))
        queued_at_us = await self._enqueue(
            self.keys.queue,
            user_id,
            chat_id,
            request,
            self.keys.join_channel,
            self._settings.leave_grace_ms,
            self._settings.limits.waiting_users,
        )
        if queued_at_us is None:
            raise Unavailable("Too many users are waiting, try again later.", close=CloseCode.TRY_AGAIN_LATER)
        return queued_at_us or None

    async def claim(self, user_id: str, claimant: Claimant) -> None:
        """Take a waiting user for one agent, who has the lease's time to join the chat.

        Raises:
            AlreadyClaimed: another agent was first, or has joined the chat.
            NotWaiting: the user is not in the queue.
        """
        outcome = await self._claim(self.keys.queue, user_id, *claimant, self._settings.claim_lease_ms)
        if outcome == b"claimed":
            raise AlreadyClaimed("Another agent has this user.")
        if outcome == b"not_waiting":
            raise NotWaiting("This user is not in the queue.")

    async def release(self, user_id: str, claimant: Claimant) -> None:
        """Give a claimed user back to the queue, at the old place."""
        await self._release(self.keys.queue, user_id, *claimant, "")

    async def claim_for_join(self, user_id: str, claimant: Claimant, *, chat_id: str) -> bool:
        """Claim a user for an agent with a token who is about to join the chat. Nobody else sees it.

        Returns:
            Whether this claim holds the user now; False when an earlier one of the agent's does, or nobody waits.

        Raises:
            AlreadyClaimed: another agent's claim holds the user.
        """
        outcome = await self._claim_for_join(
            self.keys.queue, user_id, chat_id, *claimant, self._settings.claim_lease_ms
        )
        if outcome == b"claimed":
            raise AlreadyClaimed("Another agent has this user.", close=CloseCode.ALREADY_CLAIMED)
        return bool(outcome == b"won")

    async def release_for_join(self, user_id: str, claimant: Claimant) -> None:
        """End what `claim_for_join` began, without a trace: the chat has refused the agent."""
        await self._release(self.keys.queue, user_id, *claimant, "join")

    async def release_overdue(self, user_id: str, *, claim: str) -> None:
        """Give a user back whose claim is overdue; without effect if the same agent has claimed the user again."""
        await self._release_overdue(self.keys.queue, user_id, claim)

    async def mark_served(self, *, user_id: str, chat_id: str) -> None:
        """Take a user whose Support has joined out of the list."""
        await self._mark_served(self.keys.queue, user_id, chat_id, self._settings.leave_grace_ms)

    async def forget(self, user_id: str) -> None:
        """Drop everything known of a user: the chat is gone."""
        await self._forget(self.keys.queue, user_id)

    async def touch(self, presences: Iterable[Presence]) -> None:
        """Say who is connected here. Must be said again before the grace is over."""
        for some in _batches(presences, _TOUCH_AT_ONCE):
            arguments = (value for presence in some for value in _touched(presence))
            await self._touch(self.keys.queue, self._settings.leave_grace_ms, "", *arguments)

    async def present_until(self, user_id: str) -> int | None:
        """Return until when the user counts as connected (ms of Redis's clock), None if not at all."""
        until_ms = await self._redis.run("ZSCORE", self.keys.queue.present, user_id)
        return None if until_ms is None else int(until_ms)

    async def touch_last(self, presence: Presence, *, grace_ms: int, known_until: int | None) -> None:
        """Say that somebody has just left who was connected here; without effect if the user is back.

        Args:
            presence: whose last connection is gone.
            grace_ms: how long the user keeps the place.
            known_until: `present_until` as it was before anything was read that the grace depends on.
        """
        seen = "none" if known_until is None else known_until
        await self._touch(self.keys.queue, grace_ms, seen, *_touched(presence))

    async def overdue(self) -> list[Overdue]:
        """Forget absent users, heal what was lost of an entry, and find the claims that ran out."""
        settings = self._settings
        due = await self._sweep(self.keys.queue, _SWEEP_AT_ONCE, settings.leave_grace_ms, settings.claim_lease_ms)
        return [Overdue(*fields) for fields in _batches((value.decode() for value in due), 3)]

    async def waiting_list(self, *, known_version: str = "") -> WaitingList | None:
        """Read the waiting list, or what has changed in it since a version; None when nothing has."""
        reply = await self._snapshot(self.keys.queue, known_version)
        if reply is None:
            return None
        version, which, *fields = reply
        users: list[Waiting] = []
        gone: list[str] = []
        for user, entry, queued_at_us in _batches(fields, 3):
            if not entry:
                gone.append(user.decode())
                continue
            known = _decode_entry(entry)
            users.append(Waiting(user.decode(), known.chat_id, int(known.entry_id), int(float(queued_at_us))))
        return WaitingList(version.decode(), users, None if which == b"all" else gone)


def _touched(presence: Presence) -> tuple[str, str, int | str]:
    user_id, chat_id, queued_at_us = presence
    return user_id, chat_id, "" if queued_at_us is None else queued_at_us


def _batches(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch

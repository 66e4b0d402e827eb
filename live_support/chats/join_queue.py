"""JoinQueue: the waiting users and the claims on them. Every change is one script; the list has a version."""

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
    """The agent and connection that claim a user."""

    agent_id: str
    """A hash of the agent's `sub`; "" where agents need no token."""
    connection_id: str


class StoredEntry(Struct, array_like=True, frozen=True):
    """A user's entry as the scripts write it. Further elements, of a later release, are ignored, and kept in Redis."""

    state: Literal["waiting", "served"]
    chat_id: str
    entry_id: str


_decode_entry = msgspec.json.Decoder(StoredEntry).decode


class Waiting(NamedTuple):
    """A user in the waiting list."""

    user_id: str
    chat_id: str
    entry_id: int
    """New each time the user enters the list, and higher than all before it."""
    queued_at_us: int
    """When the user first entered the list, in microseconds since the epoch. The order of the list."""


class WaitingList(NamedTuple):
    """The unclaimed users of a version: all of them, longest waiting first, or the changes since another version."""

    version: str
    users: list[Waiting]
    gone: list[str] | None
    """The users who have left the list, if `users` are only the changed ones; None if `users` is the whole list."""


class Presence(NamedTuple):
    """A chat that has connections in this process."""

    user_id: str
    chat_id: str
    queued_at_us: int | None
    """As in `Waiting`; None when the user does not wait."""


class Overdue(NamedTuple):
    """A claim whose lease is over."""

    user_id: str
    chat_id: str
    claim: str
    """The claim as it is stored."""


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
        """Enter a user into the queue, and publish the join request unless the user is waiting already.

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
        """Claim a waiting user for one agent, who must join the chat before the lease ends.

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
        """Return a claimed user to the queue, at the old position."""
        await self._release(self.keys.queue, user_id, *claimant, "")

    async def claim_for_join(self, user_id: str, claimant: Claimant, *, chat_id: str) -> bool:
        """Claim a user for an agent with a token who is about to join the chat. Other agents do not see it.

        Returns:
            Whether this claim holds the user now; False if an earlier claim of the agent does, or the user does not
            wait.

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
        """Undo `claim_for_join`: the chat has refused the agent."""
        await self._release(self.keys.queue, user_id, *claimant, "join")

    async def release_overdue(self, user_id: str, *, claim: str) -> None:
        """Return a user whose claim is overdue; without effect if the same agent has claimed the user again."""
        await self._release_overdue(self.keys.queue, user_id, claim)

    async def mark_served(self, *, user_id: str, chat_id: str) -> None:
        """Remove a user whose Support has joined from the list."""
        await self._mark_served(self.keys.queue, user_id, chat_id, self._settings.leave_grace_ms)

    async def forget(self, user_id: str) -> None:
        """Remove every trace of a user whose chat has expired."""
        await self._forget(self.keys.queue, user_id)

    async def touch(self, presences: Iterable[Presence]) -> None:
        """Renew the presence of users who are connected here. Must be repeated before the grace is over."""
        for some in _batches(presences, _TOUCH_AT_ONCE):
            arguments = (value for presence in some for value in _touched(presence))
            await self._touch(self.keys.queue, self._settings.leave_grace_ms, "", *arguments)

    async def present_until(self, user_id: str) -> int | None:
        """Return until when the user counts as connected (ms of Redis's clock); None if not at all."""
        until_ms = await self._redis.run("ZSCORE", self.keys.queue.present, user_id)
        return None if until_ms is None else int(until_ms)

    async def touch_last(self, presence: Presence, *, grace_ms: int, known_until: int | None) -> None:
        """Shorten the presence of a user whose last connection here is gone; without effect if the user is back.

        Args:
            presence: the user.
            grace_ms: how long the user keeps the position.
            known_until: `present_until`, read before the data on which the grace depends.
        """
        seen = "none" if known_until is None else known_until
        await self._touch(self.keys.queue, grace_ms, seen, *_touched(presence))

    async def overdue(self) -> list[Overdue]:
        """Forget absent users, restore lost parts of entries, and find the claims whose lease is over."""
        settings = self._settings
        due = await self._sweep(self.keys.queue, _SWEEP_AT_ONCE, settings.leave_grace_ms, settings.claim_lease_ms)
        return [Overdue(*fields) for fields in _batches((value.decode() for value in due), 3)]

    async def waiting_list(self, *, known_version: str = "") -> WaitingList | None:
        """Read the waiting list, or its changes since a version; None if there are none."""
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

"""JoinQueue: the waiting users and who claimed them. Every change is one script; the list has a version."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

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
_HOLD = "~"
"""Ends the ids of claims of which nobody is told."""


class Waiting(NamedTuple):
    """A user in the waiting list. `stay` rises with every entry of anybody into the list, `place` says who is next."""

    user_id: str
    chat_id: str
    stay: int
    place: int


class WaitingList(NamedTuple):
    """The users whom nobody has claimed as of a version: all of them, oldest place first, or what has changed."""

    version: str
    users: list[Waiting]
    gone: list[str] | None
    """Who has left the list, if `users` are only those who have changed; None if they are all."""


class Presence(NamedTuple):
    """A chat that has connections here. `place` is the user's in the queue while waiting, else None."""

    user_id: str
    chat_id: str
    place: int | None


class Overdue(NamedTuple):
    """A claim whose lease is over."""

    user_id: str
    chat_id: str
    claim_id: str


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
        self._hold = load_script(redis, "queue", "hold")
        self._release = load_script(redis, "queue", "release")
        self._serve = load_script(redis, "queue", "serve")
        self._forget = load_script(redis, "queue", "forget")
        self._touch = load_script(redis, "queue", "touch")
        self._sweep = load_script(redis, "queue", "sweep")
        self._snapshot = load_script(redis, "queue", "snapshot")

    async def enqueue(self, *, user_id: str, chat_id: str) -> int | None:
        """Let a user wait, and publish the join request unless the user waits already.

        Returns:
            The place: microseconds since the epoch when the user entered; None if an agent has joined meanwhile.
        """
        request = encode(JoinRequest(user_id=user_id, chat_id=chat_id))
        place = await self._enqueue(
            self.keys.queue,
            user_id,
            chat_id,
            request,
            self.keys.join_channel,
            self._settings.leave_grace_ms,
            self._settings.limits.waiting_users,
        )
        if place is None:
            raise Unavailable("Too many users are waiting, try again later.", close=CloseCode.TRY_AGAIN_LATER)
        return place or None

    async def claim(self, user_id: str, *, claim_id: str) -> None:
        """Take a waiting user for one agent, who has the lease's time to join the chat.

        Raises:
            AlreadyClaimed: another agent was first, or has joined the chat.
            NotWaiting: the user is not in the queue.
        """
        outcome = await self._claim(self.keys.queue, user_id, claim_id, self._settings.claim_lease_ms)
        if outcome == b"claimed":
            raise AlreadyClaimed("Another agent has this user.")
        if outcome == b"not_waiting":
            raise NotWaiting("This user is not in the queue.")

    async def hold(self, user_id: str, *, chat_id: str, agent_id: str, claim_id: str) -> bool:
        """Claim a user whom no agent has, as an agent who is about to join the chat. Nobody else sees it.

        Returns:
            Whether this claim holds the user now; False when an earlier one of the agent's does, or nobody waits.

        Raises:
            AlreadyClaimed: another agent's claim holds the user.
        """
        claim_id += _HOLD
        outcome = await self._hold(self.keys.queue, user_id, chat_id, agent_id, claim_id, self._settings.claim_lease_ms)
        if outcome == b"claimed":
            raise AlreadyClaimed("Another agent has this user.", close=CloseCode.ALREADY_CLAIMED)
        return bool(outcome == b"won")

    async def release(self, user_id: str, *, claim_id: str) -> None:
        """Give a claimed user back to the queue, at the old place."""
        await self._release(self.keys.queue, user_id, claim_id, "")

    async def release_overdue(self, user_id: str, *, claim_id: str) -> None:
        """Give a user back whose claim is overdue; without effect if the same agent has claimed the user again."""
        await self._release(self.keys.queue, user_id, claim_id, "overdue")

    async def unhold(self, user_id: str, *, claim_id: str) -> None:
        """End what `hold` began, without a trace."""
        await self._release(self.keys.queue, user_id, claim_id + _HOLD, "")

    async def serve(self, *, user_id: str, chat_id: str) -> None:
        """Take a user whose Support has joined out of the queue."""
        await self._serve(self.keys.queue, user_id, chat_id, self._settings.leave_grace_ms)

    async def forget(self, user_id: str) -> None:
        """Drop everything known of a user: the chat is gone."""
        await self._forget(self.keys.queue, user_id)

    async def touch(self, presences: Iterable[Presence]) -> None:
        """Say who is connected here. Must be said again before the grace is over."""
        for some in _batches(presences, _TOUCH_AT_ONCE):
            fields = ((p.user_id, p.chat_id, "" if p.place is None else p.place) for p in some)
            arguments = (value for presence in fields for value in presence)
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
        user_id, chat_id, place = presence
        seen = "none" if known_until is None else known_until
        await self._touch(self.keys.queue, grace_ms, seen, user_id, chat_id, "" if place is None else place)

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
        entries = [(user.decode(), *rest) for user, *rest in _batches(fields, 4)]
        users = [
            Waiting(user, chat.decode(), int(stay), int(float(place))) for user, chat, stay, place in entries if chat
        ]
        gone = None if which == b"all" else [user for user, chat, _, _ in entries if not chat]
        return WaitingList(version.decode(), users, gone)


def _batches(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch

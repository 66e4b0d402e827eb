"""JoinQueue against a model in Python: any steps, in any order, end in the same list."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from live_support.chats.join_queue import Overdue, Presence, Waiting
from schemas.errors import AlreadyClaimed, NotWaiting
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.queue import Reader, by, end_grace, end_lease, number_of
from tests.redis.machines import Machine, check_entries, check_queue_keys, run_machine


@dataclass
class UserModel:
    """What the queue should hold of a user."""

    chat: Chat
    known: bool = False
    waiting: bool = False
    claim: str | None = None
    queued_at_us: int | None = None
    """The last one that a process was told."""
    has_support: bool = False
    lease_is_over: bool = False
    grace_is_over: bool = False
    entered: bool = False
    """Whether the last step let the user in anew."""

    def enter(self) -> None:
        self.waiting = self.entered = True
        self.claim = None

    def leave(self) -> None:
        self.waiting = False
        self.claim = None

    def touch(self) -> None:
        self.known = True
        self.grace_is_over = False

    def forget(self) -> None:
        self.leave()
        self.known = self.grace_is_over = False


USERS = 3
users = st.integers(0, USERS - 1)
claimants = st.sampled_from(["a", "b"])


class QueueMachine(Machine):
    """Some users. Chats are there for the sweeper, which asks them for their Support."""

    def __init__(self) -> None:
        super().__init__()
        self.users = [UserModel(self.run(Chat.open(self.store, number))) for number in range(USERS)]
        self.shown: list[tuple[str, int]] = []
        self.version = 0
        self.last_entry_id = 0
        self.reader = Reader(self.queue)
        self.followed: list[Waiting] = []
        self.found: list[Overdue] = []
        """What a sweeper has found and not dealt with yet."""

    def some(self, condition: Callable[[UserModel], object], which: int) -> int:
        """Pick the number of a user for whom a condition holds, so that steps that can do something are frequent."""
        numbers = [number for number, user in enumerate(self.users) if condition(user)]
        return numbers[which % len(numbers)]

    @initialize()
    def all_wait(self) -> None:
        for number in range(USERS):
            self.enqueue(number)

    @rule(number=users)
    def enqueue(self, number: int) -> None:
        user = self.users[number]
        queued_at_us = self.run(self.queue.enqueue(user_id=user.chat.user_id, chat_id=user.chat.chat_id))
        if user.waiting:
            assert queued_at_us == user.queued_at_us
            user.touch()
        elif user.known:
            assert queued_at_us is None
        else:
            assert queued_at_us is not None
            user.queued_at_us = queued_at_us
            user.touch()
            user.enter()

    @precondition(lambda self: any(user.waiting for user in self.users))
    @rule(which=users, claimant=claimants)
    def claim_somebody_who_waits(self, which: int, claimant: str) -> None:
        self.claim(self.some(lambda user: user.waiting, which), claimant)

    @rule(number=users, claimant=claimants)
    def claim(self, number: int, claimant: str) -> None:
        user = self.users[number]
        try:
            self.run(self.queue.claim(user.chat.user_id, by(claimant)))
            outcome = "won"
        except (AlreadyClaimed, NotWaiting) as error:
            outcome = error.code
        if user.claim == claimant:
            assert outcome == "won"
        elif not user.known:
            assert outcome == "not_waiting"
        elif not user.waiting or user.claim:
            assert outcome == "already_claimed"
        else:
            assert outcome == "won"
            user.claim, user.lease_is_over = claimant, False

    @precondition(lambda self: any(user.claim for user in self.users))
    @rule(which=users)
    def the_claimant_releases(self, which: int) -> None:
        number = self.some(lambda user: user.claim, which)
        self.release(number, self.users[number].claim or "")

    @rule(number=users, claimant=claimants)
    def release(self, number: int, claimant: str) -> None:
        user = self.users[number]
        self.run(self.queue.release(user.chat.user_id, by(claimant)))
        if user.claim == claimant:
            user.enter()

    @rule(number=users)
    def the_chat_refuses_an_agent(self, number: int) -> None:
        """Who had to hold the user to be told so: no one else is to see any of it."""
        user = self.users[number]
        claimant = by("agent:1")
        before = self.run(self.queue.waiting_list())
        try:
            held = self.run(self.queue.claim_for_join(user.chat.user_id, claimant, chat_id=user.chat.chat_id))
        except AlreadyClaimed:
            assert user.claim
            assert not user.lease_is_over
            return
        assert held == bool(user.waiting)
        if not user.claim:
            assert self.run(self.queue.waiting_list()) == before
        if held:
            self.run(self.queue.release_for_join(user.chat.user_id, claimant))
        if user.claim:
            user.enter()  # the lease was over
        else:
            assert self.run(self.queue.waiting_list()) == before

    @rule(number=users, how=st.sampled_from(["is served", "is forgotten"]))
    def ends(self, number: int, how: str) -> None:
        if how == "is served":
            self.serve(number)
        else:
            self.forget(number)

    def serve(self, number: int) -> None:
        user = self.users[number]
        self.run(self.queue.mark_served(user_id=user.chat.user_id, chat_id=user.chat.chat_id))
        user.touch()
        user.leave()

    def forget(self, number: int) -> None:
        user = self.users[number]
        self.run(self.queue.forget(user.chat.user_id))
        user.forget()

    @rule(number=users, waits=st.sampled_from([True, True, False]))
    def touch(self, number: int, waits: bool) -> None:
        user = self.users[number]
        queued_at_us = user.queued_at_us if waits else None
        self.run(self.queue.touch([Presence(user.chat.user_id, user.chat.chat_id, queued_at_us)]))
        if queued_at_us is None:
            user.leave()
        elif not user.known:
            user.enter()
        user.touch()

    @rule(number=users)
    def support_joins(self, number: int) -> None:
        user = self.users[number]
        self.run(user.chat.join_support())
        user.has_support = True

    @precondition(lambda self: any(_is_leased(user) for user in self.users))
    @rule(which=users)
    def lease_ends(self, which: int) -> None:
        user = self.users[self.some(_is_leased, which)]
        self.run(end_lease(self.client, user.chat.user_id))
        user.lease_is_over = True

    @precondition(lambda self: any(_is_in_grace(user) for user in self.users))
    @rule(which=users)
    def grace_ends(self, which: int) -> None:
        user = self.users[self.some(_is_in_grace, which)]
        self.run(end_grace(self.client, user.chat.user_id))
        user.grace_is_over = True

    @rule()
    def sweep(self) -> None:
        self.sweep_begins()
        self.sweep_goes_on()

    @rule()
    def sweep_begins(self) -> None:
        """A sweeper that has found something may take its time, or die."""
        self.found = self.run(self.queue.overdue())
        for user in self.users:
            if user.grace_is_over:
                user.forget()
        overdue = {(user.chat.user_id, f":{user.claim}") for user in self.users if user.claim and user.lease_is_over}
        assert {(each.user_id, each.claim) for each in self.found} == overdue

    @precondition(lambda self: self.found)
    @rule()
    def sweep_goes_on(self) -> None:
        for each in self.found:
            self.run(self.sweeper.settle(each))
            user = next(user for user in self.users if user.chat.user_id == each.user_id)
            if user.has_support:
                user.touch()
                user.leave()
            elif f":{user.claim}" == each.claim and user.lease_is_over:
                user.enter()
        self.found = []

    @invariant()
    def the_keys_fit_together(self) -> None:
        self.run(check_queue_keys(self.client))
        self.check_entries()
        places = {user.chat.user_id: user.queued_at_us for user in self.users if user.waiting}
        assert self.run(self.places()) == places, "a place is kept for as long as the user is known"

    def check_entries(self) -> None:
        self.run(check_entries(self.client))

    async def places(self) -> dict[str, int | None]:
        scores: Any = await self.client.zrange(KEYS.queue.waiting, 0, -1, withscores=True)
        return {user_id: int(queued_at_us) for user_id, queued_at_us in scores}

    @invariant()
    def the_list_is_the_models(self) -> None:
        waiting_list = self.run(self.queue.waiting_list())
        assert waiting_list is not None
        shown = [(each.user_id, each.entry_id) for each in waiting_list.users]
        waiting = [user for user in self.users if user.waiting and not user.claim]
        in_order = sorted(waiting, key=lambda user: (user.queued_at_us, user.chat.user_id))
        assert [user_id for user_id, _ in shown] == [user.chat.user_id for user in in_order]

        before, entry_ids = dict(self.shown), dict(shown)
        for user in waiting:
            if user.entered:
                assert entry_ids[user.chat.user_id] > self.last_entry_id
            else:
                assert entry_ids[user.chat.user_id] == before[user.chat.user_id]
        for user in self.users:
            user.entered = False
        self.last_entry_id = max([self.last_entry_id, *entry_ids.values()])

        self.followed = self.run(self.reader.read())
        assert self.followed == waiting_list.users

        version = number_of(waiting_list.version)
        assert version > self.version if shown != self.shown else version >= self.version
        self.shown, self.version = shown, version


def _is_leased(user: UserModel) -> bool:
    return user.claim is not None and not user.lease_is_over


def _is_in_grace(user: UserModel) -> bool:
    return user.known and not user.grace_is_over


@pytest.mark.hypothesis
@pytest.mark.timeout(600)  # after a failure, finding the shortest steps that show it takes long
def test_the_queue_does_as_the_model(redis_url: str) -> None:
    run_machine(QueueMachine, redis_url, examples=100, steps=40)

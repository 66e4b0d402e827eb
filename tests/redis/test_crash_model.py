"""Store and queue together, used as processes use them that may die between any two steps: nobody is stranded.

Each step of a machine is one command to Redis, or what a process does between two. A `Join` is two of them, the
chat's and the queue's, and so is a sweep; anything may happen between the two, also that nobody takes the second.
After any such history the processes that still live take their rounds, and the queue must be right.
"""

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from live_support.chats.join_queue import Overdue, Presence
from live_support.chats.store import Snapshot
from schemas.errors import AlreadyClaimed, ChatGone, NotWaiting
from schemas.messages import Participant
from tests.helpers.chats import Chat, hex_id
from tests.helpers.keys import KEYS
from tests.helpers.queue import by
from tests.redis.machines import Machine, check_entries, check_queue_keys, run_machine

PROCESSES, USERS = 2, 3


@dataclass
class Live:
    """A chat as long as a process has connections in it; what `api.live_chat` knows of it."""

    chat: Chat
    members: list[tuple[Participant, str]] = field(default_factory=list)
    queued_at_us: int | None = None
    support_id: str | None = None

    @property
    def presence(self) -> Presence | None:
        if self.queued_at_us is None and self.support_id is None:
            return None
        return Presence(self.chat.user_id, self.chat.chat_id, self.queued_at_us)


@dataclass
class Joining:
    """A `Join` whose chat has answered, and whose queue has not been asked yet."""

    process: int
    chat: Chat
    participant: Participant
    connection: str
    snapshot: Snapshot


processes = st.integers(0, PROCESSES - 1)
users = st.integers(0, USERS - 1)
claimants = st.sampled_from(["a", "b"])


class CrashMachine(Machine):
    """Some processes, users who come and go, and agents who claim and join."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.processes: list[dict[str, Live]] = [{} for _ in range(PROCESSES)]
        self.joining: list[Joining] = []
        self.leaving: list[tuple[int, Presence, int | None, int]] = []
        """Processes whose last connection in a chat is gone, and what they have still to tell the queue."""
        self.found: list[Overdue] = []
        self.supports: dict[str, str] = {}
        """Who has joined each chat: the first one, for ever."""
        self.expired: set[str] = set()
        self.chats = [self.new_chat() for _ in range(USERS)]

    def new_chat(self) -> Chat:
        self.count += 1
        return self.run(Chat.open(self.store, self.count))

    @initialize()
    def all_wait(self) -> None:
        for number in range(USERS):
            self.user_begins_to_join(number, number % PROCESSES)
            self.join_goes_on(0)

    # Joins, in two steps.

    @rule(number=users, process=processes)
    def user_begins_to_join(self, number: int, process: int) -> None:
        self.begin(process, self.chats[number], "User")

    @rule(number=users, process=processes)
    def support_begins_to_join(self, number: int, process: int) -> None:
        self.begin(process, self.chats[number], "Support")

    def begin(self, process: int, chat: Chat, participant: Participant) -> None:
        self.count += 1
        connection = f"{participant[0]}{self.count}"
        known = self.supports.get(chat.chat_id)
        try:
            if participant == "User":
                snapshot = self.run(chat.join_user(connection))
            else:
                snapshot = self.run(chat.join_support(connection, new_id=hex_id(self.count), support_id=known))
        except ChatGone:
            assert chat.chat_id in self.expired
            return
        assert chat.chat_id not in self.expired
        if snapshot.support_id is not None:
            assert snapshot.support_id == self.supports.setdefault(chat.chat_id, hex_id(self.count))
        assert snapshot.support_id == self.supports.get(chat.chat_id)
        self.joining.append(Joining(process, chat, participant, connection, snapshot))

    @rule(number=users, process=processes)
    def another_support_is_refused(self, number: int, process: int) -> None:  # noqa: ARG002 - wherever it tries
        chat = self.chats[number]
        if chat.chat_id in self.supports and chat.chat_id not in self.expired:
            with pytest.raises(AlreadyClaimed):
                self.run(chat.join_support("another", new_id=hex_id(10**6)))

    @precondition(lambda self: self.joining)
    @rule(which=st.integers(0, 9))
    def join_goes_on(self, which: int) -> None:
        join = self.joining.pop(which % len(self.joining))
        chat, snapshot = join.chat, join.snapshot
        queued_at_us = None
        if snapshot.waiting:
            queued_at_us = self.run(self.queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id))
        elif snapshot.support_id is not None:
            self.run(self.queue.mark_served(user_id=chat.user_id, chat_id=chat.chat_id))
        live = self.processes[join.process].setdefault(chat.chat_id, Live(chat))
        live.members.append((join.participant, join.connection))
        live.support_id = live.support_id or snapshot.support_id
        if live.support_id is None:
            live.queued_at_us = queued_at_us
        else:
            live.queued_at_us = None

    # What processes do.

    @rule(process=processes)
    def dies(self, process: int) -> None:
        self.processes[process] = {}
        self.joining = [join for join in self.joining if join.process != process]
        self.leaving = [leaving for leaving in self.leaving if leaving[0] != process]

    @rule(process=processes)
    def hears(self, process: int) -> None:
        """A process reads what it may not have been told: who has joined, and which chats are gone."""
        for chat_id, live in list(self.processes[process].items()):
            try:
                support_id = self.run(self.store.support_id(chat_id))
            except ChatGone:
                del self.processes[process][chat_id]
                if live.presence:
                    self.run(self.queue.forget(live.chat.user_id))
                continue
            if support_id is not None:
                live.support_id, live.queued_at_us = support_id, None

    @rule(process=processes)
    def touches(self, process: int) -> None:
        presences = [live.presence for live in self.processes[process].values() if live.presence]
        self.run(self.queue.touch(presences))

    @rule(process=processes, number=users)
    def a_connection_closes(self, process: int, number: int) -> None:
        chat = self.chats[number]
        live = self.processes[process].get(chat.chat_id)
        if live is None:
            return
        participant, connection = live.members.pop()
        self.run(self.store.leave(chat.chat_id, participant, connection))
        if not live.members:
            del self.processes[process][chat.chat_id]
            if live.presence:
                known_until = self.run(self.queue.present_until(chat.user_id))
                remaining_ms = self.run(self.store.remaining_ms(chat.chat_id))
                if remaining_ms is not None:
                    self.leaving.append((process, live.presence, known_until, remaining_ms))

    @precondition(lambda self: self.leaving)
    @rule(which=st.integers(0, 9))
    def a_leaving_goes_on(self, which: int) -> None:
        """However late: whoever is back meanwhile is not to suffer."""
        _, presence, known_until, remaining_ms = self.leaving.pop(which % len(self.leaving))
        self.run(self.queue.touch_last(presence, grace_ms=remaining_ms, known_until=known_until))

    # Agents.

    @rule(number=users, claimant=claimants)
    def claims(self, number: int, claimant: str) -> None:
        with suppress(AlreadyClaimed, NotWaiting):
            self.run(self.queue.claim(self.chats[number].user_id, by(claimant)))

    @rule(number=users, claimant=claimants)
    def releases(self, number: int, claimant: str) -> None:
        self.run(self.queue.release(self.chats[number].user_id, by(claimant)))

    # Time, and the sweepers.

    @rule()
    def the_leases_end(self) -> None:
        for user_id in self.run(_members(self, KEYS.queue.leases)):
            self.run(_pass(self, KEYS.queue.leases, user_id))

    @rule(number=users)
    def a_grace_ends(self, number: int) -> None:
        """Even while somebody is there: the process was cut off from Redis for as long."""
        self.run(_pass(self, KEYS.queue.present, self.chats[number].user_id))

    @rule(number=users)
    def a_chat_expires(self, number: int) -> None:
        chat = self.chats[number]
        self.run(_expire(self, chat))
        self.expired.add(chat.chat_id)

    @rule(number=users)
    def a_user_registers_again(self, number: int) -> None:
        if self.chats[number].chat_id in self.expired:
            self.chats[number] = self.new_chat()

    @rule()
    def a_sweep_begins(self) -> None:
        self.found = self.run(self.queue.overdue())

    @precondition(lambda self: self.found)
    @rule()
    def a_sweep_goes_on(self) -> None:
        self.run(self.sweeper.settle(self.found.pop()))

    # What must hold.

    @invariant()
    def the_keys_fit_together(self) -> None:
        self.run(check_queue_keys(self.client))
        self.run(check_entries(self.client))

    @rule()
    def in_the_end_nobody_is_stranded(self) -> None:
        """Whoever is still there takes its rounds, and as much time passes as anybody may take."""
        while self.joining:
            self.join_goes_on(0)
        while self.leaving:
            self.a_leaving_goes_on(0)
        for process in range(PROCESSES):
            self.hears(process)
            self.touches(process)
        lives = [live for process in self.processes for live in process.values()]
        here = {live.chat.user_id for live in lives}
        for user_id in set(self.run(_members(self, KEYS.queue.present))) - here:
            self.run(_pass(self, KEYS.queue.present, user_id))
        for user_id in self.run(_members(self, KEYS.queue.leases)):
            self.run(_pass(self, KEYS.queue.leases, user_id))
        self.run(self.sweeper.sweep())

        waiting_list = self.run(self.queue.waiting_list())
        assert waiting_list is not None
        shown = {waiting.user_id for waiting in waiting_list.users}
        assert shown == {live.chat.user_id for live in lives if live.chat.chat_id not in self.supports}
        assert set(self.run(_members(self, KEYS.queue.present))) == here
        assert self.run(_members(self, KEYS.queue.leases)) == []
        for live in lives:
            assert (live.queued_at_us is None) == (live.chat.chat_id in self.supports)
            assert self.run(self.store.support_id(live.chat.chat_id)) == self.supports.get(live.chat.chat_id)

    def teardown(self) -> None:
        self.in_the_end_nobody_is_stranded()
        super().teardown()


async def _members(machine: Machine, key: str) -> list[str]:
    return [str(member) for member in await machine.client.zrange(key, 0, -1)]


async def _pass(machine: Machine, key: str, member: str) -> None:
    """Let a user's time in a key be over."""
    await machine.client.zadd(key, {member: 1}, xx=True)


async def _expire(machine: Machine, chat: Chat) -> None:
    await machine.client.unlink(*KEYS.chat(chat.chat_id)[:-1])


@pytest.mark.hypothesis
@pytest.mark.timeout(600)  # after a failure, finding the shortest steps that show it takes long
def test_whoever_dies_nobody_is_stranded(redis_url: str) -> None:
    run_machine(CrashMachine, redis_url, examples=100, steps=40)

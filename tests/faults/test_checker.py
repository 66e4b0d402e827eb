"""The checker passes what a faultless system does, and finds each single thing that goes wrong, under its rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.checker import Bounds, check
from tests.faults.history import (
    Abandoned,
    Claimed,
    Closed,
    Echoed,
    Event,
    Expired,
    Gone,
    History,
    Introduced,
    ListClosed,
    ListOpened,
    Message,
    Opened,
    Received,
    Role,
    Sent,
    Shown,
    Snapshot,
    Truth,
    Unanswered,
    Waiting,
    make_token,
)

ROLES: tuple[Role, Role] = ("User", "Support")
CHATS = ("a", "b")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BOUNDS = Bounds()


@dataclass
class Connection:
    view: int
    role: Role
    shown: int


@dataclass
class IdealChat:
    """A chat of a system without faults: what is stored is shown, sooner or later."""

    name: str
    log: list[Message] = field(default_factory=list)
    connections: dict[Role, Connection] = field(default_factory=dict)
    in_flight: dict[Role, str] = field(default_factory=dict)
    sent: int = 0

    @property
    def user(self) -> str:
        return f"user of {self.name}"

    @property
    def support(self) -> str:
        return f"support of {self.name}"


class IdealSystem:
    """Takes steps, and writes down what its clients see. A second passes with each."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.chats = {name: IdealChat(name) for name in CHATS}
        self._views = 0
        self._clock = 0.0
        for chat in self.chats.values():
            for role in ROLES:
                self.connect(chat, role)

    def note(self, kind: type[Event], **fields: Any) -> None:
        self._clock += 1
        self.events.append(kind(at=self._clock, **fields))

    def connect(self, chat: IdealChat, role: Role) -> None:
        """Join again, as after a drop: the answer to what was under way is lost."""
        if (old := chat.connections.get(role)) is not None:
            self.note(Closed, chat=chat.name, view=old.view)
        if token := chat.in_flight.pop(role, None):
            self.note(Unanswered, chat=chat.name, token=token, code="lost", may_come=True)
        self._views += 1
        chat.connections[role] = Connection(self._views, role, len(chat.log))
        self.note(Opened, chat=chat.name, view=self._views, role=role)
        self.note(Introduced, chat=chat.name, view=self._views, user=chat.user, support=chat.support)
        if chat.log:
            self.note(Snapshot, chat=chat.name, view=self._views, messages=tuple(chat.log))

    def say(self, chat: IdealChat, role: Role, *, stored: bool) -> None:
        """Send a message, which arrives or does not, unless one of the same sender is under way."""
        if role in chat.in_flight:
            return
        chat.sent += 1
        token = chat.in_flight[role] = make_token(chat.name, role, chat.sent)
        self.note(Sent, chat=chat.name, token=token)
        if stored:
            chat.log.append(Message(token, EPOCH + timedelta(seconds=self._clock)))

    def show(self, chat: IdealChat, role: Role) -> None:
        """Show a connection the next message; to its sender that is the echo."""
        connection = chat.connections[role]
        if connection.shown == len(chat.log):
            return
        message = chat.log[connection.shown]
        connection.shown += 1
        self.note(Received, chat=chat.name, view=connection.view, message=message)
        if chat.in_flight.get(role) == message.token:
            self.note(Echoed, chat=chat.name, token=chat.in_flight.pop(role))

    def end(self) -> History:
        """Show everybody everything."""
        for chat in self.chats.values():
            for role in ROLES:
                while chat.connections[role].shown < len(chat.log):
                    self.show(chat, role)
        truths = [
            Truth(
                chat=chat.name,
                user=chat.user,
                log=tuple(chat.log),
                support=chat.support,
                attended=True,
            )
            for chat in self.chats.values()
        ]
        return History(self.events, truths)


STEPS = ["say", "say", "lose", "show", "show", "reconnect"]
Step = tuple[str, str, Role]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "lose", "show", "show", "reconnect"]),
        st.sampled_from(CHATS),
        st.sampled_from(ROLES),
    ),
    max_size=60,
)


def play(some_steps: Sequence[Step]) -> History:
    system = IdealSystem()
    for what, name, role in some_steps:
        chat = system.chats[name]
        match what:
            case "say" | "lose":
                system.say(chat, role, stored=what == "say")
            case "show":
                system.show(chat, role)
            case "reconnect":
                system.connect(chat, role)
    return system.end()


def rules(history: History) -> set[str]:
    return {violation.rule for violation in check(history, BOUNDS)}


@given(steps)
def test_a_faultless_run_passes(some_steps: list[Step]) -> None:
    assert check(play(some_steps)) == []


# A run in which enough happens, to be broken in one place at a time.


def said(chat: str, sender: Role) -> list[Step]:
    """A message that both see at once."""
    return [("say", chat, sender), ("show", chat, "User"), ("show", chat, "Support")]


CONVERSATION: list[Step] = [
    *said("a", "User"),
    *said("a", "User"),
    *said("a", "Support"),
    *said("a", "Support"),
    ("reconnect", "a", "User"),
    # Two at the same time, twice.
    *(("say", "a", "User"), *said("a", "Support"), ("show", "a", "User"), ("show", "a", "Support")),
    *(("say", "a", "User"), *said("a", "Support"), ("show", "a", "User"), ("show", "a", "Support")),
    ("lose", "a", "User"),
    ("reconnect", "a", "User"),
    ("say", "a", "User"),
    ("reconnect", "a", "User"),
    *said("b", "User"),
    *said("b", "User"),
]
ECHOED = make_token("a", "User", 2)
LOST = make_token("a", "User", 9)
UNECHOED = make_token("a", "User", 10)


@pytest.fixture
def history() -> History:
    history = play(CONVERSATION)
    assert check(history) == []
    assert {event.token for event in history.of(Unanswered)} == {LOST, UNECHOED}
    return history


def alter_log(history: History, change: Callable[[list[Message]], None], chat: str = "a") -> None:
    for index, truth in enumerate(history.truths):
        if truth.chat == chat:
            log = list(truth.log)
            change(log)
            history.truths[index] = msgspec.structs.replace(truth, log=tuple(log))


def drop_second(log: list[Message]) -> None:
    del log[1]


def alter_truth(history: History, **changes: Any) -> None:
    history.truths[0] = msgspec.structs.replace(history.truths[0], **changes)


def place(history: History, kind: type[Event], token: str = "", *, role: Role = "Support", nth: int = 0) -> int:
    """Where the nth such event of a role's views in chat a is."""
    views = {event.view for event in history.of(Opened) if event.chat == "a" and event.role == role}
    found = [
        index
        for index, event in enumerate(history.events)
        if isinstance(event, kind)
        and getattr(event, "view", None) in views
        and (not token or (isinstance(event, Received) and event.message.token == token))
    ]
    return found[nth]


def test_an_echoed_message_that_is_not_in_the_log(history: History) -> None:
    alter_log(history, drop_second)
    assert rules(history) == {"C1"}


def test_an_echoed_message_that_is_in_the_log_twice(history: History) -> None:
    alter_log(history, lambda log: log.append(log[1]))
    assert rules(history) == {"C2"}


def test_an_unechoed_message_that_is_in_the_log_twice(history: History) -> None:
    alter_log(history, lambda log: log.append(next(message for message in log if message.token == UNECHOED)))
    assert rules(history) == {"C7"}


def test_an_unechoed_message_that_is_not_in_the_log_is_allowed(history: History) -> None:
    assert LOST not in {message.token for message in history.truths[0].log}
    assert rules(history) == set()


def test_a_refused_message_that_is_in_the_log(history: History) -> None:
    history.events = [
        msgspec.structs.replace(event, code="chat_full", may_come=False)
        if isinstance(event, Unanswered) and event.token == UNECHOED
        else event
        for event in history.events
    ]
    assert rules(history) == {"C7"}


def test_a_message_that_nobody_sent(history: History) -> None:
    history.events = [event for event in history.events if not (isinstance(event, Sent) and event.token == UNECHOED)]
    assert rules(history) == {"C7"}


def test_two_swapped_entries_of_the_log(history: History) -> None:
    def swap(log: list[Message]) -> None:
        log[0], log[1] = log[1], log[0]

    alter_log(history, swap)
    assert rules(history) == {"C3", "C5", "C6"}


def test_an_order_that_everybody_sees_and_nobody_can_have_sent_in() -> None:
    later, earlier = (make_token("a", role, 1) for role in ROLES)
    log = (Message(later, EPOCH), Message(earlier, EPOCH + timedelta(seconds=1)))
    events = [
        Opened(at=0, chat="a", view=1, role="User"),
        Sent(at=1, chat="a", token=earlier),
        Echoed(at=2, chat="a", token=earlier),
        Sent(at=3, chat="a", token=later),
        Echoed(at=4, chat="a", token=later),
        *(Received(at=5, chat="a", view=1, message=message) for message in log),
    ]
    assert rules(History(list(events), [Truth(chat="a", user="u", log=log)])) == {"C5"}


def test_a_timestamp_that_does_not_rise(history: History) -> None:
    alter_log(history, lambda log: log.__setitem__(2, Message(log[2].token, log[1].timestamp)))
    assert rules(history) == {"C6"}


def test_a_timestamp_that_is_not_the_logs(history: History) -> None:
    index = place(history, Received, ECHOED)
    event = history.events[index]
    assert isinstance(event, Received)
    moved = Message(ECHOED, event.message.timestamp + timedelta(microseconds=1))
    history.events[index] = msgspec.structs.replace(event, message=moved)
    assert rules(history) == {"C6"}


def test_a_message_that_a_view_misses(history: History) -> None:
    del history.events[place(history, Received, ECHOED)]
    assert rules(history) == {"C3", "C4"}


def test_the_last_message_that_a_standing_view_misses(history: History) -> None:
    del history.events[place(history, Received, nth=-1)]
    assert rules(history) == {"C3"}


def test_the_last_message_that_a_closed_view_misses_is_allowed(history: History) -> None:
    index = place(history, Closed, role="User")
    closed = history.events[index]
    assert isinstance(closed, Closed)
    history.events = [
        event
        for event in history.events
        if not (
            isinstance(event, Received)
            and event.view == closed.view
            and event.message.token != make_token("a", "User", 1)
        )
    ]
    assert rules(history) == set()


def test_a_message_that_a_view_was_shown_twice(history: History) -> None:
    index = place(history, Received, ECHOED)
    history.events.insert(index, history.events[index])
    assert rules(history) == {"C3", "C4"}


def test_two_messages_that_a_view_was_shown_the_other_way_round(history: History) -> None:
    first, second = place(history, Received), place(history, Received, nth=1)
    history.events[first], history.events[second] = history.events[second], history.events[first]
    assert rules(history) == {"C3", "C4"}


def test_a_history_that_misses_its_last_message(history: History) -> None:
    index = place(history, Snapshot, role="User")
    snapshot = history.events[index]
    assert isinstance(snapshot, Snapshot)
    history.events[index] = msgspec.structs.replace(snapshot, messages=snapshot.messages[:-1])
    assert rules(history) == {"C3", "C4"}


def test_a_history_that_comes_behind_a_message(history: History) -> None:
    index = place(history, Snapshot, role="User")
    snapshot = history.events[index]
    assert isinstance(snapshot, Snapshot)
    *before, last = snapshot.messages
    history.events[index] = Received(at=snapshot.at, chat="a", view=snapshot.view, message=last)
    history.events.insert(index + 1, msgspec.structs.replace(snapshot, messages=tuple(before)))
    assert rules(history) == {"C3"}


def test_a_chat_that_is_gone(history: History) -> None:
    alter_truth(history, alive=False, log=())
    assert rules(history) == {"C1"}


def test_views_that_disagree_although_the_log_is_gone(history: History) -> None:
    alter_truth(history, alive=False, may_be_gone=True, log=())
    assert rules(history) == set()
    del history.events[place(history, Received, ECHOED)]
    assert rules(history) == {"C4"}


# Foreign chats, Supports and claims.


def test_a_message_of_another_chat(history: History) -> None:
    foreign = Message(make_token("b", "User", 1), EPOCH)
    index = place(history, Received, nth=-1)
    event = history.events[index]
    assert isinstance(event, Received)
    history.events.insert(index + 1, msgspec.structs.replace(event, message=foreign))
    # The other views do not have it.
    assert rules(history) == {"C11"}


def test_a_message_of_another_chat_in_the_log(history: History) -> None:
    alter_log(history, lambda log: log.insert(0, Message(make_token("b", "User", 1), EPOCH)))
    assert "C11" in rules(history)


def test_the_user_of_another_chat(history: History) -> None:
    index = place(history, Introduced)
    history.events[index] = msgspec.structs.replace(history.events[index], user="user of b")
    assert rules(history) == {"C11"}


def test_the_end_of_another_chat(history: History) -> None:
    view = next(event.view for event in history.of(Opened))
    history.events.append(Expired(at=99, chat="a", view=view, named="b"))
    assert rules(history) == {"C11"}


def test_a_second_support(history: History) -> None:
    index = place(history, Introduced, role="User", nth=-1)
    history.events[index] = msgspec.structs.replace(history.events[index], support="another")
    assert rules(history) == {"C8"}


def test_a_second_support_in_redis(history: History) -> None:
    alter_truth(history, support="another")
    assert "C8" in rules(history)


def claims(*more: Event) -> History:
    lists = [ListOpened(at=0, view=view, agent=f"agent {view}") for view in (1, 2)]
    won = Claimed(at=1.1, sent_at=1, view=1, user="u", won=True)
    return History([*lists, won, *more], [])


def second_win(at: float) -> Claimed:
    return Claimed(at=at, sent_at=at - 0.1, view=2, user="u", won=True)


def test_two_agents_who_win_one_user() -> None:
    assert rules(claims(second_win(2))) == {"C8"}


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([Claimed(at=2, sent_at=1.9, view=2, user="u", won=False)], id="loser"),
        pytest.param([Claimed(at=2, sent_at=1.9, view=1, user="u", won=True)], id="again"),
        pytest.param([second_win(16.01)], id="lease-over"),
        pytest.param([ListClosed(at=2, view=1), second_win(2.5)], id="released"),
    ],
)
def test_claims_that_are_allowed(more: list[Event]) -> None:
    assert rules(claims(*more)) == set()


# The queue.


def waiting(shown_at: float | None, *, opened: float = 0, closed: float | None = None) -> History:
    events: list[Event] = [ListOpened(at=opened, view=1, agent="Vika"), Waiting(at=10, users=frozenset({"u"}))]
    if shown_at is not None:
        events.append(Shown(at=shown_at, view=1, user="u", chat="a"))
    if closed is not None:
        events.append(ListClosed(at=closed, view=1))
    return History(events, [])


def test_a_waiting_user_whom_an_agent_is_not_shown() -> None:
    assert rules(waiting(None)) == {"C9"}


def test_a_waiting_user_whom_an_agent_is_shown_too_late() -> None:
    assert rules(waiting(12.1)) == {"C9"}


def test_waiting_users_who_are_shown() -> None:
    assert rules(waiting(5)) == rules(waiting(11.9)) == set()


def test_agents_who_were_not_there() -> None:
    assert rules(waiting(None, opened=11)) == rules(waiting(None, closed=11)) == set()


def test_a_stranded_user(history: History) -> None:
    alter_truth(history, support=None)
    assert rules(history) == {"C9"}


@pytest.mark.parametrize("excuse", [{"queued": True}, {"attended": False}, {"alive": False, "may_be_gone": True}])
def test_users_who_are_not_stranded(history: History, excuse: dict[str, bool]) -> None:
    alter_truth(history, support=None, **excuse)
    assert rules(history) == set()


def test_a_support_of_whom_no_agent_knows(history: History) -> None:
    views = {event.view for event in history.of(Opened) if event.chat == "a" and event.role == "Support"}
    history.events = [event for event in history.events if not (isinstance(event, Introduced) and event.view in views)]
    assert rules(history) == {"C9"}


def abandoned(*more: Event) -> History:
    return History([Abandoned(at=1, user="u", within=16), *more], [])


def test_an_abandoned_user_who_stays() -> None:
    assert rules(abandoned()) == {"C10"}


def test_an_abandoned_user_who_leaves_late() -> None:
    assert rules(abandoned(Gone(at=17.1, user="u"))) == {"C10"}


def test_an_abandoned_user_who_leaves_in_time() -> None:
    assert rules(abandoned(Gone(at=16.9, user="u"))) == set()


def test_a_violation_names_rule_chat_and_entry(history: History) -> None:
    alter_log(history, drop_second)
    assert [str(violation) for violation in check(history)] == [f"C1 a: {ECHOED} was echoed and is not in the log"]


# The same, wherever in whatever run.

SAID: list[Step] = [("reconnect", "a", "User"), ("say", "a", "User")]
"""Whatever was under way: from now on there is a message."""


@given(steps, st.data())
def test_a_dropped_entry_is_found_anywhere(some_steps: list[Step], data: st.DataObject) -> None:
    history = play([*some_steps, *SAID])
    echoed = data.draw(st.sampled_from(sorted({event.token for event in history.of(Echoed) if event.chat == "a"})))
    alter_log(history, lambda log: log.remove(next(message for message in log if message.token == echoed)))
    assert rules(history) == {"C1"}


@given(steps, st.data())
def test_a_doubled_entry_is_found_anywhere(some_steps: list[Step], data: st.DataObject) -> None:
    history = play([*some_steps, *SAID])
    doubled = data.draw(st.sampled_from(history.truths[0].log))
    where = data.draw(st.integers(0, len(history.truths[0].log)))
    echoed = doubled.token in {event.token for event in history.of(Echoed)}
    alter_log(history, lambda log: log.insert(where, doubled))
    assert ("C2" if echoed else "C7") in rules(history)


@given(steps, st.data())
def test_a_message_missing_from_a_view_is_found_anywhere(some_steps: list[Step], data: st.DataObject) -> None:
    history = play([*some_steps, ("reconnect", "a", "Support"), ("reconnect", "a", "User"), ("say", "a", "User")])
    open_views = {event.view for event in history.of(Opened)} - {event.view for event in history.of(Closed)}
    received = [
        index for index, event in enumerate(history.events) if isinstance(event, Received) and event.view in open_views
    ]
    if received:
        del history.events[data.draw(st.sampled_from(received))]
        assert "C3" in rules(history)

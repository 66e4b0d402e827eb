"""The checker: did a run keep the promises? Knows no socket, no Redis and no clock, only the history.

| rule | promise |
| --- | --- |
| C1 | what was echoed is in the log |
| C2 | what was echoed is in the log once |
| C3 | a view is the log from its beginning on, without gap, repeat or swap; one that stands at the end has all of it |
| C4 | any two views of a chat agree as far as both go |
| C5 | what was echoed before something else was sent is before it in the log |
| C6 | timestamps rise strictly, in the log and in every view |
| C7 | what was not echoed is in the log once or not at all; what was refused for good is not; nor what nobody sent |
| C8 | a chat has one Support, and a user is one agent's at a time |
| C9 | whoever waits is shown to every agent in time; whoever is connected waits or has an agent who knows it |
| C10 | an abandoned user leaves the queue in time |
| C11 | nobody gets a frame of another chat |

A broken promise is reported under one rule where that is possible: C3 leaves out of account what is missing from the
log (C1) or there twice (C2, C7).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from tests.faults.history import (
    Abandoned,
    Claimed,
    Closed,
    Echoed,
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
    chat_of,
)


class Violation(NamedTuple):
    """A broken promise."""

    rule: str
    where: str
    """The chat, the user or the agent's connection."""
    text: str

    def __str__(self) -> str:
        return f"{self.rule} {self.where}: {self.text}"


class Bounds(Struct, frozen=True, kw_only=True):
    """The times that the promises speak of, in seconds."""

    shown: float = 2
    """In which an agent is shown who waits."""
    lease: float = 15
    """How long a claim holds."""


class View(Struct):
    """What one connection was shown of a chat."""

    chat: str
    number: int
    role: Role
    history: tuple[Message, ...] = ()
    live: list[Message] = []
    history_came_late: bool = False
    open: bool = True

    @property
    def shown(self) -> list[Message]:
        """All messages, in the order in which they came."""
        return [*self.history, *self.live]

    def __str__(self) -> str:
        return f"view {self.number} ({self.role})"


PRODUCTION = Bounds()


def check(history: History, bounds: Bounds = PRODUCTION) -> list[Violation]:
    """Return all violations; none for a run that kept the promises."""
    views = _views(history)
    found: list[Violation] = []
    for rule in (_logs, _foreign, _supports, _claims, _shown_in_time, _stranded, _abandoned):
        found += rule(history, views, bounds)
    truths = {truth.chat: truth for truth in history.truths}
    for chat, of_chat in views.items():
        found += _agreement(chat, of_chat)
        found += _rising_in_views(chat, of_chat)
        if (truth := truths.get(chat)) is not None and truth.alive:
            for view in of_chat:
                found += _slice(view, truth)
    return found


Rule = Callable[[History, dict[str, list[View]], Bounds], Iterable[Violation]]


def _views(history: History) -> dict[str, list[View]]:
    views: dict[int, View] = {}
    for event in history.events:
        match event:
            case Opened():
                views[event.view] = View(event.chat, event.view, event.role, live=[])
            case Snapshot():
                view = views[event.view]
                view.history_came_late = bool(view.live or view.history)
                view.history = (*view.history, *event.messages)
            case Received():
                views[event.view].live.append(event.message)
            case Closed() | Expired():
                if event.view in views:
                    views[event.view].open = False
    by_chat: dict[str, list[View]] = defaultdict(list)
    for view in views.values():
        by_chat[view.chat].append(view)
    return by_chat


# The log.


def _logs(history: History, views: dict[str, list[View]], bounds: Bounds) -> Iterator[Violation]:  # noqa: ARG001
    sent: dict[str, dict[str, float]] = defaultdict(dict)
    echoed: dict[str, dict[str, float]] = defaultdict(dict)
    refused: dict[str, dict[str, str]] = defaultdict(dict)
    for event in history.events:
        match event:
            case Sent():
                sent[event.chat][event.token] = event.at
            case Echoed():
                echoed[event.chat][event.token] = event.at
            case Unanswered(may_come=False):
                refused[event.chat][event.token] = event.code
    for truth in history.truths:
        chat = truth.chat
        if not truth.alive:
            if not truth.may_be_gone:
                yield Violation("C1", chat, f"it is gone, and {len(echoed[chat])} messages that were echoed")
            continue
        counts = Counter(message.token for message in truth.log)
        for token in echoed[chat]:
            if not counts[token]:
                yield Violation("C1", chat, f"{token} was echoed and is not in the log")
        for token, times in counts.items():
            if times > 1:
                rule = "C2" if token in echoed[chat] else "C7"
                yield Violation(rule, chat, f"{token} is in the log {times} times")
            if token in refused[chat]:
                yield Violation("C7", chat, f"{token} was refused as {refused[chat][token]} and is in the log")
            if token not in sent[chat] and chat_of(token) == chat:
                yield Violation("C7", chat, f"{token} is in the log and nobody sent it")
        yield from _real_time(truth, sent[chat], echoed[chat])
        yield from _rising(chat, "the log", _first_of_each(truth.log))


def _real_time(truth: Truth, sent: dict[str, float], echoed: dict[str, float]) -> Iterator[Violation]:
    earliest, behind = float("inf"), ""
    for message in reversed(_first_of_each(truth.log)):
        if sent.get(message.token, float("inf")) > earliest and message.token in sent:
            yield Violation("C5", truth.chat, f"{behind} was echoed before {message} was sent, but is behind it")
        if (at := echoed.get(message.token, float("inf"))) < earliest:
            earliest, behind = at, message.token


def _rising(chat: str, where: str, messages: Sequence[Message]) -> Iterator[Violation]:
    for before, after in pairwise(messages):
        if after.timestamp <= before.timestamp:
            yield Violation("C6", chat, f"in {where} {after} is not later than {before}: {after.timestamp}")


def _first_of_each(messages: Iterable[Message]) -> list[Message]:
    first: dict[str, Message] = {}
    for message in messages:
        first.setdefault(message.token, message)
    return list(first.values())


# The views.


def _slice(view: View, truth: Truth) -> Iterator[Violation]:
    """A view is the log from the beginning on: the first version's history is always the whole log."""
    if view.history_came_late:
        yield Violation("C3", view.chat, f"{view} was shown the history behind other messages")
    for token, times in Counter(message.token for message in view.shown).items():
        if times > 1:
            yield Violation("C3", view.chat, f"{view} was shown {token} {times} times")
            return
    stored = {message.token: message.timestamp for message in _first_of_each(truth.log)}
    log = list(stored)
    for message in view.shown:
        if message.timestamp != stored.get(message.token, message.timestamp):
            yield Violation(
                "C6", view.chat, f"{view} was shown {message} with another timestamp than it has in the log"
            )
    shown = [message.token for message in view.shown if message.token in stored]
    for position, (token, expected) in enumerate(zip(shown, log, strict=False), start=1):
        if token != expected:
            text = f"{view} was shown {token} as number {position}, which is {expected} in the log"
            yield Violation("C3", view.chat, text)
            return
    if view.open and len(shown) < len(log):
        missing = len(log) - len(shown)
        text = f"{view} stands, and was not shown the last {missing} of {len(log)}: {log[len(shown)]} ..."
        yield Violation("C3", view.chat, text)


def _agreement(chat: str, views: list[View]) -> Iterator[Violation]:
    longest = max(views, key=lambda view: len(view.shown))
    expected = [message.token for message in longest.shown]
    for view in views:
        shown = [message.token for message in view.shown]
        if shown != expected[: len(shown)]:
            place = next(index for index, pair in enumerate(zip(shown, expected, strict=False)) if pair[0] != pair[1])
            text = f"{view} was shown {shown[place]} where {longest} was shown {expected[place]}"
            yield Violation("C4", chat, text)


def _rising_in_views(chat: str, views: list[View]) -> Iterator[Violation]:
    for view in views:
        # What was shown twice or out of order has its old timestamp with it: that is for C3 and C4.
        in_order = sorted(_first_of_each(view.shown), key=lambda message: message.timestamp)
        for before, after in pairwise(in_order):
            if before.timestamp == after.timestamp:
                yield Violation("C6", chat, f"{view} was shown {before} and {after} with one timestamp")


# Who is who.


def _foreign(history: History, views: dict[str, list[View]], bounds: Bounds) -> Iterator[Violation]:  # noqa: ARG001
    users = {truth.chat: truth.user for truth in history.truths}
    for of_chat in views.values():
        for view in of_chat:
            for message in view.shown:
                if chat_of(message.token) != view.chat:
                    yield Violation("C11", view.chat, f"{view} was shown {message} of another chat")
    for told in history.of(Introduced):
        if told.user != users.get(told.chat, told.user):
            yield Violation("C11", told.chat, f"view {told.view} was told of user {told.user} of another chat")
    for expired in history.of(Expired):
        if expired.named != expired.chat:
            yield Violation("C11", expired.chat, f"view {expired.view} was told that chat {expired.named} expired")
    for truth in history.truths:
        for message in truth.log:
            if chat_of(message.token) != truth.chat:
                yield Violation("C11", truth.chat, f"{message} of another chat is in the log")


def _supports(history: History, views: dict[str, list[View]], bounds: Bounds) -> Iterator[Violation]:  # noqa: ARG001
    known: dict[str, set[str]] = defaultdict(set)
    for told in history.of(Introduced):
        if told.support is not None:
            known[told.chat].add(told.support)
    for truth in history.truths:
        if truth.support is not None and truth.support not in known[truth.chat] and known[truth.chat]:
            known[truth.chat].add(truth.support)
    for chat, supports in known.items():
        if len(supports) > 1:
            yield Violation("C8", chat, f"it had {len(supports)} Supports: {', '.join(sorted(supports))}")


def _claims(history: History, views: dict[str, list[View]], bounds: Bounds) -> Iterator[Violation]:  # noqa: ARG001
    closed = {event.view: event.at for event in history.of(ListClosed)}
    last: dict[str, Claimed] = {}
    for claim in sorted((claim for claim in history.of(Claimed) if claim.won), key=lambda claim: claim.at):
        before = last.get(claim.user)
        last[claim.user] = claim
        if before is None or before.view == claim.view:
            continue
        # The lease began after the claim was sent, and this one was won before its answer came.
        held_until = min(before.sent_at + bounds.lease, closed.get(before.view, float("inf")))
        if claim.at < held_until:
            text = f"won by agents' connections {before.view} and {claim.view} within {claim.at - before.at:.3f} s"
            yield Violation("C8", claim.user, text)


# The queue.


def _shown_in_time(history: History, views: dict[str, list[View]], bounds: Bounds) -> Iterator[Violation]:  # noqa: ARG001
    shown = {(event.view, event.user): event.at for event in reversed(list(history.of(Shown)))}
    opened = {event.view: event for event in history.of(ListOpened)}
    closed = {event.view: event.at for event in history.of(ListClosed)}
    for checkpoint in history.of(Waiting):
        deadline = checkpoint.at + bounds.shown
        for view, event in opened.items():
            if event.at > checkpoint.at or closed.get(view, deadline) < deadline:
                continue
            missing = [user for user in checkpoint.users if shown.get((view, user), float("inf")) > deadline]
            if missing:
                text = f"{event.agent} was not shown {len(missing)} of {len(checkpoint.users)} who wait: {missing[0]}"
                yield Violation("C9", f"agents' connection {view}", text)


def _stranded(history: History, views: dict[str, list[View]], bounds: Bounds) -> Iterator[Violation]:  # noqa: ARG001
    agents = {view.number for of_chat in views.values() for view in of_chat if view.role == "Support"}
    known = {told.support for told in history.of(Introduced) if told.view in agents}
    for truth in history.truths:
        if not truth.alive or not truth.attended:
            continue
        if truth.support is None and not truth.queued:
            yield Violation("C9", truth.chat, "the user is connected, has no agent, and does not wait")
        if truth.support is not None and truth.support not in known:
            yield Violation("C9", truth.chat, f"it has a Support that no agent was told of: {truth.support}")


def _abandoned(history: History, views: dict[str, list[View]], bounds: Bounds) -> Iterator[Violation]:  # noqa: ARG001
    gone = {event.user: event.at for event in history.of(Gone)}
    for left in history.of(Abandoned):
        after = gone.get(left.user, float("inf")) - left.at
        if after > left.within:
            seen = "still waits" if left.user not in gone else f"left the queue after {after:.1f} s"
            yield Violation("C10", left.user, f"was abandoned, and {seen}; {left.within:.1f} s are allowed")

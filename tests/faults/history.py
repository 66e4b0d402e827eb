"""What happened in a run: the events that its clients saw, and what Redis held in the end. The checker judges them.

A *view* is one connection's sight of a chat, or of the waiting list. A *token* is what a message says: it names the
chat, the sender and a number, so that every message is unique and can be recognized wherever it turns up.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Literal, NamedTuple, TypeVar

from msgspec import Struct

Role = Literal["User", "Support"]
E = TypeVar("E", bound="Event")


class Message(NamedTuple):
    """A stored message, as somebody was shown it."""

    token: str
    timestamp: datetime

    def __str__(self) -> str:
        return self.token


def make_token(chat: str, sender: str, number: int) -> str:
    """Make what a message says."""
    return f"{chat}/{sender}/{number}"


def chat_of(token: str) -> str:
    """Name the chat in which a token was said."""
    return token.partition("/")[0]


class Event(Struct, frozen=True, kw_only=True):
    """Something that a client did or saw."""

    at: float
    """Seconds on the monotonic clock of the one process in which all clients run."""


class Sent(Event, frozen=True):
    """A message was given to the connection."""

    chat: str
    token: str


class Echoed(Event, frozen=True):
    """The sender was told that it is stored."""

    chat: str
    token: str


class Unanswered(Event, frozen=True):
    """The sender was told something else, or lost the connection."""

    chat: str
    token: str
    code: str
    may_come: bool
    """Whether it may be stored all the same."""


class Opened(Event, frozen=True):
    """A connection has joined a chat."""

    chat: str
    view: int
    role: Role


class Snapshot(Event, frozen=True):
    """A connection was shown the history."""

    chat: str
    view: int
    messages: tuple[Message, ...]


class Received(Event, frozen=True):
    """A connection was shown a live message."""

    chat: str
    view: int
    message: Message


class Introduced(Event, frozen=True):
    """A connection was told who is there, or whose a message is."""

    chat: str
    view: int
    user: str
    support: str | None


class Expired(Event, frozen=True):
    """A connection was told that a chat is gone."""

    chat: str
    view: int
    named: str
    """The chat that the frame names."""


class Closed(Event, frozen=True):
    """A connection to a chat is gone."""

    chat: str
    view: int


class ListOpened(Event, frozen=True):
    """An agent sees the waiting list."""

    view: int
    agent: str


class Shown(Event, frozen=True):
    """An agent was shown a waiting user."""

    view: int
    user: str
    chat: str


class ListClosed(Event, frozen=True):
    """An agent's connection is gone, and with it the agent's claims."""

    view: int


class Claimed(Event, frozen=True):
    """An agent was told the outcome of a claim."""

    sent_at: float
    view: int
    user: str
    won: bool


class Waiting(Event, frozen=True):
    """Who waited, read from Redis at a moment without faults. They are not claimed before the list must be shown."""

    users: frozenset[str]


class Abandoned(Event, frozen=True):
    """A waiting user's last connection is gone."""

    user: str
    within: float
    """Seconds after which the user must have left the queue."""


class Gone(Event, frozen=True):
    """A user was seen to have left the queue."""

    user: str


class Truth(Struct, frozen=True, kw_only=True):
    """A chat at the end, read from Redis directly."""

    chat: str
    user: str
    alive: bool = True
    may_be_gone: bool = False
    """Whether what was done to it excuses that it is not alive."""
    log: tuple[Message, ...] = ()
    support: str | None = None
    queued: bool = False
    """Whether the user is in the queue, claimed or not."""
    attended: bool = False
    """Whether the user is connected."""


class History(Struct):
    """Everything that is known of a run."""

    events: list[Event]
    truths: list[Truth]

    def of(self, kind: type[E]) -> Iterator[E]:
        """The events of one kind, in their order."""
        return (event for event in self.events if isinstance(event, kind))


class Recorder:
    """Takes down what happens."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.users: dict[str, str] = {}
        """The user of each chat."""
        self._views = count(1)

    def view(self) -> int:
        """Number a new connection."""
        return next(self._views)

    def note(self, event: Event) -> None:
        """Take down an event."""
        self.events.append(event)

    def history(self, truths: Mapping[str, Truth]) -> History:
        """Hand over what was taken down."""
        return History(self.events, list(truths.values()))


now = time.monotonic

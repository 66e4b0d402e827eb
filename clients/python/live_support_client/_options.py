"""How to connect: what the clients take as keyword arguments, handed down in one piece."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Literal, TypeAlias

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""An agent's token (a JWT), or a function, async or not, that is called for one whenever a connection is made."""

ConnectionState: TypeAlias = Literal["connecting", "connected", "reconnecting", "closed"]
"""What a connection is about: `connecting` before the first success, `reconnecting` after a drop, `closed` for good."""


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """When to connect again. Each delay is drawn evenly from zero up to its bound, so that clients spread out."""

    first_seconds: float = 0.25
    """Bound of the first delay."""
    factor: float = 2
    """By how much the bound grows with every failure in a row."""
    longest_seconds: float = 30
    """The bound does not grow beyond this."""
    restart_seconds: float = 5
    """Bound of the first delay after a service restart (1012), when everybody comes back at once."""
    give_up_seconds: float | None = 300
    """After so long without a connection `ConnectionLost` is raised; None: never."""

    def __post_init__(self) -> None:
        _check("first_seconds", self.first_seconds > 0, "more than 0")
        _check("factor", self.factor >= 1, "at least 1")
        _check("longest_seconds", self.longest_seconds > 0, "more than 0")
        _check("restart_seconds", self.restart_seconds >= 0, "at least 0")
        _check("give_up_seconds", self.give_up_seconds is None or self.give_up_seconds >= 0, "at least 0, or None")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every connection of a client is made with."""

    answer_seconds: float = 30
    """How long the server may take to answer a join, a message or a claim, before the connection counts as lost."""
    backoff: Backoff = field(default_factory=Backoff)
    buffer: int = 256
    """Received messages that may wait for the caller before reading pauses."""
    connect_seconds: float = 10
    """How long connecting, a request, and the function that gives a token may take."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request and every handshake."""
    ping_seconds: float | None = 20
    """How often to check that a quiet connection still stands; None: never, which saves a task per connection."""
    ssl: SSLContext | None = None
    """For `https`; None: the system's certificates."""
    trust_env: bool = True
    """Whether the proxies of the environment are used."""

    def __post_init__(self) -> None:
        _check("answer_seconds", self.answer_seconds > 0, "more than 0")
        _check("buffer", self.buffer >= 1, "at least 1")
        _check("connect_seconds", self.connect_seconds > 0, "more than 0")
        _check("ping_seconds", self.ping_seconds is None or self.ping_seconds > 0, "more than 0, or None")


def _check(name: str, holds: bool, rule: str) -> None:
    # `not a number` is refused as well: no comparison with it holds.
    if not holds:
        raise ValueError(f"{name} must be {rule}")

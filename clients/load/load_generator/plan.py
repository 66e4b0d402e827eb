"""What a worker is told to do, and what it tells the command. Pickled, as the two are different processes."""

from dataclasses import dataclass

from load_generator.latency import Interval


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One worker's share of the load."""

    url: str
    joins_url: str
    chats: int
    agents: int
    message_seconds: float
    """From one message of a participant to the next."""
    refresh_chance: float
    """How likely a participant refreshes after a message."""
    claim_seconds: float
    ramp_seconds: float
    chat_messages: int
    """About so many messages, then a new chat takes the place of the old one."""


# To the worker.


@dataclass(frozen=True)
class Begin:
    """Begin at this time of the monotonic clock."""

    at_ns: int


@dataclass(frozen=True)
class Stop:
    """Send nothing that is due later than this."""

    at_ns: int


# From the worker.


@dataclass(frozen=True)
class Ready:
    """The worker can begin."""


@dataclass(frozen=True)
class Ramped:
    """All chats are there (or could not be made)."""


@dataclass(frozen=True)
class Report:
    """A second has passed."""

    interval: Interval
    violations: list[str]


@dataclass(frozen=True)
class Done:
    """All chats have ended."""


@dataclass(frozen=True)
class Fatal:
    """It makes no sense to go on; the text is the one line that is shown."""

    text: str


Command = Begin | Stop
Message = Ready | Ramped | Report | Done | Fatal

"""How to connect: what the clients take as keyword arguments, handed down in one piece."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ssl import SSLContext


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


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every connection of a client is made with."""

    backoff: Backoff = field(default_factory=Backoff)
    buffer: int = 256
    """Received messages that may wait for the caller before reading pauses."""
    connect_seconds: float = 10
    """How long connecting, and a request, may take."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request and every handshake."""
    ping_seconds: float | None = 20
    """How often to check that a quiet connection still stands; None: never, which saves a task per connection."""
    ssl: SSLContext | None = None
    """For `https`; None: the system's certificates."""
    trust_env: bool = True
    """Whether the proxies of the environment are used."""

    def with_token(self, token: str | None) -> "Options":
        """The same, showing an agent's token."""
        if token is None:
            return self
        return replace(self, headers={**self.headers, "Authorization": f"Bearer {token}"})

"""What the load generator is told, and what it answers. Both go through a pipe as JSON, as it is another process."""

from typing import Literal

import msgspec
from msgspec import Struct


class Phase(Struct, frozen=True, kw_only=True):
    """One kind of load for a while."""

    kind: Literal["saturated", "paced", "idle"]
    """Closed loop; open loop at a fixed rate; nothing but open connections."""
    seconds: float
    warm_messages: int = 0
    """So many messages first, as fast as they go, which are not measured: Node compiles what it runs often."""
    warm_seconds: float = 0.5
    """The most that they may take."""
    outstanding: int = 2
    """Saturated: messages on their way at any time in each chat."""
    rate: float = 0
    """Paced: messages a second, all participants together. Left out where the server did not do so much saturated."""


class Plan(Struct, frozen=True, kw_only=True):
    """All that happens to one server."""

    port: int
    registers: bool
    """Whether a chat begins with `GET /user/join/{userName}`, or with whatever id the client takes."""
    chats: int
    server_pids: list[int]
    """More than one where several workers share the port; what they use is added up."""
    redis_pid: int | None
    """None when it is not on this machine."""
    phases: list[Phase]
    settle_seconds: float = 10
    """What has not come so long after the last thing that came is lost."""

    def encode(self) -> bytes:
        """Write it for the load generator."""
        return msgspec.json.encode(self)


class Outcome(Struct, frozen=True, kw_only=True, tag=True):
    """What one phase gave. CPU is in nanoseconds, latency an HDR histogram of microseconds, empty if nothing came."""

    kind: str
    rate: float
    chats: int
    seconds: float = 0
    """0: left out."""
    messages: float = 0
    """Delivered to both participants in the measured time."""
    server_ns: int = 0
    redis_ns: int | None = None
    generator_ns: int = 0
    others_ns: int = 0
    """Used by anything else on this machine."""
    stolen_ns: int = 0
    latency: bytes = b""
    lateness: bytes = b""
    """How late the generator itself sent."""
    joined_ns: int = 0
    """Idle: the server's CPU for connecting and joining everybody."""
    rss_kib: int = 0
    """Idle: what all connections together added."""
    connections: int = 0
    """Idle: over how many that was measured."""
    violations: list[str] = []


class Failure(Struct, frozen=True, tag=True):
    """The load generator could not go on."""

    text: str


Answer = Outcome | Failure

_decoder = msgspec.json.Decoder(Answer)


def decode_answers(lines: bytes) -> list[Answer]:
    """Read what the load generator printed."""
    return _decoder.decode_lines(lines)

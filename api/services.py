"""What sessions use: the objects that all of them share, and the interface of a session's own connection."""

from typing import NamedTuple, Protocol

from api.live_chats import LiveChats
from live_support.agents.auth import AgentAuth
from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from schemas.errors import CloseCode


class Services(NamedTuple):
    """The objects that all sessions of a process share."""

    store: ChatStore
    queue: JoinQueue
    chats: LiveChats
    auth: AgentAuth


class Outgoing(Protocol):
    """The connection, as a session sees it."""

    id: str

    def send(self, frame: bytes) -> None:
        """Queue a frame."""

    async def send_part(self, part: bytes, *, last: bool = False) -> bool:
        """Send a part of a message when the client has read the former ones; return whether more may be sent."""

    def close(self, code: CloseCode) -> None:
        """Close after the queued frames."""

    def clear_deadline(self) -> None:
        """Cancel the deadline of the join."""

    def request_started(self) -> None:
        """Count a frame as in flight: its answer comes later. With too many in flight, later frames wait."""

    def request_finished(self, error: Exception | None) -> None:
        """Count a frame as answered; an error is sent to the client."""

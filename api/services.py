"""What sessions work with: the state that a process shares among them, and the connection that each of them has."""

from typing import NamedTuple, Protocol

from api.live_chats import LiveChats
from live_support.agents.auth import AgentAuth
from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from schemas.errors import CloseCode


class Services(NamedTuple):
    """What all sessions of a process share."""

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
        """Send a part of a message when the peer has taken the former ones; say whether it still takes any."""

    def close(self, code: CloseCode) -> None:
        """Close after the queued frames."""

    def clear_deadline(self) -> None:
        """Call off the deadline of the join."""

    def request_started(self) -> None:
        """Count a frame whose answer comes later; with too many of them in flight, later frames wait."""

    def request_finished(self, error: Exception | None) -> None:
        """End what `request_started` began; an error is told to the client."""

"""The WebSocket `/joins`: sends the waiting users to an agent, and handles the agent's claims."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from litestar import WebSocket, websocket
from litestar.di import NamedDependency

from live_support import subprotocol
from live_support.agents.auth import Agent, AgentAuth, close_at_expiry, offered_tokens
from live_support.chats.join_queue import Claimant, JoinQueue
from live_support.chats.waiting_view import WaitingView
from live_support.settings import Settings
from live_support.websocket.connection import Connection
from live_support.websocket.connections import Connections
from live_support.websocket.handler import Handler, NullHandler, Pending
from schemas.errors import AlreadyClaimed, ChatError, CloseCode, NotAuthenticated, NotWaiting, Unavailable
from schemas.wire import Wire
from subscriber.feed import Feed

PATH = "/joins"

log = structlog.get_logger()


class AgentSession(Handler):
    """One connection of an agent: the waiting users for it, and its claims.

    Args:
        agent: the bearer of its token; it closes when the token expires.
        connection: not running yet.
        wire: its version of the protocol.
        view: the waiting users.
        queue: for claims.
        lease_seconds: how long a claim lasts.
    """

    def __init__(
        self,
        agent: Agent,
        connection: Connection,
        wire: Wire,
        view: WaitingView,
        queue: JoinQueue,
        lease_seconds: float,
    ) -> None:
        self._wire = wire
        self._claimant = Claimant(agent.id, connection.id)
        self._feed = Feed(view, connection.flush)
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._claims: dict[str, float] = {}
        self._cancel_expiry = close_at_expiry(agent, connection.close)

    async def frame_received(self, frame: bytes) -> None:
        """Claim the user whom a frame names."""
        user_id = self._wire.decode_claim(frame)
        self._forget_old_claims()
        # Noted before the claim: if the answer is lost, the user is released at the end nevertheless.
        self._claims[user_id] = asyncio.get_running_loop().time() + self._lease_seconds
        try:
            await self._queue.claim(user_id, self._claimant)
        except (AlreadyClaimed, NotWaiting):
            del self._claims[user_id]
            raise

    def _forget_old_claims(self) -> None:
        now = asyncio.get_running_loop().time()
        self._claims = {user_id: end for user_id, end in self._claims.items() if end > now}

    def more_frames(self) -> list[bytes]:
        return self._feed.take()

    def error_frame(self, error: ChatError) -> bytes:
        return self._wire.error(error)

    def connection_lost(self) -> Pending:
        self._cancel_expiry()
        self._feed.close()
        return self._release_claims()

    async def _release_claims(self) -> None:
        """Release all claimed users whose chats were not joined."""
        try:
            for user_id in self._claims:
                await self._queue.release(user_id, self._claimant)
        except Unavailable:
            log.warning("release_failed")  # the leases end the claims


@websocket(PATH)
async def joins(
    socket: WebSocket[Any, Any, Any],
    view: NamedDependency[WaitingView],
    queue: NamedDependency[JoinQueue],
    auth: NamedDependency[AgentAuth],
    settings: NamedDependency[Settings],
    connections: NamedDependency[Connections],
) -> None:
    """Follow the waiting users as an agent, and claim them."""
    connection = Connection(settings, connections)
    version = subprotocol.select(socket)
    try:
        agent = auth.agent_of(offered_tokens(socket))
    except NotAuthenticated:
        # Accepted first: a browser does not show why a handshake has failed.
        connection.close(CloseCode.NOT_AUTHENTICATED)
        await connection.run(socket, NullHandler(), subprotocol=version)
        return
    # So that an agent who connects right after a claim is not shown the user. If Redis is away, the copy must do.
    with suppress(Unavailable):
        await view.refresh()
    wire = subprotocol.wire(version)
    session = AgentSession(agent, connection, wire, view, queue, settings.claim_lease_seconds)
    await connection.run(socket, session, subprotocol=version)

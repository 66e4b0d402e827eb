"""The WebSocket `/joins`: the waiting users out, an agent's claims in."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog
from litestar import WebSocket, websocket
from litestar.di import NamedDependency

from live_support.agents.auth import AgentAuth, close_at_expiry
from live_support.chats.join_queue import JoinQueue
from live_support.chats.waiting_view import WaitingView
from live_support.settings import Settings
from live_support.websocket.connection import Connection
from live_support.websocket.connections import Connections
from schemas.codec import decode_claim
from schemas.errors import AlreadyClaimed, CloseCode, NotAuthenticated, NotWaiting, Unavailable
from subscriber.feed import Feed

log = structlog.get_logger()


class AgentSession:
    """What an agent has claimed over one connection.

    Args:
        claim_id: marks this connection's claims in the queue.
        queue: where users are claimed.
        lease_seconds: after that a claim is no longer the agent's.
    """

    def __init__(self, claim_id: str, queue: JoinQueue, lease_seconds: float) -> None:
        self._claim_id = claim_id
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._claims: dict[str, float] = {}

    async def receive(self, frame: bytes) -> None:
        """Claim the user whom a frame names.

        Raises:
            ChatError: it was refused.
        """
        user_id = decode_claim(frame)
        self._forget_old_claims()
        # Noted first: should the answer be lost, `leave` gives the user back all the same.
        self._claims[user_id] = asyncio.get_running_loop().time() + self._lease_seconds
        try:
            await self._queue.claim(user_id, claim_id=self._claim_id)
        except (AlreadyClaimed, NotWaiting):
            del self._claims[user_id]
            raise

    def _forget_old_claims(self) -> None:
        now = asyncio.get_running_loop().time()
        self._claims = {user_id: end for user_id, end in self._claims.items() if end > now}

    async def leave(self) -> None:
        """Give back whoever was claimed and whose chat was not joined."""
        try:
            for user_id in self._claims:
                await self._queue.release(user_id, claim_id=self._claim_id)
        except Unavailable:
            log.warning("release_failed")  # the leases run out


def _ignore(_: bytes) -> None:
    pass


def _nothing() -> None:
    pass


@websocket("/joins")
async def joins(
    socket: WebSocket[Any, Any, Any],
    view: NamedDependency[WaitingView],
    queue: NamedDependency[JoinQueue],
    auth: NamedDependency[AgentAuth],
    settings: NamedDependency[Settings],
    connections: NamedDependency[Connections],
) -> None:
    """Follow the waiting users as an agent, and claim them."""
    try:
        agent = auth.agent_of(socket)
    except NotAuthenticated:
        # Accepted first: a browser is not told why a handshake has failed.
        stranger = Connection(socket, settings, connections)
        stranger.close(CloseCode.NOT_AUTHENTICATED)
        await stranger.run(_ignore, _nothing)
        return
    connection = Connection(socket, settings, connections, refill=lambda: feed.take())
    # So that an agent who comes right after a claim is not shown the user. If Redis is away, what is known must do.
    with suppress(Unavailable):
        await view.refresh()
    feed = Feed(view, connection.flush)
    session = AgentSession(agent.claim_id(connection.id), queue, settings.claim_lease_seconds)
    keep_open = close_at_expiry(agent, connection.close)

    def leave() -> Coroutine[Any, Any, None]:
        keep_open()
        feed.close()
        return session.leave()

    await connection.run(session.receive, leave)

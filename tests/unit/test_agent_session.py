"""What an agent's connection remembers of its claims: those whose lease may still hold."""

import asyncio
from typing import Any, cast

import pytest

from live_support.agents.auth import ANYBODY
from live_support.chats.join_queue import Claimant, JoinQueue
from live_support.chats.waiting_view import WaitingView
from live_support.settings import Settings
from live_support.websocket.connection import Connection
from live_support.websocket.connections import Connections
from schemas.errors import AlreadyClaimed, NotWaiting, Unavailable
from schemas.wire_v1 import V1
from subscriber.joins import AgentSession
from tests.helpers.chats import hex_id


class Queue:
    """Stands for the JoinQueue: lets every claim win, unless told otherwise."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.released: list[str] = []

    async def claim(self, user_id: str, claimant: Claimant) -> None:  # noqa: ARG002
        if self.refusal:
            raise self.refusal

    async def release(self, user_id: str, claimant: Claimant) -> None:  # noqa: ARG002
        self.released.append(user_id)


async def claim(session: AgentSession, *numbers: int) -> None:
    for number in numbers:
        await session.frame_received(hex_id(number).encode())


def new_session(queue: Queue, lease_seconds: float = 60) -> AgentSession:
    given = cast(JoinQueue, queue)
    view = WaitingView(given, cast(Any, None))
    return AgentSession(ANYBODY, Connection(Settings(), Connections()), V1, view, given, lease_seconds)


async def leave(session: AgentSession) -> None:
    pending = session.connection_lost()
    assert pending is not None
    await pending


async def test_who_leaves_gives_back_everybody_who_was_claimed() -> None:
    queue = Queue()
    session = new_session(queue)
    await claim(session, 1, 2, 1)
    await leave(session)
    assert queue.released == [hex_id(1), hex_id(2)]


async def test_claims_whose_lease_is_over_are_forgotten() -> None:
    """However many an agent makes in a day."""
    queue = Queue()
    session = new_session(queue, lease_seconds=0.01)
    await claim(session, *range(100))
    await asyncio.sleep(0.02)  # the leases are over
    await claim(session, 1000)
    await leave(session)
    assert queue.released == [hex_id(1000)]


@pytest.mark.parametrize("refusal", [AlreadyClaimed("no"), NotWaiting("no")])
async def test_a_claim_that_was_refused_is_not_given_back(refusal: Exception) -> None:
    queue = Queue()
    session = new_session(queue)
    queue.refusal = refusal
    with pytest.raises(type(refusal)):
        await claim(session, 1)
    await leave(session)
    assert queue.released == []


async def test_a_claim_without_an_answer_is_given_back() -> None:
    queue = Queue()
    session = new_session(queue)
    queue.refusal = Unavailable("away")
    with pytest.raises(Unavailable):
        await claim(session, 1)
    await leave(session)
    assert queue.released == [hex_id(1)]

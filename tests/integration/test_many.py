"""Many agents who want the same users: everybody is won exactly once."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

import subscriber.app
from core.keys import QUEUE
from core.settings import Settings
from tests.conversation import waiting_before_a_new_user
from tests.support import UNIT, Service, Socket, agent, error_code, serve, user_in_chat

AGENTS = 50
USERS = 200
NOBODY = "0" * 32
"""A userId that does not wait; claiming it marks the end of an agent's claims."""


# Nobody returns while the test runs, however slow the machine.
pytestmark = pytest.mark.given(claim_lease_seconds=6000 * UNIT, leave_grace_seconds=6000 * UNIT)


@pytest.fixture
async def subscribers(subscriber_service: Service, settings: Settings, services: AsyncExitStack) -> list[Service]:
    """Two Subscribers, which share the queue in Redis."""
    return [subscriber_service, await services.enter_async_context(serve(subscriber.app.create_app, settings))]


async def claim_all(socket: Socket, user_ids: list[str]) -> int:
    """Claim users, all at once; returns how many were won."""
    for user_id in [*user_ids, NOBODY]:
        await socket.send(user_id)
    lost = 0
    while (code := error_code(await socket.receive())) != "not_waiting":
        assert code == "already_claimed"
        lost += 1
    return len(user_ids) - lost


async def test_fifty_agents_claim_two_hundred_users_and_each_is_won_once(
    chat_server: Service, subscribers: list[Service], services: AsyncExitStack, redis: Redis
) -> None:
    # The clients' queues have no bound: when they end, the users return, and nobody reads that any more.
    joined = (services.enter_async_context(user_in_chat(chat_server)) for _ in range(USERS))
    users = [user for user, _ in await asyncio.gather(*joined)]
    opened = (services.enter_async_context(agent(subscribers[number % 2], max_queue=None)) for number in range(AGENTS))
    agents: list[Socket] = await asyncio.gather(*opened)
    requests = await asyncio.gather(*(each.receive_some(USERS) for each in agents))
    for shown in requests:
        assert {request["userId"] for request in shown} == {user.userId for user in users}

    wishes = [[user.userId for user in users] for _ in agents]
    for each in wishes:
        random.shuffle(each)
    won = await asyncio.gather(*map(claim_all, agents, wishes))

    assert sum(won) == USERS
    claims = await redis.hgetall(QUEUE.claims)
    assert claims.keys() == {user.userId for user in users}
    assert sorted(Counter(claims.values()).values()) == sorted(filter(None, won))
    assert await waiting_before_a_new_user(chat_server, subscribers[0]) == []

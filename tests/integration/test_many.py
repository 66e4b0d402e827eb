"""Many agents who want the same users: everybody is won exactly once."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import pytest
from redis.asyncio import Redis

import subscriber.app
from live_support.settings import Settings
from live_support_client import AlreadyClaimed, ChatClient, JoinRequest, JoinsClient, Options
from tests.helpers.keys import KEYS
from tests.helpers.sdk import Agent, hear_some, waiting_before_a_new_user, waiting_user
from tests.helpers.services import UNIT, serve

AGENTS = 50
USERS = 200

# Nobody returns while the test runs, however slow the machine.
pytestmark = [
    pytest.mark.given(claim_lease_seconds=6000 * UNIT, leave_grace_seconds=6000 * UNIT),
    pytest.mark.slow,
]


@pytest.fixture
async def offices(agent: Agent, settings: Settings, services: AsyncExitStack, options: Options) -> list[Agent]:
    """Agents at two Subscribers, which share the queue in Redis."""
    other = await services.enter_async_context(serve(subscriber.app.create_service, settings))
    return [agent, partial(JoinsClient, other.http, options=options)]


async def claim_all(joins: JoinsClient, users: Sequence[JoinRequest]) -> int:
    """Claim users, one after the other; returns how many were won."""
    won = 0
    for user in users:
        try:
            await joins.claim(user)
        except AlreadyClaimed:
            continue
        won += 1
    return won


async def test_fifty_agents_claim_two_hundred_users_and_each_is_won_once(
    client: ChatClient, offices: list[Agent], services: AsyncExitStack, redis: Redis
) -> None:
    users = await asyncio.gather(*(services.enter_async_context(waiting_user(client)) for _ in range(USERS)))
    opened = (services.enter_async_context(offices[number % 2]()) for number in range(AGENTS))
    agents: list[JoinsClient] = await asyncio.gather(*opened)
    for shown in await asyncio.gather(*(hear_some(joins, USERS) for joins in agents)):
        assert {user.user_id for user in shown} == {user.user_id for user in users}

    won = await asyncio.gather(*(claim_all(joins, random.sample(users, USERS)) for joins in agents))

    assert sum(won) == USERS
    claims = await redis.hgetall(KEYS.queue.claims)
    assert claims.keys() == {user.user_id for user in users}
    assert sorted(Counter(claims.values()).values()) == sorted(filter(None, won))
    assert await waiting_before_a_new_user(client, offices[0]) == []

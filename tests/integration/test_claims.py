"""Claims: who wins a waiting user, who still sees the user, and when the user comes back."""

import pytest
from redis.asyncio import Redis

from live_support_client import AlreadyClaimed, ChatClient, JoinRequest, JoinsClient, NotWaiting
from tests.helpers.keys import KEYS
from tests.helpers.sdk import Agent, hear, hear_some, shown_next, waiting_before_a_new_user, waiting_user
from tests.helpers.services import UNIT

LONG_LEASE = 6000 * UNIT
"""Far longer than any test waits."""

pytestmark = pytest.mark.given(claim_lease_seconds=LONG_LEASE)

lease_ends_soon = pytest.mark.given(claim_lease_seconds=5 * UNIT)


async def loses(joins: JoinsClient, request: JoinRequest) -> None:
    """Claim a user whom somebody else has."""
    with pytest.raises(AlreadyClaimed):
        await joins.claim(request)


async def test_the_second_agent_is_told_that_it_lost(client: ChatClient, agent: Agent) -> None:
    async with (
        waiting_user(client) as user,
        agent() as winner,
        agent() as loser,
    ):
        assert await hear(winner) == await hear(loser) == user
        await winner.claim(user)
        await loses(loser, user)
        await shown_next(client, winner, loser)


async def test_who_does_not_wait_cannot_be_claimed(joins: JoinsClient) -> None:
    with pytest.raises(NotWaiting):
        await joins.claim("0" * 32)


async def test_the_winner_may_claim_again(client: ChatClient, agent: Agent) -> None:
    async with waiting_user(client) as user, agent() as joins:
        assert await hear(joins) == user
        await joins.claim(user)
        await joins.claim(user)


async def test_a_claimed_user_is_not_shown_to_a_late_agent(client: ChatClient, agent: Agent) -> None:
    async with (
        waiting_user(client) as claimed,
        waiting_user(client) as waiting,
        agent() as joins,
    ):
        assert await hear_some(joins, 2) == [claimed, waiting]
        await joins.claim(claimed)
        assert await waiting_before_a_new_user(client, agent) == [waiting]


# Without a join the user comes back.


@lease_ends_soon
async def test_when_the_lease_is_over_every_agent_is_shown_the_user_again(client: ChatClient, agent: Agent) -> None:
    async with (
        waiting_user(client) as user,
        agent() as claimant,
        agent() as other,
    ):
        assert await hear(claimant) == await hear(other) == user
        await claimant.claim(user)
        assert await hear(claimant) == await hear(other) == user
        await shown_next(client, claimant, other)


@lease_ends_soon
async def test_when_the_lease_is_over_the_user_has_the_old_place(client: ChatClient, agent: Agent) -> None:
    async with (
        waiting_user(client) as first,
        waiting_user(client) as second,
        agent() as joins,
    ):
        assert await hear_some(joins, 2) == [first, second]
        await joins.claim(first)
        assert await hear(joins) == first
        assert await waiting_before_a_new_user(client, agent) == [first, second]


async def test_when_the_agent_leaves_the_user_has_the_old_place_at_once(client: ChatClient, agent: Agent) -> None:
    async with (
        waiting_user(client) as first,
        waiting_user(client) as second,
        agent() as other,
    ):
        assert await hear_some(other, 2) == [first, second]
        async with agent() as claimant:
            assert await hear_some(claimant, 2) == [first, second]
            await claimant.claim(first)
        assert await hear(other) == first
        assert await waiting_before_a_new_user(client, agent) == [first, second]


async def test_a_user_who_came_back_may_be_claimed_by_another_agent(client: ChatClient, agent: Agent) -> None:
    async with waiting_user(client) as user, agent() as other:
        assert await hear(other) == user
        async with agent() as claimant:
            assert await hear(claimant) == user
            await claimant.claim(user)
            await loses(other, user)
        assert await hear(other) == user
        await other.claim(user)


@lease_ends_soon
async def test_a_claim_ends_in_time_also_when_the_clock_was_set_back(
    client: ChatClient, agent: Agent, redis: Redis
) -> None:
    async with waiting_user(client) as user, agent() as claimant, agent() as other:
        assert await hear(claimant) == await hear(other) == user
        await claimant.claim(user)
        await redis.zincrby(KEYS.queue.leases, 3_600_000, user.user_id)
        assert await hear(claimant) == await hear(other) == user


# With a join the user does not.


@lease_ends_soon
async def test_a_user_whose_support_has_joined_outlives_the_lease(client: ChatClient, agent: Agent) -> None:
    async with (
        waiting_user(client) as served,
        waiting_user(client) as left_alone,
        agent() as joins,
    ):
        assert await hear_some(joins, 2) == [served, left_alone]
        await joins.claim(served)
        async with client.support_chat(served, name="Vika"):
            await joins.claim(left_alone)
            # This claim is the later one, so by now both leases are over.
            assert await hear(joins) == left_alone
            assert await waiting_before_a_new_user(client, agent) == [left_alone]


async def test_a_user_whose_support_has_joined_does_not_return_when_the_agent_leaves_the_queue(
    client: ChatClient, agent: Agent
) -> None:
    async with waiting_user(client) as user:
        async with agent() as joins:
            assert await hear(joins) == user
            await joins.claim(user)
            async with client.support_chat(user, name="Vika"):
                pass
        assert await waiting_before_a_new_user(client, agent) == []


async def test_a_support_that_joins_without_a_claim_has_the_user_at_once(client: ChatClient, agent: Agent) -> None:
    async with waiting_user(client) as user, agent() as joins:
        assert await hear(joins) == user
        async with client.support_chat(user, name="Vika"):
            await loses(joins, user)
            assert await waiting_before_a_new_user(client, agent) == []


async def test_whoever_claimed_a_user_before_the_support_joined_has_lost_the_claim(
    client: ChatClient, agent: Agent
) -> None:
    async with waiting_user(client) as user, agent() as joins:
        assert await hear(joins) == user
        await joins.claim(user)
        async with client.support_chat(user, name="Vika"):
            await loses(joins, user)

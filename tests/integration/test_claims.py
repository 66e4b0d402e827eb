"""Claims: who wins a waiting user, who still sees the user, and when the user comes back."""

import pytest

from tests.conversation import refusal, shown_next, waiting_before_a_new_user
from tests.support import UNIT, Service, Socket, User, agent, support_in_chat, user_in_chat

LONG_LEASE = 6000 * UNIT
"""Far longer than any test waits."""

UNKNOWN = "0" * 32

pytestmark = pytest.mark.given(claim_lease_seconds=LONG_LEASE)

lease_ends_soon = pytest.mark.given(claim_lease_seconds=5 * UNIT)


async def wins(joins: Socket, user: User) -> None:
    """Claim a user; the winner hears nothing, so the next answer is that to the next claim."""
    await joins.send(user.userId)
    assert await refusal(UNKNOWN, joins) == "not_waiting"


async def test_the_second_agent_is_told_that_it_lost(chat_server: Service, subscriber_service: Service) -> None:
    async with (
        user_in_chat(chat_server) as (user, _),
        agent(subscriber_service) as winner,
        agent(subscriber_service) as loser,
    ):
        assert await winner.receive() == await loser.receive() == user.request
        await wins(winner, user)
        assert await refusal(user.userId, loser) == "already_claimed"
        await shown_next(chat_server, winner, loser)


async def test_the_winner_may_claim_again(chat_server: Service, subscriber_service: Service) -> None:
    async with user_in_chat(chat_server) as (user, _), agent(subscriber_service) as joins:
        assert await joins.receive() == user.request
        await wins(joins, user)
        await wins(joins, user)


async def test_a_claimed_user_is_not_shown_to_a_late_agent(chat_server: Service, subscriber_service: Service) -> None:
    async with (
        user_in_chat(chat_server) as (claimed, _),
        user_in_chat(chat_server) as (waiting, _),
        agent(subscriber_service) as joins,
    ):
        assert await joins.receive_some(2) == [claimed.request, waiting.request]
        await wins(joins, claimed)
        assert await waiting_before_a_new_user(chat_server, subscriber_service) == [waiting.request]


# Without a join the user comes back.


@lease_ends_soon
async def test_when_the_lease_is_over_every_agent_is_shown_the_user_again(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with (
        user_in_chat(chat_server) as (user, _),
        agent(subscriber_service) as claimant,
        agent(subscriber_service) as other,
    ):
        assert await claimant.receive() == await other.receive() == user.request
        await wins(claimant, user)
        assert await claimant.receive() == await other.receive() == user.request
        await shown_next(chat_server, claimant, other)


@lease_ends_soon
async def test_when_the_lease_is_over_the_user_has_the_old_place(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with (
        user_in_chat(chat_server) as (first, _),
        user_in_chat(chat_server) as (second, _),
        agent(subscriber_service) as joins,
    ):
        assert await joins.receive_some(2) == [first.request, second.request]
        await wins(joins, first)
        assert await joins.receive() == first.request
        assert await waiting_before_a_new_user(chat_server, subscriber_service) == [first.request, second.request]


async def test_when_the_agent_leaves_the_user_has_the_old_place_at_once(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with (
        user_in_chat(chat_server) as (first, _),
        user_in_chat(chat_server) as (second, _),
        agent(subscriber_service) as other,
    ):
        assert await other.receive_some(2) == [first.request, second.request]
        async with agent(subscriber_service) as claimant:
            assert await claimant.receive_some(2) == [first.request, second.request]
            await wins(claimant, first)
        assert await other.receive() == first.request
        assert await waiting_before_a_new_user(chat_server, subscriber_service) == [first.request, second.request]


async def test_a_user_who_came_back_may_be_claimed_by_another_agent(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with user_in_chat(chat_server) as (user, _), agent(subscriber_service) as other:
        assert await other.receive() == user.request
        async with agent(subscriber_service) as claimant:
            assert await claimant.receive() == user.request
            await wins(claimant, user)
            assert await refusal(user.userId, other) == "already_claimed"
        assert await other.receive() == user.request
        await wins(other, user)


# With a join the user does not.


@lease_ends_soon
async def test_a_user_whose_support_has_joined_outlives_the_lease(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with (
        user_in_chat(chat_server) as (served, served_socket),
        user_in_chat(chat_server) as (left_alone, _),
        agent(subscriber_service) as joins,
    ):
        assert await joins.receive_some(2) == [served.request, left_alone.request]
        await wins(joins, served)
        async with support_in_chat(chat_server, served, served_socket):
            await wins(joins, left_alone)
            # This claim is the later one, so by now both leases are over.
            assert await joins.receive() == left_alone.request
            assert await waiting_before_a_new_user(chat_server, subscriber_service) == [left_alone.request]


async def test_a_user_whose_support_has_joined_does_not_return_when_the_agent_leaves_the_queue(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with user_in_chat(chat_server) as (user, _):
        async with agent(subscriber_service) as joins:
            assert await joins.receive() == user.request
            await wins(joins, user)
            async with support_in_chat(chat_server, user):
                pass
        assert await waiting_before_a_new_user(chat_server, subscriber_service) == []


async def test_a_support_that_joins_without_a_claim_has_the_user_at_once(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with user_in_chat(chat_server) as (user, _), agent(subscriber_service) as joins:
        assert await joins.receive() == user.request
        async with support_in_chat(chat_server, user):
            assert await refusal(user.userId, joins) == "already_claimed"
            assert await waiting_before_a_new_user(chat_server, subscriber_service) == []


async def test_whoever_claimed_a_user_before_the_support_joined_has_lost_the_claim(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with user_in_chat(chat_server) as (user, _), agent(subscriber_service) as joins:
        assert await joins.receive() == user.request
        await wins(joins, user)
        async with support_in_chat(chat_server, user):
            assert await refusal(user.userId, joins) == "already_claimed"

"""What becomes of a place in the queue when the user's last connection is gone, and when the user comes back."""

import pytest
from redis.asyncio import Redis

from core.keys import QUEUE
from tests.conversation import Published, Stopwatch, talk_in, waiting_before_a_new_user
from tests.support import UNIT, Service, User, agent, eventually, user_in_chat

GRACE = 8 * UNIT
LONG = 6000 * UNIT
"""Far longer than any test waits."""

pytestmark = pytest.mark.given(leave_grace_seconds=GRACE)

grace_does_not_end = pytest.mark.given(leave_grace_seconds=LONG)


async def gone(redis: Redis, user: User) -> None:
    """Wait until nothing in the queue knows the user."""

    async def forgotten() -> bool:
        return await redis.zscore(QUEUE.present, user.userId) is None

    await eventually(forgotten)


async def a_grace_has_ended(chat_server: Service, redis: Redis) -> None:
    """Wait for so long that everybody who had left before is gone."""
    async with user_in_chat(chat_server) as (user, _):
        pass
    await gone(redis, user)


async def test_a_user_who_is_gone_for_the_grace_leaves_the_queue(
    chat_server: Service, subscriber_service: Service, redis: Redis
) -> None:
    async with user_in_chat(chat_server) as (user, _):
        watch = Stopwatch()
    await gone(redis, user)
    assert watch.seconds >= GRACE
    assert await waiting_before_a_new_user(chat_server, subscriber_service) == []


async def test_who_comes_back_after_the_grace_has_a_new_place_at_the_end(
    chat_server: Service, subscriber_service: Service, redis: Redis, published: Published
) -> None:
    async with agent(subscriber_service) as joins:
        async with user_in_chat(chat_server) as (first, _):
            assert await joins.receive() == first.request
        await gone(redis, first)
        async with user_in_chat(chat_server) as (second, _), user_in_chat(chat_server, first):
            assert await joins.receive_some(2) == [second.request, first.request]
            assert await published() == [first.request, second.request, first.request]
            assert await waiting_before_a_new_user(chat_server, subscriber_service) == [second.request, first.request]


@grace_does_not_end
async def test_who_comes_back_within_the_grace_keeps_the_place(
    chat_server: Service, subscriber_service: Service, published: Published
) -> None:
    async with agent(subscriber_service) as joins:
        async with user_in_chat(chat_server) as (first, _):
            pass
        async with user_in_chat(chat_server) as (second, _), user_in_chat(chat_server, first):
            assert await published() == [first.request, second.request]
            assert await waiting_before_a_new_user(chat_server, subscriber_service) == [first.request, second.request]
            assert await joins.receive_some(2) == [first.request, second.request]


async def test_one_tab_is_enough_to_stay_in_the_queue(
    chat_server: Service, subscriber_service: Service, redis: Redis, published: Published
) -> None:
    async with user_in_chat(chat_server) as (user, _):
        async with user_in_chat(chat_server, user):
            pass
        await a_grace_has_ended(chat_server, redis)
        assert await waiting_before_a_new_user(chat_server, subscriber_service) == [user.request]
        assert (await published()).count(user.request) == 1


async def test_who_has_an_agent_is_not_queued_again(
    chat_server: Service, subscriber_service: Service, redis: Redis, published: Published
) -> None:
    async with talk_in(chat_server) as talk:
        pass
    await gone(redis, talk.user)
    async with talk.tab(talk.user_rejoin):
        assert await waiting_before_a_new_user(chat_server, subscriber_service) == []
        assert (await published()).count(talk.user.request) == 1

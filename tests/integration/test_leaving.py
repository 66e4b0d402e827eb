"""What becomes of a place in the queue when the user's last connection is gone, and when the user comes back."""

import msgspec
import pytest
from redis.asyncio import Redis

from live_support_client import ChatClient, JoinRequest, JoinsClient
from tests.helpers.keys import KEYS
from tests.helpers.sdk import Agent, hear, hear_some, request_of, waiting_before_a_new_user, waiting_user
from tests.helpers.services import UNIT, Stopwatch, eventually
from tests.helpers.wire import Published

GRACE = 8 * UNIT
LONG = 6000 * UNIT
"""Far longer than any test waits."""

pytestmark = pytest.mark.given(leave_grace_seconds=GRACE)

grace_does_not_end = pytest.mark.given(leave_grace_seconds=LONG)


async def gone(redis: Redis, user: JoinRequest) -> None:
    """Wait until nothing in the queue knows the user."""

    async def forgotten() -> bool:
        return await redis.zscore(KEYS.queue.present, user.user_id) is None

    await eventually(forgotten)


async def a_grace_has_ended(client: ChatClient, redis: Redis) -> None:
    """Wait for so long that everybody who had left before is gone."""
    async with waiting_user(client) as user:
        pass
    await gone(redis, user)


async def requests(published: Published) -> list[JoinRequest]:
    """What was published, as agents are shown it."""
    return msgspec.convert(await published(), list[JoinRequest])


async def test_a_user_who_is_gone_for_the_grace_leaves_the_queue(
    client: ChatClient, agent: Agent, redis: Redis
) -> None:
    async with waiting_user(client) as user:
        watch = Stopwatch()
    await gone(redis, user)
    assert watch.seconds >= GRACE
    assert await waiting_before_a_new_user(client, agent) == []


async def test_who_comes_back_after_the_grace_has_a_new_place_at_the_end(
    client: ChatClient, agent: Agent, joins: JoinsClient, redis: Redis, published: Published
) -> None:
    user = await client.register("Nika")
    first = request_of(user)
    async with client.chat(user):
        assert await hear(joins) == first
    await gone(redis, first)
    async with waiting_user(client) as second, client.chat(user):
        assert await hear_some(joins, 2) == [second, first]
        assert await requests(published) == [first, second, first]
        assert await waiting_before_a_new_user(client, agent) == [second, first]


@grace_does_not_end
async def test_who_comes_back_within_the_grace_keeps_the_place(
    client: ChatClient, agent: Agent, joins: JoinsClient, published: Published
) -> None:
    user = await client.register("Nika")
    first = request_of(user)
    async with client.chat(user):
        pass
    async with waiting_user(client) as second, client.chat(user):
        assert await requests(published) == [first, second]
        assert await waiting_before_a_new_user(client, agent) == [first, second]
        assert await hear_some(joins, 2) == [first, second]


async def test_one_tab_is_enough_to_stay_in_the_queue(
    client: ChatClient, agent: Agent, redis: Redis, published: Published
) -> None:
    user = await client.register("Nika")
    async with client.chat(user):
        async with client.chat(user):
            pass
        await a_grace_has_ended(client, redis)
        assert await waiting_before_a_new_user(client, agent) == [request_of(user)]
        assert (await requests(published)).count(request_of(user)) == 1


async def test_who_has_an_agent_is_not_queued_again(
    client: ChatClient, agent: Agent, redis: Redis, published: Published
) -> None:
    user = await client.register("Nika")
    request = request_of(user)
    async with client.chat(user), client.support_chat(request, name="Vika") as support:
        pass
    await gone(redis, request)
    async with client.chat(user, support_id=support.support_id):
        assert await waiting_before_a_new_user(client, agent) == []
        assert (await requests(published)).count(request) == 1

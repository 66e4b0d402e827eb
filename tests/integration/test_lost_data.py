"""What agents who stay connected are shown when Redis comes back with older data, or loses some."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from live_support_client import ChatClient, JoinsClient
from tests.helpers.keys import KEYS
from tests.helpers.queue import bring_back, keep
from tests.helpers.sdk import Agent, hear, hear_some, is_shown, request_of, shown_next, waiting_user
from tests.helpers.services import UNIT, eventually

LONG = 6000 * UNIT
"""Far longer than any test waits."""

pytestmark = pytest.mark.given(leave_grace_seconds=LONG, claim_lease_seconds=LONG)


@pytest.fixture
async def client_of_bytes(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def come_and_go(client: ChatClient, joins: JoinsClient, count: int) -> None:
    """Let users come one after the other, and each get an agent."""
    for _ in range(count):
        async with waiting_user(client) as user:
            assert await hear(joins) == user
            async with client.support_chat(user, name="Vika"):
                pass


@pytest.mark.parametrize("lost", ["version", "queue"])
async def test_new_users_are_shown_after_redis_came_back_with_older_data(
    client: ChatClient, agent: Agent, client_of_bytes: Redis, lost: str
) -> None:
    async with waiting_user(client) as user, agent() as joins:
        assert await hear(joins) == user
        kept = await keep(client_of_bytes)
        await come_and_go(client, joins, 4)
        if lost == "version":
            await client_of_bytes.restore(KEYS.queue.version, 0, kept[KEYS.queue.version.encode()], replace=True)
        else:
            await bring_back(client_of_bytes, kept)
        for _ in range(6):  # and who waits all the time is not shown again
            await shown_next(client, joins)


async def test_who_came_back_with_older_data_is_shown_again(
    client: ChatClient, agent: Agent, client_of_bytes: Redis
) -> None:
    async with waiting_user(client) as user, agent() as joins, agent() as claimant:
        assert await hear(joins) == await hear(claimant) == user
        kept = await keep(client_of_bytes)
        await claimant.claim(user)
        await shown_next(client, joins)  # so by now the claim is known
        await bring_back(client_of_bytes, kept)
        assert await hear(joins) == user
        async with agent() as late:
            assert await hear(late) == user
        await joins.claim(user)


async def test_users_are_shown_after_redis_lost_everything(
    client: ChatClient, joins: JoinsClient, redis: Redis
) -> None:
    users = [await client.register(f"User {number}") for number in range(3)]
    async with client.chat(users[0]), client.chat(users[1]), client.chat(users[2]):
        assert await hear_some(joins, 3) == [request_of(user) for user in users]
    await redis.flushall()
    for _ in range(3):
        await shown_next(client, joins)


HASHES = {"chats", "stays", "entries"}
NAMES = [name for name in KEYS.queue._fields if name != "changed"]


@pytest.mark.given(leave_grace_seconds=4 * UNIT)  # so that rounds are frequent
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["whole", "one"])
async def test_a_part_of_the_queue_that_is_lost_closes_nothing_and_is_healed(
    client: ChatClient, agent: Agent, redis: Redis, capsys: pytest.CaptureFixture[str], name: str, part: str
) -> None:
    key = getattr(KEYS.queue, name)
    async with waiting_user(client) as user, agent() as joins:
        assert await hear(joins) == user
        if part == "whole":
            await redis.delete(key)
        elif name in HASHES:
            await redis.hdel(key, user.user_id)
        elif name not in {"version", "changes", "swept"}:
            await redis.zrem(key, user.user_id)
        async with waiting_user(client) as newcomer:
            await is_shown(newcomer, joins)  # and perhaps the other one once more before, for a new entry
            for _ in range(2):
                async with agent() as late:
                    await is_shown(user, late)
                async with agent() as late:
                    await is_shown(newcomer, late)

        async def is_healed() -> bool:
            hashes = [await redis.hexists(getattr(KEYS.queue, name), user.user_id) for name in HASHES]
            return all(hashes) and await redis.zscore(KEYS.queue.waiting, user.user_id) is not None

        await eventually(is_healed)
        await joins.claim(user)
    logged = capsys.readouterr()
    assert "Traceback" not in logged.out + logged.err

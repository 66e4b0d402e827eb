"""What a queue of 10,000 costs Redis: while a script runs, nobody else is served."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis as Client

from live_support.chats.join_queue import Claimant, JoinQueue, Presence
from tests.helpers.chats import hex_id
from tests.helpers.keys import KEYS
from tests.helpers.queue import chat_of, version

LONG = 10_000
SCRIPT_MICROSECONDS = 2000
TIMES = 5
AGENT = Claimant("agent", "connection")

Cost = Callable[[Callable[[int], Awaitable[object]]], Awaitable[int]]


@pytest.fixture
async def long_queue(queue: JoinQueue) -> JoinQueue:
    ids = [hex_id(number) for number in range(LONG - 100)]
    await queue.touch(Presence(user_id, chat_of(user_id), time) for time, user_id in enumerate(ids, start=1))
    return queue


@pytest.fixture
async def cost(client: Client) -> AsyncIterator[Cost]:
    """Call something a few times; returns the microseconds of the fastest script, since anything may interrupt one."""
    await client.config_set("slowlog-log-slower-than", 0)
    await client.config_set("slowlog-max-len", 10_000)

    async def measure(call: Callable[[int], Awaitable[object]]) -> int:
        await client.slowlog_reset()
        for number in range(TIMES):
            await call(number)
        log = await client.slowlog_get(10_000)
        scripts: list[int] = [entry["duration"] for entry in log if entry["command"].startswith(b"EVALSHA")]
        assert len(scripts) >= TIMES
        return min(scripts)

    yield measure
    await client.config_set("slowlog-log-slower-than", 10_000)


def user(number: int) -> dict[str, str]:
    user_id = hex_id(number)
    return {"user_id": user_id, "chat_id": chat_of(user_id)}


async def test_no_change_of_a_long_queue_keeps_redis_busy(long_queue: JoinQueue, cost: Cost, client: Client) -> None:
    queue = long_queue
    known = await version(queue)
    presences = [Presence(hex_id(number), chat_of(hex_id(number)), number) for number in range(1, 1001)]

    async def touch_without_entries() -> None:
        await client.delete(KEYS.queue.entries)
        await queue.touch(presences)

    found = {
        "enqueue": await cost(lambda number: queue.enqueue(**user(LONG + number))),
        "claim": await cost(lambda number: queue.claim(hex_id(5000 + number), AGENT)),
        "changes": await cost(lambda _: queue.waiting_list(known_version=known)),
        "sweep": await cost(lambda _: queue.overdue()),
        "release": await cost(lambda number: queue.release(hex_id(5000 + number), AGENT)),
        "claim for join": await cost(lambda number: queue.claim_for_join(claimant=AGENT, **user(6000 + number))),
        "mark served": await cost(lambda number: queue.mark_served(**user(6000 + number))),
        "touch": await cost(lambda _: queue.touch(presences)),
        "touch that brings entries in step": await cost(lambda _: touch_without_entries()),
        "forget": await cost(lambda number: queue.forget(hex_id(7000 + number))),
    }
    assert max(found.values()) < SCRIPT_MICROSECONDS, found

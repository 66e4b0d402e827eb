"""How the waiting list is followed: by its changes, also after a loss of data and beside an older release."""

import time
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from live_support.chats.join_queue import JoinQueue, Presence
from tests.helpers import older_release
from tests.helpers.keys import KEYS
from tests.helpers.queue import (
    ANA,
    LEO,
    NIKA,
    Reader,
    bring_back,
    by,
    chat_of,
    enqueue,
    entries,
    entry_id_of,
    keep,
    number_of,
    version,
    waiting,
)

MANY = [f"{number:032x}" for number in range(100, 1300)]


@pytest.fixture
async def reader(queue: JoinQueue) -> Reader:
    return Reader(queue)


async def test_only_what_has_changed_is_read(queue: JoinQueue, reader: Reader) -> None:
    await enqueue(queue, *MANY[:300])
    assert len(await reader.read()) == 300
    known = await version(queue)
    await queue.claim(MANY[7], by("a"))
    await queue.claim(MANY[8], by("a"))
    await queue.release(MANY[8], by("a"))
    await enqueue(queue, NIKA)
    changed = await queue.waiting_list(known_version=known)
    assert changed is not None
    assert changed.gone == [MANY[7]]
    assert [user.user_id for user in changed.users] == [MANY[8], NIKA]
    assert await reader.read() == await entries(queue)
    assert reader.whole_readings == 1


async def test_a_reader_who_missed_too_much_reads_everything(queue: JoinQueue, reader: Reader, redis: Redis) -> None:
    await enqueue(queue, NIKA)
    await reader.read()
    await queue.touch(Presence(user_id, chat_of(user_id), time_us) for time_us, user_id in enumerate(MANY, start=1))
    assert await reader.read() == await entries(queue)
    assert reader.whole_readings == 2
    assert await redis.xlen(KEYS.queue.changes) <= 1000, "it does not grow with the queue"


# Redis comes back with older data.


async def leave_and_come(queue: JoinQueue, number: int) -> None:
    """Six changes of the list, at the end of which one user more waits."""
    first, second = MANY[number], MANY[number + 1]
    await enqueue(queue, first, second)
    await queue.claim(first, by("a"))
    await queue.release(first, by("a"))
    await queue.forget(first)


@pytest.mark.parametrize("steps_after", range(4))
@pytest.mark.parametrize("clock", ["runs on", "was an hour ahead"])
async def test_a_reader_notices_that_redis_came_back_with_older_data(
    queue: JoinQueue, reader: Reader, client: Redis, steps_after: int, clock: str
) -> None:
    await enqueue(queue, NIKA, ANA)
    if clock == "was an hour ahead":  # so that versions come again, one by one
        await client.set(KEYS.queue.version, int((time.time() + 3600) * 1e6))
        await enqueue(queue, LEO)
    kept = await keep(client)
    await queue.forget(ANA)
    await queue.claim(NIKA, by("lost"))
    for number in range(steps_after):
        await leave_and_come(queue, 2 * number)
    await reader.read()

    await bring_back(client, kept)
    for number in range(steps_after):
        await leave_and_come(queue, 100 + 2 * number)
    assert await reader.read() == await entries(queue)
    assert {NIKA, ANA} <= set(await waiting(queue))


async def test_the_same_version_of_another_list_is_not_taken_for_it(
    queue: JoinQueue, reader: Reader, client: Redis
) -> None:
    await enqueue(queue, NIKA)
    # As long as the clock is behind, each change takes the next number.
    await client.set(KEYS.queue.version, int((time.time() + 3600) * 1e6))
    await enqueue(queue, ANA)
    kept = await keep(client)
    await queue.forget(ANA)
    await reader.read()
    before = number_of(await version(queue))
    await bring_back(client, kept)
    await queue.forget(NIKA)
    assert number_of(await version(queue)) == before
    assert [user.user_id for user in await reader.read()] == [ANA]


@pytest.mark.parametrize("changes", [True, False])
async def test_a_reader_notices_that_redis_lost_everything(
    queue: JoinQueue, reader: Reader, client: Redis, changes: bool
) -> None:
    await enqueue(queue, NIKA)
    await reader.read()
    await bring_back(client, {})
    if changes:
        await enqueue(queue, ANA)
    assert [user.user_id for user in await reader.read()] == ([ANA] if changes else [])


async def test_versions_and_entry_ids_rise_whatever_becomes_of_their_key(queue: JoinQueue, client: Redis) -> None:
    last = 0
    ahead = int((time.time() + 3600) * 1e6)
    for user_id, value in zip(MANY, (None, 1, ahead, None, 5), strict=False):
        if value is None:
            await client.delete(KEYS.queue.version)
        else:
            await client.set(KEYS.queue.version, value)
        await enqueue(queue, user_id)
        number, entry_id = number_of(await version(queue)), await entry_id_of(queue, user_id)
        assert number >= entry_id > last
        last = number


# An older release on the same Redis, while the services are upgraded one by one.

Change = Callable[[Redis, JoinQueue], Awaitable[None]]

OLDER_CHANGES: dict[str, Change] = {
    "enters": lambda redis, _: older_release.enqueue(redis, ANA, chat_of(ANA)),
    "claims": lambda redis, _: older_release.claim(redis, NIKA, "b"),
    "releases": lambda redis, _: older_release.release(redis, LEO, ":a"),
    "serves": lambda redis, _: older_release.serve(redis, NIKA, chat_of(NIKA)),
    "touches": lambda redis, _: older_release.touch(redis, ANA, chat_of(ANA), 1),
}


@pytest.mark.parametrize("then", [False, True], ids=["alone", "and a newer one after it"])
@pytest.mark.parametrize("change", OLDER_CHANGES.values(), ids=OLDER_CHANGES.keys())
async def test_a_change_of_an_older_release_is_noticed(
    queue: JoinQueue, reader: Reader, redis: Redis, change: Change, then: bool
) -> None:
    await enqueue(queue, NIKA, LEO)
    await queue.claim(LEO, by("a"))
    await reader.read()
    await change(redis, queue)
    if then:
        await enqueue(queue, *MANY[:3])
    assert await reader.read() == await entries(queue)
    await enqueue(queue, MANY[5])
    await reader.read()
    before = reader.whole_readings
    await enqueue(queue, MANY[6])
    assert await reader.read() == await entries(queue)
    assert reader.whole_readings == before, "alone again, changes are enough"


async def test_an_older_release_reads_what_a_newer_one_writes(queue: JoinQueue, redis: Redis) -> None:
    await enqueue(queue, NIKA, ANA, LEO)
    await queue.claim(NIKA, by("a"))
    await queue.mark_served(user_id=ANA, chat_id=chat_of(ANA))
    assert await older_release.waiting(redis) == [LEO]
    await queue.release(NIKA, by("a"))
    assert await older_release.waiting(redis) == [NIKA, LEO]
    await older_release.claim(redis, NIKA, "b")
    assert await waiting(queue) == [LEO]

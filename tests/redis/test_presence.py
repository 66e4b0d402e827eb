"""Touch and sweep: how the queue forgets who has gone, and heals what a crash left undone."""

import pytest
from redis.asyncio import Redis

from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from schemas.errors import AlreadyClaimed, NotWaiting
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.queue import ANA, NIKA, by, chat_of, end_grace, end_lease, enqueue, entry_id_of, version, waiting
from tests.helpers.services import UNIT, eventually, replace


def present(user_id: str, queued_at_us: int | None) -> Presence:
    """What a process says of a chat that has connections in it."""
    return Presence(user_id, chat_of(user_id), queued_at_us)


# Touch.


async def test_who_is_touched_stays(queue: JoinQueue, sweeper: Sweeper, redis: Redis) -> None:
    (queued_at_us,) = await enqueue(queue, NIKA)
    await end_grace(redis, NIKA)
    await queue.touch([present(NIKA, queued_at_us)])
    await sweeper.sweep()
    assert await waiting(queue) == [NIKA]


async def test_a_touch_changes_nothing_while_all_is_well(queue: JoinQueue) -> None:
    places = await enqueue(queue, NIKA, ANA)
    before = await queue.waiting_list()
    await queue.touch([present(NIKA, places[0]), present(ANA, places[1])])
    assert await queue.waiting_list() == before


async def test_a_touch_leaves_a_claim_alone(queue: JoinQueue) -> None:
    (queued_at_us,) = await enqueue(queue, NIKA)
    await queue.claim(NIKA, by("a"))
    await queue.touch([present(NIKA, queued_at_us)])
    assert await waiting(queue) == []


async def test_a_touch_brings_a_lost_user_back_to_the_old_place(queue: JoinQueue, redis: Redis) -> None:
    places = await enqueue(queue, NIKA, ANA)
    before = await entry_id_of(queue, ANA)
    await redis.unlink(*KEYS.queue[:-1])
    await queue.touch([present(ANA, places[1])])
    await queue.touch([present(NIKA, places[0])])
    assert await waiting(queue) == [NIKA, ANA]
    assert await entry_id_of(queue, ANA) > before, "agents see it as a new entry"


async def test_a_touch_takes_a_user_with_a_support_out(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA, ANA)
    await queue.touch([present(NIKA, None)])
    assert await waiting(queue) == [ANA]
    with pytest.raises(AlreadyClaimed):
        await queue.claim(NIKA, by("a"))


async def test_a_touch_that_has_not_heard_of_the_support_brings_nobody_back(queue: JoinQueue) -> None:
    (queued_at_us,) = await enqueue(queue, NIKA)
    await queue.mark_served(user_id=NIKA, chat_id=chat_of(NIKA))
    await queue.touch([present(NIKA, queued_at_us)])
    assert await waiting(queue) == []


async def test_many_users_are_touched_in_batches(queue: JoinQueue) -> None:
    users = [f"{number:032x}" for number in range(1200)]
    await queue.touch(present(user_id, number + 1) for number, user_id in enumerate(users))
    assert await waiting(queue) == users


# Sweep.


async def test_a_user_whom_nobody_touches_is_forgotten(
    redis_client: RedisClient, settings: Settings, store: ChatStore
) -> None:
    settings = replace(settings, leave_grace_seconds=UNIT)
    queue = JoinQueue(redis_client, settings)
    sweeper = Sweeper(queue, store, settings)
    await enqueue(queue, NIKA)
    await sweeper.sweep()
    assert await waiting(queue) == [NIKA], "the grace is not over"

    async def is_forgotten() -> bool:
        await sweeper.sweep()
        return await waiting(queue) == []

    await eventually(is_forgotten)
    with pytest.raises(NotWaiting):
        await queue.claim(NIKA, by("a"))


async def test_nothing_is_left_of_a_forgotten_user(queue: JoinQueue, sweeper: Sweeper, redis: Redis) -> None:
    await enqueue(queue, NIKA, ANA)
    await queue.claim(NIKA, by("a"))
    await queue.mark_served(user_id=ANA, chat_id=chat_of(ANA))
    await end_grace(redis, NIKA)
    await end_grace(redis, ANA)
    await sweeper.sweep()
    assert set(await redis.keys("live-support:{joins}:*")) == {KEYS.queue.version, KEYS.queue.changes, KEYS.queue.swept}


async def test_a_claim_keeps_nobody_who_has_gone(queue: JoinQueue, sweeper: Sweeper, redis: Redis) -> None:
    await enqueue(queue, NIKA)
    await queue.claim(NIKA, by("a"))
    await end_grace(redis, NIKA)
    await sweeper.sweep()
    await queue.release(NIKA, by("a"))
    assert await waiting(queue) == []


async def test_a_sweep_that_moves_nobody_changes_nothing(queue: JoinQueue, sweeper: Sweeper, redis: Redis) -> None:
    await enqueue(queue, NIKA)
    await queue.mark_served(user_id=ANA, chat_id=chat_of(ANA))
    before = await version(queue)
    await end_grace(redis, ANA)
    await sweeper.sweep()
    assert await version(queue) == before


async def waiting_chat(queue: JoinQueue, store: ChatStore, number: int) -> Chat:
    """A chat whose user waits."""
    chat = await Chat.open(store, number)
    await chat.join_user()
    await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
    return chat


async def test_a_lease_that_is_over_returns_the_user_to_the_old_place(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis
) -> None:
    first, second = [await waiting_chat(queue, store, number) for number in (1, 2)]
    await queue.claim(first.user_id, by("a"))
    await sweeper.sweep()
    assert await waiting(queue) == [second.user_id], "the lease is not over"
    await end_lease(redis, first.user_id)
    await sweeper.sweep()
    assert await waiting(queue) == [first.user_id, second.user_id]
    await queue.claim(first.user_id, by("b"))


async def test_a_lease_ends_by_itself(redis_client: RedisClient, settings: Settings, store: ChatStore) -> None:
    settings = replace(settings, claim_lease_seconds=UNIT)
    queue = JoinQueue(redis_client, settings)
    sweeper = Sweeper(queue, store, settings)
    chat = await waiting_chat(queue, store, 1)
    await queue.claim(chat.user_id, by("a"))

    async def is_back() -> bool:
        await sweeper.sweep()
        return await waiting(queue) == [chat.user_id]

    await eventually(is_back)


async def test_a_support_that_joined_before_its_process_died_keeps_the_user(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis
) -> None:
    chat = await waiting_chat(queue, store, 1)
    await queue.claim(chat.user_id, by("a"))
    await chat.join_support()
    await end_lease(redis, chat.user_id)
    await sweeper.sweep()
    assert await waiting(queue) == []
    with pytest.raises(AlreadyClaimed):
        await queue.claim(chat.user_id, by("b"))


async def test_a_claimed_user_whose_chat_has_expired_is_forgotten(
    queue: JoinQueue, sweeper: Sweeper, redis: Redis
) -> None:
    await enqueue(queue, NIKA)
    await queue.claim(NIKA, by("a"))
    await end_lease(redis, NIKA)
    await sweeper.sweep()
    with pytest.raises(NotWaiting):
        await queue.claim(NIKA, by("b"))


async def test_a_long_list_is_swept_in_several_goes(queue: JoinQueue, sweeper: Sweeper, redis: Redis) -> None:
    users = [f"{number:032x}" for number in range(250)]
    await enqueue(queue, *users)
    await redis.zadd(KEYS.queue.present, dict.fromkeys(users, 1))

    async def all_forgotten() -> bool:
        await sweeper.sweep()
        return await waiting(queue) == []

    await eventually(all_forgotten)


# Redis's clock is set.


async def set_ahead(redis: Redis, key: str, user_id: str, seconds: float) -> None:
    """Do as if the clock had been set back after a user's time in a key was written."""
    assert await redis.zincrby(key, 1000 * seconds, user_id)


async def seconds_left(redis: Redis, key: str, user_id: str) -> float:
    """Until a user's time in a key is over."""
    until_ms, (now, micros) = await redis.zscore(key, user_id), await redis.time()
    assert until_ms is not None
    return float(until_ms) / 1000 - now - micros / 1e6


@pytest.mark.parametrize("seconds", [40, 3600, 10**9])
async def test_nobody_is_present_for_much_longer_than_the_grace(
    queue: JoinQueue, sweeper: Sweeper, redis: Redis, settings: Settings, seconds: float
) -> None:
    await enqueue(queue, NIKA)
    await queue.mark_served(user_id=ANA, chat_id=chat_of(ANA))
    for user_id in (NIKA, ANA):
        await set_ahead(redis, KEYS.queue.present, user_id, seconds)
    await sweeper.sweep()
    for user_id in (NIKA, ANA):
        assert await seconds_left(redis, KEYS.queue.present, user_id) <= settings.leave_grace_seconds
    assert await waiting(queue) == [NIKA]


@pytest.mark.parametrize("seconds", [5, 40, 3600, 10**9])
async def test_nobody_is_claimed_for_longer_than_the_lease(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis, settings: Settings, seconds: float
) -> None:
    chat = await waiting_chat(queue, store, 1)
    await queue.claim(chat.user_id, by("a"))
    await set_ahead(redis, KEYS.queue.leases, chat.user_id, seconds)
    await sweeper.sweep()
    assert await seconds_left(redis, KEYS.queue.leases, chat.user_id) <= settings.claim_lease_seconds
    assert await waiting(queue) == [], "it is still a claim"
    await end_lease(redis, chat.user_id)
    await sweeper.sweep()
    assert await waiting(queue) == [chat.user_id]


async def test_a_process_with_another_grace_is_not_contradicted(
    redis_client: RedisClient, settings: Settings, sweeper: Sweeper, redis: Redis
) -> None:
    """While a setting is being changed, one process after the other."""
    longer = JoinQueue(redis_client, replace(settings, leave_grace_seconds=1.9 * settings.leave_grace_seconds))
    await longer.touch([present(NIKA, 1)])
    await sweeper.sweep()
    assert await seconds_left(redis, KEYS.queue.present, NIKA) > 1.5 * settings.leave_grace_seconds


@pytest.mark.parametrize("seconds", [20, 3600])
async def test_nobody_is_forgotten_because_the_clock_leaps(
    queue: JoinQueue, sweeper: Sweeper, redis: Redis, seconds: int
) -> None:
    """Nor because Redis was away: in either case nobody could touch."""
    await enqueue(queue, NIKA, ANA)
    await sweeper.sweep()
    before = await queue.waiting_list()
    await redis.decrby(KEYS.queue.swept, 1000 * seconds)
    for user_id in (NIKA, ANA):
        await set_ahead(redis, KEYS.queue.present, user_id, -seconds)
    await sweeper.sweep()
    assert await queue.waiting_list() == before
    await end_grace(redis, NIKA)  # and is not touched in the new one either
    await sweeper.sweep()
    assert await waiting(queue) == [ANA]


async def test_sweeps_go_on_when_the_clock_is_set_back(queue: JoinQueue, sweeper: Sweeper, redis: Redis) -> None:
    await enqueue(queue, NIKA)
    await sweeper.sweep()
    await redis.incrby(KEYS.queue.swept, 3_600_000)
    await end_grace(redis, NIKA)
    await sweeper.sweep()
    assert await waiting(queue) == []

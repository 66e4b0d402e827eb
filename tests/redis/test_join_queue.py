"""JoinQueue on a real Redis: who waits, and who has won whom."""

import asyncio

import pytest
from redis.asyncio import Redis

from live_support.chats.join_queue import Claimant, JoinQueue
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from live_support.limits import Limits
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from schemas.errors import AlreadyClaimed, NotWaiting, Unavailable
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.queue import (
    ANA,
    LEO,
    NIKA,
    Reader,
    by,
    chat_of,
    end_lease,
    enqueue,
    entries,
    entry_id_of,
    number_of,
    version,
    waiting,
)
from tests.helpers.services import DEADLINE, replace

# Waiting.


async def test_users_wait_in_the_order_in_which_they_came(queue: JoinQueue) -> None:
    places = await enqueue(queue, LEO, NIKA, ANA)
    assert places == sorted(places)
    users = await entries(queue)
    assert [user.user_id for user in users] == [LEO, NIKA, ANA]
    assert [user.chat_id for user in users] == [chat_of(LEO), chat_of(NIKA), chat_of(ANA)]
    assert [user.entry_id for user in users] == sorted(user.entry_id for user in users)


async def test_a_user_who_waits_already_keeps_the_time_and_the_entry(queue: JoinQueue) -> None:
    first = await enqueue(queue, NIKA)
    before = await queue.waiting_list()
    assert await enqueue(queue, NIKA) == first
    assert await queue.waiting_list() == before


async def test_a_join_request_is_published_once(queue: JoinQueue, redis: Redis) -> None:
    async with redis.pubsub() as listener:
        await listener.subscribe(KEYS.join_channel)
        assert (await listener.get_message(timeout=DEADLINE))["type"] == "subscribe"
        await enqueue(queue, NIKA, NIKA, ANA)
        for user_id in (NIKA, ANA):
            message = await listener.get_message(timeout=DEADLINE)
            assert message["data"] == (f'{{"participant":"User","userId":"{user_id}","chatId":"{chat_of(user_id)}"}}')


async def test_a_user_whose_support_has_joined_does_not_wait(queue: JoinQueue) -> None:
    await queue.mark_served(user_id=NIKA, chat_id=chat_of(NIKA))
    assert await queue.enqueue(user_id=NIKA, chat_id=chat_of(NIKA)) is None
    assert await waiting(queue) == []


async def test_a_full_queue_takes_nobody_more(queue: JoinQueue, settings: Settings, redis_client: RedisClient) -> None:
    small = JoinQueue(redis_client, replace(settings, limits=Limits(waiting_users=2)))
    await enqueue(small, NIKA, ANA)
    with pytest.raises(Unavailable):
        await enqueue(small, LEO)
    assert await enqueue(small, NIKA), "who waits already is not refused"
    assert await waiting(queue) == [NIKA, ANA]


# Versions.


async def test_the_list_is_read_only_when_it_has_changed(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA)
    known = await version(queue)
    assert await queue.waiting_list(known_version=known) is None
    await enqueue(queue, ANA)
    changed = await queue.waiting_list(known_version=known)
    assert changed is not None
    assert [user.user_id for user in changed.users] == [ANA]
    assert changed.gone == []


async def test_every_change_but_entering_is_published(queue: JoinQueue, redis: Redis) -> None:
    async with redis.pubsub() as listener:
        await listener.subscribe(KEYS.queue.changed)
        assert (await listener.get_message(timeout=DEADLINE))["type"] == "subscribe"
        await enqueue(queue, NIKA)  # told on the channel `Join`
        for change in (
            queue.claim(NIKA, by("a")),
            queue.release(NIKA, by("a")),
            queue.mark_served(user_id=NIKA, chat_id=chat_of(NIKA)),
        ):
            await change
            message = await listener.get_message(timeout=DEADLINE)
            assert int(message["data"]) == number_of(await version(queue))


async def test_a_version_is_never_used_again_after_a_loss_of_data(queue: JoinQueue, redis: Redis) -> None:
    await enqueue(queue, NIKA)
    known = await version(queue)
    await redis.unlink(*await redis.keys("live-support:*"))
    await enqueue(queue, ANA)
    assert number_of(await version(queue)) > number_of(known)
    assert await queue.waiting_list(known_version=known) is not None


# Claims.


async def test_of_a_hundred_claims_at_once_one_wins(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA)
    claims = (queue.claim(NIKA, by(f"agent {number}")) for number in range(100))
    outcomes = await asyncio.gather(*claims, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, AlreadyClaimed) for outcome in outcomes) == 99


async def test_a_claimed_user_is_in_nobodys_list(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA, ANA)
    await queue.claim(NIKA, by("a"))
    assert await waiting(queue) == [ANA]


async def test_a_repeated_claim_is_still_won(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA)
    await queue.claim(NIKA, by("a"))
    before = await queue.waiting_list()
    await queue.claim(NIKA, by("a"))
    assert await queue.waiting_list() == before


async def test_a_claim_of_somebody_who_does_not_wait_is_refused(queue: JoinQueue) -> None:
    with pytest.raises(NotWaiting):
        await queue.claim(NIKA, by("a"))


async def test_a_claim_of_a_user_whose_support_has_joined_is_lost(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA)
    await queue.claim(NIKA, by("a"))
    await queue.mark_served(user_id=NIKA, chat_id=chat_of(NIKA))
    for name in ("a", "b"):
        with pytest.raises(AlreadyClaimed):
            await queue.claim(NIKA, by(name))


async def test_a_support_that_joins_without_a_claim_takes_the_user(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA, ANA)
    await queue.mark_served(user_id=NIKA, chat_id=chat_of(NIKA))
    assert await waiting(queue) == [ANA]


async def test_a_released_user_returns_to_the_old_place_for_a_new_stay(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA, ANA)
    entry_ids = [user.entry_id for user in await entries(queue)]
    await queue.claim(NIKA, by("a"))
    await queue.release(NIKA, by("a"))
    assert await waiting(queue) == [NIKA, ANA]
    assert await entry_id_of(queue, NIKA) > max(entry_ids)
    await queue.claim(NIKA, by("b"))


async def test_a_slow_sweeper_does_not_end_a_claim_that_was_made_anew(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis
) -> None:
    chat = await Chat.open(store)
    await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
    await queue.claim(chat.user_id, by("a"))
    await end_lease(redis, chat.user_id)
    (found,) = await queue.overdue()
    await sweeper.sweep()  # by another process, which is faster
    await queue.claim(chat.user_id, by("a"))
    await sweeper.settle(found)
    assert await waiting(queue) == []


async def test_only_the_claimant_releases(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA)
    await queue.claim(NIKA, by("a"))
    await queue.release(NIKA, by("b"))
    assert await waiting(queue) == []
    await queue.mark_served(user_id=NIKA, chat_id=chat_of(NIKA))
    await queue.release(NIKA, by("a"))
    assert await waiting(queue) == []


async def test_a_forgotten_user_may_wait_again_at_the_end(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA, ANA)
    await queue.claim(NIKA, by("a"))
    await queue.forget(NIKA)
    with pytest.raises(NotWaiting):
        await queue.claim(NIKA, by("a"))
    await enqueue(queue, NIKA)
    assert await waiting(queue) == [ANA, NIKA]


# An agent with a token holds the user while joining the chat.


async def claim_for_join(queue: JoinQueue, agent_id: str, connection: str, chat_id: str = chat_of(NIKA)) -> bool:
    return await queue.claim_for_join(NIKA, Claimant(agent_id, connection), chat_id=chat_id)


async def test_holding_a_user_is_a_claim(queue: JoinQueue) -> None:
    await enqueue(queue, NIKA)
    assert await claim_for_join(queue, "vika", "one")
    assert await claim_for_join(queue, "vika", "one")  # the reply was lost
    assert not await claim_for_join(queue, "vika", "two")
    with pytest.raises(AlreadyClaimed):
        await queue.claim(NIKA, by("ana:two"))
    with pytest.raises(AlreadyClaimed):
        await claim_for_join(queue, "ana", "three")
    with pytest.raises(AlreadyClaimed):
        await claim_for_join(queue, "vik", "four")  # the beginning of a name is another name


@pytest.mark.parametrize("ends", ["refused", "lease over"])
async def test_nobody_sees_a_user_being_held(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis, ends: str
) -> None:
    chat = await Chat.open(store)
    await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
    before = await queue.waiting_list()
    for _ in range(2):
        assert await queue.claim_for_join(chat.user_id, by("vika:one"), chat_id=chat.chat_id)
        assert await queue.waiting_list() == before
        if ends == "refused":
            await queue.release_for_join(chat.user_id, by("vika:one"))
        else:
            await end_lease(redis, chat.user_id)
            await sweeper.sweep()
        assert await queue.waiting_list() == before
    await queue.claim(chat.user_id, by("ana:two"))


async def test_a_change_while_a_user_is_held_hides_nobody(queue: JoinQueue) -> None:
    reader = Reader(queue)
    await enqueue(queue, NIKA, ANA)
    before = await reader.read()
    await queue.claim(NIKA, by("a"))
    await queue.release(NIKA, by("a"))
    assert await claim_for_join(queue, "vika", "one")
    after = await reader.read()
    assert [user.user_id for user in after] == [user.user_id for user in before]
    await queue.release_for_join(NIKA, by("vika:one"))
    assert await reader.read() == after


async def test_a_claim_whose_lease_is_over_is_taken_over(queue: JoinQueue, redis: Redis) -> None:
    await enqueue(queue, NIKA)
    await queue.claim(NIKA, by("vika:one"))
    assert await waiting(queue) == []
    await end_lease(redis, NIKA)
    assert await claim_for_join(queue, "ana", "two")
    await queue.release(NIKA, by("vika:one"))  # comes too late
    with pytest.raises(AlreadyClaimed):
        await claim_for_join(queue, "vika", "one")
    assert await waiting(queue) == [NIKA], "it is back, and held"


async def test_who_does_not_wait_in_this_chat_is_not_held(queue: JoinQueue) -> None:
    assert not await claim_for_join(queue, "vika", "one")
    await enqueue(queue, NIKA)
    assert not await claim_for_join(queue, "vika", "one", chat_id=chat_of(ANA))
    assert await waiting(queue) == [NIKA]

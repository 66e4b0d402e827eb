"""What becomes of the queue when Redis loses a part of it, as one that evicts keys does: it is skipped, and healed."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest
from redis.asyncio import Redis

from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from schemas.errors import AlreadyClaimed, NotWaiting
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.queue import Reader, by, end_grace, entries, entry_id_of
from tests.redis.machines import check_entries, check_queue_keys

NAMES = [name for name in KEYS.queue._fields if name != "changed"]


class People(NamedTuple):
    """One user of each kind."""

    waits: Chat
    claimed: Chat
    served: Chat
    other: Chat
    """Waits as well, and nothing is lost of this one."""

    presences: list[Presence]
    """What the process says to which they are connected."""


async def people(queue: JoinQueue, store: ChatStore) -> People:
    chats = [await Chat.open(store, number) for number in range(1, 5)]
    times: list[int | None] = []
    for chat in chats:
        await chat.join_user()
        times.append(await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id))
    waits, claimed, served, other = chats
    await queue.claim(claimed.user_id, by("a"))
    await served.join_support()
    await queue.mark_served(user_id=served.user_id, chat_id=served.chat_id)
    times[2] = None
    presences = [Presence(chat.user_id, chat.chat_id, time) for chat, time in zip(chats, times, strict=True)]
    return People(waits, claimed, served, other, presences)


async def lose_key(redis: Redis, name: str, _: str) -> None:
    await redis.delete(getattr(KEYS.queue, name))


async def lose_entry(redis: Redis, name: str, user_id: str) -> None:
    key = getattr(KEYS.queue, name)
    await (redis.hdel(key, user_id) if name in {"chats", "stays", "claims", "entries"} else redis.zrem(key, user_id))


Lose = Callable[[Redis, str, str], Awaitable[None]]
LOSSES: list[tuple[str, Lose, str]] = [
    *((name, lose_key, "waits") for name in NAMES),
    *((name, lose_entry, "waits") for name in ("waiting", "present", "chats", "stays", "entries")),
    *((name, lose_entry, "claimed") for name in ("waiting", "leases", "present", "chats", "stays", "claims")),
    *((name, lose_entry, "served") for name in ("present", "chats", "entries")),
]
IDS = [f"{name} {'whole' if lose is lose_key else 'of who ' + who}" for name, lose, who in LOSSES]


@pytest.mark.parametrize(("name", "lose", "who"), LOSSES, ids=IDS)
async def test_a_part_that_is_lost_closes_nothing_and_is_healed(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis, name: str, lose: Lose, who: str
) -> None:
    them = await people(queue, store)
    reader = Reader(queue)
    await reader.read()
    await lose(redis, name, getattr(them, who).user_id)

    # Nothing fails, and a single loss hides nobody else.
    newcomer = await Chat.open(store, 9)
    queued_at_us = await queue.enqueue(user_id=newcomer.user_id, chat_id=newcomer.chat_id)
    presences = [*them.presences, Presence(newcomer.user_id, newcomer.chat_id, queued_at_us)]
    for each in (reader, Reader(queue)):
        shown = {user.user_id for user in await each.read()}
        assert newcomer.user_id in shown
        assert them.served.user_id not in shown
        if lose is lose_entry:
            assert them.other.user_id in shown

    # One round of both, in whichever order.
    await sweeper.sweep()
    await queue.touch(presences)
    await sweeper.sweep()
    await check_queue_keys(redis)
    await check_entries(redis)
    expected = {them.waits.user_id, them.other.user_id, newcomer.user_id}
    claim_is_lost = name in {"leases", "claims"}
    if claim_is_lost:
        expected.add(them.claimed.user_id)
    for each in (reader, Reader(queue)):
        users = await each.read()
        assert users == await entries(queue)
        assert {user.user_id for user in users} == expected
        assert [user.queued_at_us for user in users] == sorted(
            presence.queued_at_us for presence in presences if presence.user_id in expected and presence.queued_at_us
        )

    # And all works as ever.
    if not claim_is_lost:
        await queue.release(them.claimed.user_id, by("a"))
    for chat in (them.waits, them.claimed, them.other):
        await queue.claim(chat.user_id, by("b"))
    with pytest.raises(AlreadyClaimed):
        await queue.claim(them.served.user_id, by("b"))
    assert {user.user_id for user in await reader.read()} == {newcomer.user_id}


@pytest.mark.parametrize("name", ["present", "chats", "stays", "waiting", "entries"])
async def test_whoever_has_gone_meanwhile_is_forgotten(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis, name: str
) -> None:
    """No process touches the user any more who could tell what was lost."""
    them = await people(queue, store)
    await lose_entry(redis, name, them.waits.user_id)
    await sweeper.sweep()
    await end_grace(redis, them.waits.user_id)
    await sweeper.sweep()
    with pytest.raises(NotWaiting):
        await queue.claim(them.waits.user_id, by("b"))
    for key in NAMES:
        if key in {"waiting", "leases", "present"}:
            assert await redis.zscore(getattr(KEYS.queue, key), them.waits.user_id) is None
        elif key not in {"version", "changes", "swept"}:
            assert not await redis.hexists(getattr(KEYS.queue, key), them.waits.user_id)


async def test_a_user_whose_entry_id_was_lost_has_another_one(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis
) -> None:
    """So that who has it in the list does not wonder whether it is the old one."""
    them = await people(queue, store)
    before = await entry_id_of(queue, them.waits.user_id)
    await lose_entry(redis, "stays", them.waits.user_id)
    await sweeper.sweep()
    assert await entry_id_of(queue, them.waits.user_id) > before


@pytest.mark.parametrize("value", ["", "x", "1e3", "-1", "nan", '["waiting"]', '["waiting","{chat}","1",x]'])
@pytest.mark.parametrize("name", ["stays", "chats", "entries"])
async def test_what_is_no_entry_is_healed_as_well(
    queue: JoinQueue, store: ChatStore, redis: Redis, name: str, value: str
) -> None:
    them = await people(queue, store)
    await redis.hset(getattr(KEYS.queue, name), them.waits.user_id, value.replace("{chat}", them.waits.chat_id))
    assert them.other.user_id in {user.user_id for user in await entries(queue)}
    await queue.touch(them.presences)
    (healed,) = [user for user in await entries(queue) if user.user_id == them.waits.user_id]
    assert healed.chat_id == them.waits.chat_id
    assert them.other.user_id in {user.user_id for user in await entries(queue)}


@pytest.mark.parametrize("name", ["waiting", "stays", "chats", "entries"])
async def test_who_comes_again_before_a_round_waits(
    queue: JoinQueue, store: ChatStore, sweeper: Sweeper, redis: Redis, name: str
) -> None:
    them = await people(queue, store)
    await lose_entry(redis, name, them.waits.user_id)
    assert await queue.enqueue(user_id=them.waits.user_id, chat_id=them.waits.chat_id) is not None
    await sweeper.sweep()
    assert them.waits.user_id in {user.user_id for user in await entries(queue)}

"""A process of the previous release and one of this release, on the same chats and the same queue."""

import json
from typing import Any

import pytest
from hypothesis.stateful import rule
from redis.asyncio import Redis

from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from schemas.errors import AlreadyClaimed, Forbidden, NotWaiting
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.previous_release import PreviousQueue, PreviousStore
from tests.helpers.queue import ANA, LEO, NIKA, Reader, by, chat_of, end_grace, enqueue, entries, waiting
from tests.redis.machines import check_entries, check_queue_keys, run_machine
from tests.redis.test_queue_model import QueueMachine


@pytest.fixture
def previous(redis_client: RedisClient, settings: Settings) -> PreviousQueue:
    return PreviousQueue(redis_client, settings)


@pytest.fixture
def previous_store(redis_client: RedisClient, settings: Settings) -> PreviousStore:
    return PreviousStore(redis_client, settings)


async def entry_of(redis: Redis, user_id: str) -> Any:
    entry = await redis.hget(KEYS.queue.entries, user_id)
    return entry and json.loads(entry)


def both_ways(previous: PreviousQueue, queue: JoinQueue) -> list[tuple[JoinQueue, JoinQueue]]:
    return [(previous, queue), (queue, previous)]


@pytest.mark.parametrize("way", [0, 1], ids=["previous enters", "this enters"])
async def test_what_one_release_writes_the_other_reads(previous: PreviousQueue, queue: JoinQueue, way: int) -> None:
    one, other = both_ways(previous, queue)[way]
    reader = Reader(other)
    await enqueue(one, NIKA, ANA, LEO)
    assert await reader.read() == await entries(one)
    await one.claim(NIKA, by("a"))
    with pytest.raises(AlreadyClaimed):
        await other.claim(NIKA, by("b"))
    await other.claim(NIKA, by("a"))
    await other.release(NIKA, by("a"))
    await one.mark_served(user_id=ANA, chat_id=chat_of(ANA))
    with pytest.raises(AlreadyClaimed):
        await other.claim(ANA, by("b"))
    assert await other.enqueue(user_id=ANA, chat_id=chat_of(ANA)) is None
    await one.forget(LEO)
    with pytest.raises(NotWaiting):
        await other.claim(LEO, by("b"))
    assert [user.user_id for user in await reader.read()] == await waiting(one) == [NIKA]


@pytest.mark.parametrize("way", [0, 1], ids=["previous claims", "this claims"])
async def test_a_claim_for_a_join_holds_in_both_releases(previous: PreviousQueue, queue: JoinQueue, way: int) -> None:
    one, other = both_ways(previous, queue)[way]
    await enqueue(one, NIKA)
    chat_id = chat_of(NIKA)
    assert await one.claim_for_join(NIKA, by("vika:one"), chat_id=chat_id)
    assert await other.claim_for_join(NIKA, by("vika:one"), chat_id=chat_id)
    assert not await other.claim_for_join(NIKA, by("vika:two"), chat_id=chat_id)
    with pytest.raises(AlreadyClaimed):
        await other.claim_for_join(NIKA, by("ana:three"), chat_id=chat_id)
    assert await waiting(other) == [NIKA], "nobody is told"
    await other.release_for_join(NIKA, by("vika:one"))
    assert await one.claim_for_join(NIKA, by("ana:three"), chat_id=chat_id)


async def test_an_entry_that_the_previous_release_has_changed_is_brought_in_step(
    previous: PreviousQueue, queue: JoinQueue, redis: Redis
) -> None:
    await enqueue(queue, NIKA)
    (queued_at_us,) = await enqueue(previous, ANA)
    assert await entry_of(redis, ANA) is None
    await previous.mark_served(user_id=NIKA, chat_id=chat_of(NIKA))
    assert (await entry_of(redis, NIKA))[0] == "waiting", "that release does not know it"
    await queue.touch([Presence(NIKA, chat_of(NIKA), None), Presence(ANA, chat_of(ANA), queued_at_us)])
    await check_queue_keys(redis)
    await check_entries(redis)


async def test_an_entry_that_the_previous_release_has_left_behind_is_swept(
    previous: PreviousQueue, queue: JoinQueue, sweeper: Sweeper, redis: Redis
) -> None:
    await enqueue(queue, NIKA, ANA)
    await previous.forget(NIKA)
    assert await entry_of(redis, NIKA) is not None
    await sweeper.sweep()
    await check_entries(redis)
    await end_grace(redis, ANA)
    await previous.overdue()
    await sweeper.sweep()
    assert not await redis.exists(KEYS.queue.entries)


@pytest.mark.parametrize("more", [',"Nika"', ',{"page":[]},1700000000000001,null'])
async def test_what_a_later_release_adds_to_an_entry_is_kept_for_as_long_as_the_chat(
    queue: JoinQueue, redis: Redis, more: str
) -> None:
    async def added(user_id: str) -> str:
        entry = str(await redis.hget(KEYS.queue.entries, user_id))
        head = json.dumps(json.loads(entry)[:3], separators=(",", ":"))[:-1]
        return entry.removeprefix(head).removesuffix("]")

    (queued_at_us,) = await enqueue(queue, NIKA)
    entry = str(await redis.hget(KEYS.queue.entries, NIKA))
    entry = entry.replace('"waiting"', '"handed_over"')  # nor does the name of a state matter
    await redis.hset(KEYS.queue.entries, NIKA, entry.removesuffix("]") + more + "]")
    await queue.claim(NIKA, by("a"))
    await queue.release(NIKA, by("a"))
    assert await waiting(queue) == [NIKA]
    await queue.touch([Presence(NIKA, chat_of(NIKA), queued_at_us)])
    assert await added(NIKA) == more
    await queue.mark_served(user_id=NIKA, chat_id=chat_of(NIKA))
    assert await added(NIKA) == more
    await queue.mark_served(user_id=NIKA, chat_id=chat_of(ANA))
    assert await added(NIKA) == ""


class MixedMachine(QueueMachine):
    """Each step is taken by a process of the one or of the other release; the model is the same."""

    def __init__(self) -> None:
        super().__init__()
        self.other = PreviousQueue(self.redis, self.settings), Sweeper(self.queue, self.store, self.settings)
        self.other[1]._queue = self.other[0]

    @rule()
    def the_other_release_goes_on(self) -> None:
        (self.queue, self.sweeper), self.other = self.other, (self.queue, self.sweeper)

    def check_entries(self) -> None:
        """They are in step only after a round of this release."""

    def teardown(self) -> None:
        if isinstance(self.queue, PreviousQueue):
            self.the_other_release_goes_on()
        known = [user for user in self.users if user.known]
        times = [user.queued_at_us if user.waiting else None for user in known]
        chats = [(user.chat.user_id, user.chat.chat_id) for user in known]
        self.run(self.queue.touch(Presence(*chat, time) for chat, time in zip(chats, times, strict=True)))
        self.run(self.sweeper.sweep())
        self.run(check_entries(self.client))
        super().teardown()


@pytest.mark.timeout(600)
def test_the_queue_does_as_the_model_with_both_releases_at_work(redis_url: str) -> None:
    run_machine(MixedMachine, redis_url, examples=60, steps=40)


# Chats.


async def test_a_chat_of_the_previous_release_goes_on_in_this_one(
    store: ChatStore, previous_store: PreviousStore, redis: Redis
) -> None:
    meta = KEYS.chat((await Chat.open(previous_store)).chat_id).meta
    old = await Chat.open(previous_store)
    new = old._replace(store=store)
    await old.join_user()
    assert await redis.hget(meta, "state") is None
    await new.say("one")
    snapshot = await new.join_user("u2")
    assert snapshot.state == await redis.hget(meta, "state") == "waiting"
    await old.join_support()
    await new.say("two", sender="Support")
    assert (await new.join_user("u3")).state == await redis.hget(meta, "state") == "active"
    await redis.hset(meta, "supportId", ANA)
    with pytest.raises(Forbidden):
        await new.say("three", sender="Support")


async def test_a_chat_of_this_release_goes_on_in_the_previous_one(
    store: ChatStore, previous_store: PreviousStore, redis: Redis
) -> None:
    new = await Chat.open(store)
    old = new._replace(store=previous_store)
    assert (await old.join_user()).state == "waiting"
    await old.say("one", connection="u1")
    await new.say("two", connection="u1", number=2)
    await old.say("two", connection="u1", number=2)  # sent again
    assert (await new.join_support()).first
    assert not (await old.join_user("u2")).waiting
    await old.say("three", sender="Support", connection="s1")
    await new.say("four", sender="Support", connection="s1", number=2)
    assert [entry.kind for entry in await new.log()].count(b"ChatMessage") == 4
    assert await redis.hget(KEYS.chat(new.chat_id).meta, "state") == "active"


@pytest.mark.given(waiting_ttl_seconds=5000)
async def test_a_user_whom_the_previous_release_let_wait_has_the_time_of_one_who_waits(
    store: ChatStore, previous_store: PreviousStore
) -> None:
    for opened_by in (store, previous_store):
        chat = await Chat.open(opened_by, 1 if opened_by is store else 2)
        await chat._replace(store=previous_store).join_user()
        await chat._replace(store=store).say("hey")
        remaining = await store.remaining_ms(chat.chat_id)
        assert remaining is not None
        assert remaining > 4_000_000

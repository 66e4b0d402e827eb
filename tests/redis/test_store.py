"""ChatStore on a real Redis: who may join, and what the log holds."""

import asyncio
import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis as Client

from live_support.chats.keys import said_field
from live_support.chats.store import _JOINS_AT_ONCE, ChatStore
from live_support.limits import Limits
from live_support.rate import Rate
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.settings import Settings
from schemas.codec import encode
from schemas.entry import Entry
from schemas.errors import (
    AlreadyClaimed,
    ChatFull,
    ChatGone,
    CloseCode,
    Forbidden,
    InvalidFrame,
    RateLimited,
    Unavailable,
)
from schemas.messages import StoredMessage
from tests.helpers.chats import VIKA, Chat, hex_id
from tests.helpers.keys import KEYS
from tests.helpers.services import DEADLINE, replace


class Ignoring:
    """A listener that nobody asks what it has heard."""

    def publication(self, payload: bytes) -> None:
        pass

    def missed(self) -> None:
        pass


@pytest.fixture
async def chat(store: ChatStore) -> Chat:
    return await Chat.open(store)


def kinds(entries: list[Entry]) -> list[str]:
    return [entry.kind.decode() for entry in entries]


def messages(entries: list[Entry]) -> list[dict[str, Any]]:
    return [json.loads(entry.body) for entry in entries if entry.kind == b"ChatMessage"]


# Joining.


async def test_the_first_join_of_a_user_is_told_to_all(chat: Chat) -> None:
    snapshot = await chat.join_user()
    assert snapshot.first
    assert snapshot.waiting
    assert snapshot.entries == [Entry(1, b"Joined", b'{"participant":"User","userId":"%s"}' % chat.user_id.encode())]


async def test_a_further_join_of_a_user_is_told_to_nobody(chat: Chat) -> None:
    first = await chat.join_user("u1")
    again = await chat.join_user("u2")
    assert not again.first
    assert again.entries == first.entries


async def test_a_repeated_join_of_a_connection_is_answered_in_the_same_way(chat: Chat) -> None:
    for join in (chat.join_user, chat.join_support):
        assert await join() == await join()
    assert kinds(await chat.log()) == ["Joined", "Joined"]


async def test_a_support_joins_and_joins_again(chat: Chat) -> None:
    first = await chat.join_support("s1")
    again = await chat.join_support("s2", support_id=VIKA, new_id=hex_id(2), name="")
    assert (first.first, first.support_id, first.support_user_name) == (True, VIKA, "Vika")
    assert (again.first, again.support_id, again.support_user_name) == (False, VIKA, "Vika")
    assert kinds(await chat.log()) == ["Joined"]


async def test_a_user_does_not_wait_in_a_chat_that_has_a_support(chat: Chat) -> None:
    await chat.join_support()
    snapshot = await chat.join_user()
    assert snapshot.first
    assert not snapshot.waiting


async def test_one_of_many_supports_gets_the_chat(chat: Chat) -> None:
    attempts = [chat.join_support(f"s{number}", new_id=hex_id(number)) for number in range(50)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, AlreadyClaimed) for outcome in outcomes) == 49
    assert kinds(await chat.log()) == ["Joined"]


@pytest.mark.parametrize(
    "join",
    [
        pytest.param(lambda chat: chat.join_user(user_id=hex_id(7)), id="another user"),
        pytest.param(lambda chat: chat.join_support(user_id=hex_id(7)), id="a Support of another user"),
        pytest.param(lambda chat: chat.join_support(support_id=VIKA), id="a Support that never joined"),
    ],
)
async def test_a_join_with_wrong_ids_is_forbidden(chat: Chat, join: Any) -> None:
    with pytest.raises(Forbidden):
        await join(chat)
    assert await chat.log() == []


async def test_a_support_with_another_id_than_the_chats_is_forbidden(chat: Chat) -> None:
    await chat.join_support()
    with pytest.raises(Forbidden):
        await chat.join_support("s2", support_id=hex_id(7))


@pytest.mark.given(chat_max_messages=10_000)
async def test_tabs_that_join_a_full_chat_at_once_do_not_cost_the_connection(
    store: ChatStore, redis_client: RedisClient, settings: Settings
) -> None:
    """With subscriptions Redis lets it owe 32 MB; these histories are 64 MB."""
    hub = Hub(redis_client, settings)
    chat = await Chat.open(store)
    hub.subscribe(KEYS.chat(chat.chat_id).live, Ignoring(), sharded=True)
    for begin in range(0, 2000, 100):
        await asyncio.gather(*(chat.say(f"{number:03}" + "x" * 3900) for number in range(begin, begin + 100)))
    connection = await redis_client.run("CLIENT", "ID")

    async def joins(tab: str) -> list[bytes]:
        snapshot = await chat.join_user(tab)
        assert snapshot.entries is None
        return [body async for piece in store.messages(chat.chat_id, snapshot) for body in piece]

    histories = await asyncio.gather(*(joins(f"u{number}") for number in range(8)))
    assert await redis_client.run("CLIENT", "ID") == connection
    said = [entry.body for entry in await chat.log() if entry.kind == b"ChatMessage"]
    assert len(said) == 2000
    assert histories == [said] * 8


async def test_a_first_support_needs_a_name(chat: Chat) -> None:
    with pytest.raises(InvalidFrame):
        await chat.join_support(name="")


async def test_a_support_that_may_not_have_heard_its_id_comes_in_again(chat: Chat) -> None:
    """Its connection was lost, perhaps before `Joined` reached it: without the id it could never come back."""
    assert (await chat.join_support("s1")).first
    await chat.store.leave(chat.chat_id, "Support", "s1")
    for _ in ("and", "the reply was lost"):
        again = await chat.join_support("s2", new_id=hex_id(2))
        assert (again.first, again.support_id) == (True, VIKA)
    assert kinds(await chat.log()) == ["Joined"]


async def test_a_support_with_a_token_comes_in_again_at_any_time(chat: Chat) -> None:
    """Whatever it has said and whoever of it is there; the token tells who it is, so it needs no name either."""
    await chat.join_support("s1", agent_id="vika")
    await chat.say("hey", sender="Support")
    for name in ("Vika", "Victoria", ""):
        again = await chat.join_support("s2", new_id=hex_id(2), name=name, agent_id="vika")
        assert (again.first, again.support_id, again.support_user_name) == (True, VIKA, "Vika")
    assert kinds(await chat.log()) == ["Joined", "ChatMessage"]


@pytest.mark.parametrize(("joined_as", "comes_as"), [("vika", "ana"), ("vika", ""), ("", "vika")])
async def test_a_support_with_another_token_is_another_one(chat: Chat, joined_as: str, comes_as: str) -> None:
    await chat.join_support("s1", agent_id=joined_as)
    await chat.store.leave(chat.chat_id, "Support", "s1")
    with pytest.raises(AlreadyClaimed):
        await chat.join_support("s2", new_id=hex_id(2), agent_id=comes_as)


async def test_whoever_spoke_before_messages_were_counted_may_have_been_the_support(chat: Chat, client: Client) -> None:
    """As in a rolling upgrade: a process of the version before stores messages, and does not say whose they are."""
    await chat.join_support("s1")
    await chat.store.leave(chat.chat_id, "Support", "s1")
    await chat.say("hey")
    await client.hincrby(KEYS.chat(chat.chat_id).meta, "messages", 1)
    await chat.say("hey")
    with pytest.raises(AlreadyClaimed):
        await chat.join_support("s2", new_id=hex_id(2))


@pytest.mark.parametrize("reason", ["it is there", "it has spoken", "it has another name"])
async def test_a_support_without_its_id_is_another_one_if(chat: Chat, reason: str) -> None:
    await chat.join_support("s1")
    if reason == "it has spoken":
        await chat.say("hey", sender="Support")
    if reason != "it is there":
        await chat.store.leave(chat.chat_id, "Support", "s1")
    with pytest.raises(AlreadyClaimed):
        await chat.join_support("s2", new_id=hex_id(2), name="Mila" if reason == "it has another name" else "Vika")


async def test_what_a_user_writes_does_not_make_a_support_speak(chat: Chat) -> None:
    await chat.join_support("s1")
    await chat.say('"from":"Support"')
    await chat.store.leave(chat.chat_id, "Support", "s1")
    assert (await chat.join_support("s2", new_id=hex_id(2))).support_id == VIKA


@pytest.mark.parametrize("token", [None, "", "wrong"])
async def test_a_chat_with_a_token_opens_to_that_token_only(store: ChatStore, token: str | None) -> None:
    chat = await Chat.open(store, token="right")  # noqa: S106
    with pytest.raises(Forbidden):
        await chat.join_user(token=token)
    assert (await chat.join_user(token="right")).first  # noqa: S106


async def test_the_token_itself_is_not_stored(store: ChatStore, client: Client) -> None:
    chat = await Chat.open(store, token="right")  # noqa: S106
    assert b"right" not in (await client.hgetall(KEYS.chat(chat.chat_id).meta)).values()


@pytest.fixture
async def small_chat(redis_client: RedisClient, settings: Settings) -> Chat:
    """A chat in which each participant may have two connections."""
    return await Chat.open(ChatStore(redis_client, replace(settings, limits=Limits(connections_per_participant=2))))


async def replaced_in(chat: Chat) -> list[bytes]:
    return [entry.body for entry in await chat.log() if entry.kind == b"Replaced"]


async def test_the_oldest_connection_makes_room(small_chat: Chat) -> None:
    for connection in ("u1", "u2", "u3", "u4"):
        await small_chat.join_user(connection)
    assert await replaced_in(small_chat) == [b"u1", b"u2"]


async def test_connections_of_the_other_participant_take_no_room(small_chat: Chat) -> None:
    await small_chat.join_support("s1")
    await small_chat.join_support("s2", support_id=VIKA, new_id=hex_id(2))
    await small_chat.join_user("u1")
    await small_chat.join_user("u2")
    assert await replaced_in(small_chat) == []


async def test_connections_that_have_left_take_no_room(small_chat: Chat) -> None:
    for connection in ("u1", "u2", "u3", "u4"):
        await small_chat.join_user(connection)
        await small_chat.store.leave(small_chat.chat_id, "User", connection)
    assert await replaced_in(small_chat) == []


async def test_a_log_does_not_grow_for_ever_by_connections_that_come_and_replace_others(
    redis_client: RedisClient, settings: Settings
) -> None:
    limits = Limits(connections_per_participant=1, replaced_connections=10)
    chat = await Chat.open(ChatStore(redis_client, replace(settings, limits=limits)))
    joined = [f"u{number}" for number in range(10)]
    for connection in joined:
        await chat.join_user(connection)
    with pytest.raises(ChatFull) as refused:
        await chat.join_user("one too many")
    assert refused.value.close == CloseCode.TRY_AGAIN_LATER
    assert await replaced_in(chat) == [connection.encode() for connection in joined[:-1]]
    await chat.say("Those who are in go on.")
    await chat.store.leave(chat.chat_id, "User", joined[-1])
    await chat.join_user("one when there is room")


async def test_a_join_replaces_nobody_before_it_is_sure_to_succeed(small_chat: Chat) -> None:
    for connection in ("u1", "u2"):
        await small_chat.join_user(connection)
    for connection in ("u3", "u4", "u5", "u6"):
        assert (await small_chat.join_user(connection, room=False)).full
        await small_chat.store.leave(small_chat.chat_id, "User", connection)
    assert await replaced_in(small_chat) == []


async def test_whoever_was_replaced_replaces_nobody(small_chat: Chat) -> None:
    """A join that is slow to make room, and is the oldest by then."""
    for connection in ("u1", "u2", "u3"):
        await small_chat.join_user(connection, room=False)
    for connection in ("u4", "u5"):
        await small_chat.join_user(connection)
    assert await replaced_in(small_chat) == [b"u1", b"u2", b"u3"]
    await small_chat.make_room("User", "u3")
    assert await replaced_in(small_chat) == [b"u1", b"u2", b"u3"]


async def test_nobody_is_replaced_in_a_chat_that_is_gone(small_chat: Chat, client: Client) -> None:
    for connection in ("u1", "u2", "u3"):
        await small_chat.join_user(connection, room=False)
    await client.delete(*KEYS.chat(small_chat.chat_id))
    await small_chat.make_room("User", "u3")
    assert await small_chat.is_gone()
    assert not await client.exists(*KEYS.chat(small_chat.chat_id))


# How often a chat may be joined.

seldom = pytest.mark.given(chat_join_rate=Rate("3/hour"))


@seldom
async def test_a_chat_is_joined_only_so_often(store: ChatStore) -> None:
    chat, other = await Chat.open(store), await Chat.open(store, 2)
    await chat.join_support("s1")
    for connection in ("u1", "u2"):
        await chat.join_user(connection)
    for join in (chat.join_user("u3"), chat.join_support("s2", support_id=VIKA, new_id=hex_id(2))):
        with pytest.raises(RateLimited) as refused:
            await join
        assert refused.value.close == CloseCode.RATE_LIMITED
        assert 0 < (refused.value.retry_after_ms or 0) <= 1_200_000
    assert await chat.store.support_id(chat.chat_id) == VIKA
    await chat.say("Whoever is in goes on.")
    await other.join_user("u1")


@seldom
async def test_a_repeated_join_counts_once(store: ChatStore) -> None:
    chat = await Chat.open(store)
    for connection in ("u1", "u2", "u3"):
        for _ in range(5):
            await chat.join_user(connection)


@seldom
async def test_refused_joins_do_not_use_up_those_of_the_participants(store: ChatStore) -> None:
    chat = await Chat.open(store)
    for _ in range(5):
        with pytest.raises(Forbidden):
            await chat.join_user(user_id=hex_id(7))
        with pytest.raises(InvalidFrame):
            await chat.join_support(name="")
    for connection in ("u1", "u2", "u3"):
        await chat.join_user(connection)
    for _ in range(5):
        with pytest.raises(RateLimited):
            await chat.join_user("u4")


@pytest.mark.given(chat_join_rate=Rate("20/second"))
async def test_joins_come_back_with_time(store: ChatStore) -> None:
    chat = await Chat.open(store)
    with pytest.raises(RateLimited) as refused:  # noqa: PT012 - how soon depends on the machine
        for number in range(1000):
            await chat.join_user(f"u{number}")
    await asyncio.sleep((refused.value.retry_after_ms or 0) / 1000)
    await chat.join_user("later")


@seldom
@pytest.mark.parametrize("hours", [2, 24])
async def test_a_clock_that_was_set_back_keeps_nobody_out(store: ChatStore, client: Client, hours: int) -> None:
    chat = await Chat.open(store)
    for connection in ("u1", "u2", "u3"):
        await chat.join_user(connection)
    joins = await client.hget(KEYS.chat(chat.chat_id).meta, "joins")
    assert joins is not None
    await client.hset(KEYS.chat(chat.chat_id).meta, "joins", int(joins) + hours * 3_600_000_000)
    await chat.join_user("u4")


# What a full chat costs.


@pytest.mark.parametrize(("content", "count"), [("hi there", 4990), ("\U0001f642" * 3990, 518)])
async def test_no_join_keeps_redis_busy_with_a_full_chat(chat: Chat, client: Client, content: str, count: int) -> None:
    await chat.join_user()
    for begin in range(0, count, 100):
        await asyncio.gather(*(chat.say(content) for _ in range(min(100, count - begin))))
    await client.config_set("slowlog-log-slower-than", 0)
    await client.config_set("slowlog-max-len", 1000)
    try:
        await client.slowlog_reset()
        for number in range(5):
            await chat.join_user(f"u{number}")
            await chat.join_support(f"s{number}", new_id=hex_id(number))
            await chat.store.leave(chat.chat_id, "Support", f"s{number}")
        for number in range(5, 10):  # each in the place of another
            await chat.join_user(f"u{number}")
        await chat.say("hey")
        await chat.log()
        log = await client.slowlog_get(1000)
    finally:
        await client.config_set("slowlog-log-slower-than", 10_000)
    fastest: dict[bytes, int] = {}
    for entry in log:
        if KEYS.chat(chat.chat_id).meta.encode() in entry["command"]:  # and not a probe of the client's
            name = b" ".join(entry["command"].split()[:2])
            fastest[name] = min(entry["duration"], fastest.get(name, 10**9))
    scripts = [microseconds for name, microseconds in fastest.items() if name.startswith(b"EVALSHA")]
    assert len(scripts) == 3  # join, replace, append
    # The fastest of each: a busy machine may interrupt any of them.
    assert max(scripts) < 2000, fastest


# Talking.


async def test_a_message_is_stored_and_published_with_its_time(chat: Chat, client: Client) -> None:
    async with client.pubsub() as listener:
        await listener.ssubscribe(KEYS.chat(chat.chat_id).live)
        assert (await listener.get_message(timeout=DEADLINE))["type"] == "ssubscribe"
        await chat.say("hey")
        published = await listener.get_message(timeout=DEADLINE)
    (entry,) = await chat.log()
    assert published["data"] == b"%d %s %s" % (entry.offset, entry.kind, entry.body)
    (stored,) = messages([entry])
    assert stored["content"] == "hey"
    age = datetime.now(UTC) - datetime.fromisoformat(stored["timestamp"])
    assert abs(age.total_seconds()) < 60


async def test_a_repeated_append_stores_once(chat: Chat) -> None:
    """As long as it may be sent again: until so many later ones of its connection are under way."""
    window = Limits().replay_window_messages
    first, later = list(range(1, window + 1)), list(range(2, window + 2))
    for number in (*first, *reversed(first), *later, *reversed(later)):
        await chat.say(str(number), connection="u1", number=number)
    await chat.say("1", connection="u2", number=1)
    assert [message["content"] for message in messages(await chat.log())] == [*map(str, first), str(window + 1), "1"]


@pytest.mark.parametrize(
    ("order", "stored"),
    [
        ([33, 1, 33], [33]),
        ([1, 3, 2, 3, 4, 2], [1, 3, 4]),
        ([2, 1, 2], [2]),
        ([5, 4, 3, 2, 1, 6, 5], [5, 6]),
        ([1, 40, 39, 8, 2, 1, 41, 40], [1, 40, 41]),
        ([10, 99, 98, 10, 200, 99], [10, 99, 200]),
    ],
)
async def test_what_comes_after_a_later_message_of_its_connection_is_refused(
    chat: Chat, order: list[int], stored: list[int]
) -> None:
    """As when an old connection's data comes after the new one's, or Redis has refused one of many for a moment."""
    outcomes: dict[int, set[bool]] = {}
    for number in order:
        try:
            await chat.say(str(number), connection="u1", number=number)
            outcomes.setdefault(number, set()).add(True)
        except Unavailable:
            outcomes.setdefault(number, set()).add(False)
    assert [int(message["content"]) for message in messages(await chat.log())] == stored
    # A repeated one hears that it is stored, unless so many came after it that nobody waits for it any more.
    assert {number for number, outcome in outcomes.items() if True in outcome} == set(stored)


async def test_a_chat_does_not_grow_with_what_it_knows_of_a_connection(chat: Chat, client: Client) -> None:
    for number in range(1, 6 * Limits().replay_window_messages, 2):
        await chat.say("hey", connection="u1", number=number)
    (said,) = await client.hmget(KEYS.chat(chat.chat_id).meta, [said_field("u1")])
    assert said is not None
    assert len(said.split()) <= Limits().replay_window_messages


async def test_a_message_is_stored_as_the_struct_is_encoded(chat: Chat) -> None:
    await chat.join_support()
    said = ["hey", '"\\\n\t\u00eb\U0001f642</script>', "%d%s"]
    for content in said:
        await chat.say(content, sender="Support")
    bodies = [entry.body for entry in await chat.log() if entry.kind == b"ChatMessage"]
    decoded = [msgspec.json.decode(body, type=StoredMessage) for body in bodies]
    assert [message.content for message in decoded] == said
    assert {(message.user_id, message.support_id, message.sender) for message in decoded} == {
        (chat.user_id, VIKA, "Support")
    }
    assert [encode(message) for message in decoded] == bodies


async def test_appends_that_come_at_once_are_one_order_in_which_time_rises(chat: Chat) -> None:
    await asyncio.gather(*(chat.say(str(number)) for number in range(200)))
    entries = await chat.log()
    assert [entry.offset for entry in entries] == list(range(1, 201))
    times = [message["timestamp"] for message in messages(entries)]
    assert all(earlier < later for earlier, later in pairwise(times))


async def test_time_rises_even_when_the_clock_was_set_back(chat: Chat, client: Client) -> None:
    ahead = 4_102_444_799_999_999  # the last microsecond of 2099
    await client.hset(KEYS.chat(chat.chat_id).meta, "micros", ahead)
    await chat.say("one")
    await chat.say("two")
    times = [message["timestamp"] for message in messages(await chat.log())]
    assert times == ["2100-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000001Z"]


async def test_a_message_holds_the_supportId_of_its_moment(chat: Chat) -> None:  # noqa: N802 - as on the wire
    await chat.say("before")
    await chat.join_support()
    await chat.say("after")
    await chat.say("yes", sender="Support")
    said = [(message["content"], message.get("supportId")) for message in messages(await chat.log())]
    assert said == [("before", None), ("after", VIKA), ("yes", VIKA)]


@pytest.mark.parametrize("bound", [{"chat_max_messages": 2}, {"chat_max_bytes": 300}])
async def test_a_full_chat_takes_nothing_more(
    redis_client: RedisClient, settings: Settings, bound: dict[str, int]
) -> None:
    chat = await Chat.open(ChatStore(redis_client, replace(settings, **bound)))
    await chat.say("one", connection="u1", number=1)
    await chat.say("two", connection="u1", number=2)
    for number in (3, 4, 3):
        with pytest.raises(ChatFull):
            await chat.say("three", connection="u1", number=number)
    assert [message["content"] for message in messages(await chat.log())] == ["one", "two"]
    await chat.say("two", connection="u1", number=2)  # what is stored stays acknowledged


# Reading.


@pytest.mark.given(chat_max_messages=10_000)
async def test_messages_of_any_size_come_in_pieces_of_about_one_size(chat: Chat) -> None:
    """Small ones, large ones, and small ones again: the average says little."""
    for content, count in (("hey", 300), ("\U0001f642" * 3990, 40), ("hey", 300)):
        await asyncio.gather(*(chat.say(content) for _ in range(count)))
    snapshot = await chat.join_user()
    pieces = [piece async for piece in chat.store.messages(chat.chat_id, snapshot)]
    assert max(sum(map(len, piece)) for piece in pieces) < 128 * 1024 + 17_000
    assert len(pieces) < 20
    said = [entry.body for entry in await chat.log() if entry.kind == b"ChatMessage"]
    assert [body for piece in pieces for body in piece] == said


async def test_a_chat_that_ends_while_it_is_read_is_gone(chat: Chat, client: Client) -> None:
    await asyncio.gather(*(chat.say("x" * 1000) for _ in range(300)))
    pieces = chat.store.messages(chat.chat_id, await chat.join_user())
    assert await anext(pieces)
    await client.delete(*KEYS.chat(chat.chat_id))
    with pytest.raises(ChatGone):
        [_ async for _ in pieces]


async def test_what_was_missed_does_not_wait_for_those_who_join(store: ChatStore, chat: Chat) -> None:
    await asyncio.gather(*(chat.say("x" * 1000) for _ in range(100)))
    snapshot = await chat.join_user()
    for number in range(_JOINS_AT_ONCE):  # others have all the turns
        await store._joins.begin(hex_id(10 + number))
    joining = asyncio.ensure_future(anext(store.messages(chat.chat_id, snapshot)))
    assert len(await store.entries_after(chat.chat_id, 0)) == 100
    assert not joining.done()
    store._joins.end(hex_id(10))
    assert await joining


async def test_entries_are_read_from_behind_an_offset_on(chat: Chat) -> None:
    for number in range(1, 6):
        await chat.say(str(number))
    entries = await chat.store.entries_after(chat.chat_id, 3)
    assert [entry.offset for entry in entries] == [4, 5]
    assert await chat.store.entries_after(chat.chat_id, 5) == []


async def test_offsets_of_many_chats_are_read_at_once(store: ChatStore) -> None:
    chats = [await Chat.open(store, number) for number in (1, 2)]
    await chats[1].say("hey")
    assert await store.offsets([chats[0].chat_id, hex_id(9), chats[1].chat_id]) == [0, None, 1]


async def test_the_support_is_known_once_it_has_joined(chat: Chat) -> None:
    assert await chat.store.support_id(chat.chat_id) is None
    await chat.join_support()
    assert await chat.store.support_id(chat.chat_id) == VIKA


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda chat: chat.join_user(), id="join as the User"),
        pytest.param(lambda chat: chat.join_support(), id="join as a Support"),
        pytest.param(lambda chat: chat.say("hey"), id="say something"),
        pytest.param(lambda chat: chat.store.support_id(chat.chat_id), id="ask for the Support"),
    ],
)
async def test_an_unknown_chat_is_gone(store: ChatStore, use: Any) -> None:
    chat = Chat(store, chat_id=hex_id(9), user_id=hex_id(9))
    with pytest.raises(ChatGone):
        await use(chat)
    assert await chat.is_gone()

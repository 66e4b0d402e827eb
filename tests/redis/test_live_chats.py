"""LiveChats without sockets: moments between two steps that a socket could hardly hit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from structlog.testing import capture_logs

import live_support.chats.join_queue
from api.live_chat import LiveChat
from api.live_chats import LiveChats
from live_support.chats.join_queue import JoinQueue, Presence
from live_support.chats.store import ChatStore
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.settings import Settings
from schemas.errors import CloseCode
from schemas.wire_v1 import V1
from tests.helpers.chats import Chat
from tests.helpers.keys import KEYS
from tests.helpers.queue import waiting
from tests.helpers.services import UNIT, eventually


class Tab:
    """A member of a chat, of whom nothing is wanted but to be there."""

    connection_id = "tab"
    wire = V1
    cursor: int | None = None

    def send(self, frame: bytes) -> None:
        pass

    def close(self, code: CloseCode) -> None:
        pass


class Reader(Tab):
    """A member of a chat that takes what it gets, once in a turn of the event loop."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closed: list[CloseCode] = []
        self.most_at_once = 0
        self._taken = 0

    def send(self, frame: bytes) -> None:
        if len(self.frames) == self._taken:
            asyncio.get_running_loop().call_soon(self._take)
        self.frames.append(frame)

    def close(self, code: CloseCode) -> None:
        self.closed.append(code)

    @property
    def contents(self) -> list[str]:
        """What was said, as it came."""
        return [msgspec.json.decode(frame)["args"]["content"] for frame in self.frames]

    def _take(self) -> None:
        self.most_at_once = max(self.most_at_once, len(self.frames) - self._taken)
        self._taken = len(self.frames)


@pytest.fixture
async def chats(redis_client: RedisClient, store: ChatStore, queue: JoinQueue, settings: Settings) -> LiveChats:
    return LiveChats(store, queue, Hub(redis_client, settings), settings)


@asynccontextmanager
async def waiting_in(chats: LiveChats, chat: Chat, queue: JoinQueue) -> AsyncIterator[LiveChat]:
    """A user who waits, with one connection here."""
    tab = Tab()
    live = chats.enter(chat.chat_id, tab)
    snapshot = await chat.join_user()
    queued_at_us = await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
    live.learn(snapshot, user_id=chat.user_id, queued_at_us=queued_at_us)
    live.follow(tab, snapshot.offset)
    try:
        yield live
    finally:
        chats.leave(live, tab, None)


async def test_a_round_does_not_bring_back_whose_chat_ends_in_the_middle_of_it(
    chats: LiveChats, store: ChatStore, queue: JoinQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_support.chats.join_queue, "_TOUCH_AT_ONCE", 1)
    first, second = await Chat.open(store, 1), await Chat.open(store, 2)
    async with waiting_in(chats, first, queue), waiting_in(chats, second, queue) as ending:
        touching = asyncio.create_task(chats._touch())
        await asyncio.sleep(0)  # now the first of the two is on its way
        ending.check_offset(None, furthest=0)
        await touching
        assert await waiting(queue) == [first.user_id]


async def test_a_chat_whose_snapshot_has_a_support_has_no_place_in_the_queue_any_more(
    chats: LiveChats, store: ChatStore, queue: JoinQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publication of `Joined` may be lost, and the user be gone before that is noticed."""
    monkeypatch.setattr(LiveChat, "publication", lambda *_: None)
    chat = await Chat.open(store)
    async with waiting_in(chats, chat, queue) as live:
        support = Tab()
        chats.enter(chat.chat_id, support)
        live.learn(await chat.join_support(), user_id=chat.user_id, queued_at_us=None)
        chats.leave(live, support, None)
        assert live.presence == Presence(chat.user_id, chat.chat_id, None)


async def test_a_large_gap_is_filled_in_pieces_that_fit_into_an_outbox(
    chats: LiveChats, store: ChatStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, reader = await Chat.open(store), Reader()
    live = chats.enter(chat.chat_id, reader)
    live.follow(reader, (await chat.join_user()).offset)
    with monkeypatch.context() as patch:
        patch.setattr(LiveChat, "publication", lambda *_: None)
        await asyncio.gather(*(chat.say(str(number)) for number in range(1000)))
    live.missed()
    await eventually(lambda: len(reader.frames) >= 1000)
    assert reader.contents == [str(number) for number in range(1000)]
    assert reader.most_at_once < settings.limits.outbox_frames


async def said(chat: Chat, *contents: str) -> None:
    for content in contents:
        await chat.say(content)


async def test_a_round_finds_whoever_lags_behind_the_others(
    chats: LiveChats, store: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, first, second = await Chat.open(store), Reader(), Reader()
    monkeypatch.setattr(LiveChat, "publication", lambda *_: None)  # all are lost
    live, _ = [chats.enter(chat.chat_id, reader) for reader in (first, second)]
    live.follow(first, (await chat.join_user()).offset)
    await said(chat, "1", "2", "3")
    live.follow(second, (await chat.join_user("u2")).offset)
    await chats._check_offsets()
    await eventually(lambda: len(first.frames) == 3)
    assert (first.contents, second.contents) == (["1", "2", "3"], [])


async def test_whoever_got_what_redis_has_lost_is_closed_to_come_again(chats: LiveChats, store: ChatStore) -> None:
    chat, readers = await Chat.open(store), [Reader(), Reader()]
    live, _ = [chats.enter(chat.chat_id, reader) for reader in readers]
    for reader in readers:
        live.follow(reader, (await chat.join_user()).offset)
    await chats.listening(live)
    await said(chat, "1", "2")
    await eventually(lambda: all(reader.cursor == 3 for reader in readers))
    await store._redis.run("HSET", KEYS.chat(chat.chat_id).meta, "offset", "2")
    with capture_logs() as logs:
        await chats._check_offsets()
    assert [reader.closed for reader in readers] == [[CloseCode.SERVICE_RESTART]] * 2
    assert [each["event"] for each in logs] == ["log_lost_entries"]


async def test_a_round_leaves_those_alone_who_have_everything(chats: LiveChats, store: ChatStore) -> None:
    chat, reader = await Chat.open(store), Reader()
    live = chats.enter(chat.chat_id, reader)
    live.follow(reader, (await chat.join_user()).offset)
    await chats.listening(live)
    await said(chat, "1", "2")
    await chats._check_offsets()
    assert not live.repairing
    assert (reader.closed, reader.contents) == ([], ["1", "2"])


async def test_entries_of_unknown_kinds_move_the_cursor_alone(
    chats: LiveChats, store: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every round would find the same gap."""
    chat, reader = await Chat.open(store), Reader()
    live = chats.enter(chat.chat_id, reader)
    live.follow(reader, (await chat.join_user()).offset)
    monkeypatch.setattr(LiveChat, "publication", lambda *_: None)
    keys = KEYS.chat(chat.chat_id)
    for offset in range(2, 302):  # more than are read at a time
        await store._redis.run("XADD", keys.log, f"{offset}-1", "Transferred", "{}", "more", "{}")
    await store._redis.run("HSET", keys.meta, "offset", "301")
    await chats.catch_up()
    assert (reader.frames, reader.closed, reader.cursor) == ([], [], 301)
    await chats._check_offsets()
    assert not live.repairing


async def test_catching_up_ends_when_all_is_delivered(
    chats: LiveChats, store: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, reader = await Chat.open(store), Reader()
    live = chats.enter(chat.chat_id, reader)
    live.follow(reader, (await chat.join_user()).offset)
    monkeypatch.setattr(LiveChat, "publication", lambda *_: None)
    await asyncio.gather(*(chat.say(str(number)) for number in range(500)))
    await chats.catch_up()
    assert len(reader.frames) == 500


@pytest.mark.given(chat_ttl_seconds=5 * UNIT, waiting_ttl_seconds=3600)
async def test_a_chat_that_an_agent_joins_elsewhere_is_told_of_its_end_in_time(
    chats: LiveChats, store: ChatStore, queue: JoinQueue
) -> None:
    """While the user waited it would have lived for an hour."""
    chat, reader = await Chat.open(store), Reader()
    async with waiting_in(chats, chat, queue) as live:
        await chats.listening(live)
        chats.enter(chat.chat_id, reader)
        live.follow(reader, (await chat.join_user("u2")).offset)
        await chat.join_support()
        await eventually(lambda: reader.closed)
        assert reader.closed == [CloseCode.CHAT_GONE]

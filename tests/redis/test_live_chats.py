"""LiveChats without sockets: moments between two steps that a socket could hardly hit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

import core.join_queue
from api.live_chat import LiveChat
from api.live_chats import LiveChats
from core.hub import Hub
from core.join_queue import JoinQueue, Presence
from core.redis import Redis as CoreRedis
from core.settings import Settings
from core.store import ChatStore
from schemas.errors import CloseCode
from tests.chats import Chat
from tests.support import eventually
from tests.waiting import waiting


class Tab:
    """A member of a chat, of whom nothing is wanted but to be there."""

    connection_id = "tab"
    cursor: int | None = None

    def send(self, frame: bytes) -> None:
        pass

    def close(self, code: CloseCode) -> None:
        pass


class Reader(Tab):
    """A member of a chat that takes what it gets, once in a turn of the event loop."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.most_at_once = 0
        self._taken = 0

    def send(self, frame: bytes) -> None:
        if len(self.frames) == self._taken:
            asyncio.get_running_loop().call_soon(self._take)
        self.frames.append(frame)

    def _take(self) -> None:
        self.most_at_once = max(self.most_at_once, len(self.frames) - self._taken)
        self._taken = len(self.frames)


@pytest.fixture
async def chats(core_redis: CoreRedis, store: ChatStore, queue: JoinQueue, settings: Settings) -> LiveChats:
    return LiveChats(store, queue, Hub(core_redis, settings), settings)


@asynccontextmanager
async def waiting_in(chats: LiveChats, chat: Chat, queue: JoinQueue) -> AsyncIterator[LiveChat]:
    """A user who waits, with one connection here."""
    tab = Tab()
    live = chats.enter(chat.chat_id, tab)
    snapshot = await chat.join_user()
    place = await queue.enqueue(user_id=chat.user_id, chat_id=chat.chat_id)
    live.learn(snapshot, user_id=chat.user_id, place=place)
    live.follow(tab, snapshot.offset)
    try:
        yield live
    finally:
        chats.leave(live, tab, None)


async def test_a_round_does_not_bring_back_whose_chat_ends_in_the_middle_of_it(
    chats: LiveChats, store: ChatStore, queue: JoinQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.join_queue, "_TOUCH_AT_ONCE", 1)
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
        live.learn(await chat.join_support(), user_id=chat.user_id, place=None)
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
    messages = [msgspec.json.decode(frame)["args"]["content"] for frame in reader.frames]
    assert messages == [str(number) for number in range(1000)]
    assert reader.most_at_once < settings.limits.outbox_frames

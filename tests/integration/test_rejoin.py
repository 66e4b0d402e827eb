"""A participant who refreshes while messages flow misses nothing and sees the one order, whatever the moment.

That nothing is sent twice either is a matter of raw frames, and tested there: the SDK would hide it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

import api.app
import api.live_chats
from live_support.chats.store import ChatStore, JoinAttempt, Snapshot
from live_support.redis.hub import Hub
from live_support.settings import Settings
from live_support_client import Chat, ChatClient, ChatHistory, ChatMessage, Options, RegisteredUser, StoredMessage
from tests.helpers.sdk import hear, hear_said, hear_some, request_of, user_chat
from tests.helpers.services import UNIT, serve

REJOINS = 50
LIVE = 20
"""Messages that a view takes after its history."""

more_than_a_chat_may_hold = pytest.mark.given(chat_max_messages=1_000_000, chat_max_bytes=1_000_000_000)


def said_in(*heard: object) -> list[StoredMessage]:
    """The messages, of which nothing else may be among."""
    assert all(isinstance(each, ChatMessage) for each in heard), heard
    return [each.args for each in heard if isinstance(each, ChatMessage)]


async def history_of(chat: Chat) -> list[StoredMessage]:
    """The history that comes first."""
    history = await hear(chat)
    assert isinstance(history, ChatHistory), history
    return history.args.messages


@asynccontextmanager
async def flow(*chats: Chat) -> AsyncIterator[None]:
    """Let each write without a pause until the block ends."""
    ending = False

    async def write(chat: Chat) -> None:
        number = 0
        while not ending:
            number += 1
            await chat.send(str(number))

    async with asyncio.TaskGroup() as writers:
        for chat in chats:
            writers.create_task(write(chat))
        yield
        ending = True


async def view(
    client: ChatClient, user: RegisteredUser, support_id: str
) -> tuple[list[StoredMessage], list[StoredMessage]]:
    """Refresh: what the history holds, and some of what follows."""
    async with client.chat(user, support_id=support_id) as chat:
        return await history_of(chat), said_in(*await hear_some(chat, LIVE))


@more_than_a_chat_may_hold
async def test_fifty_refreshes_while_messages_flow_show_one_order(
    client: ChatClient, settings: Settings, services: AsyncExitStack, options: Options
) -> None:
    second_server = await services.enter_async_context(serve(api.app.create_service, settings))
    other_client = await services.enter_async_context(ChatClient(second_server.http, options=options))
    user = await client.register("Nika")
    async with client.chat(user) as writing, client.support_chat(request_of(user), name="Vika") as support:
        await hear(support)  # that it has joined
        assert support.support_id
        async with flow(writing, support):
            clients = (client, other_client)
            views = [await view(clients[number % 2], user, support.support_id) for number in range(REJOINS)]
        last = await support.send("the end")
        seen = said_in(await hear(support))
        while seen[-1] != last:
            seen += said_in(await hear(support))

    for sender in ("User", "Support"):
        own = [message.content for message in seen[:-1] if message.sender == sender]
        assert own == [str(number + 1) for number in range(len(own))]
        assert len(own) > REJOINS
    for history, live in views:
        assert history + live == seen[: len(history) + LIVE]


# The two moments at which something could fall between history and live messages. Under load the next message would
# reveal the gap; here there is none.


async def test_a_connection_listens_before_it_reads_the_log(
    client: ChatClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    confirmed, join = Hub.confirmed, ChatStore.join

    async def noted_confirmed(hub: Hub, channel: str) -> None:
        await confirmed(hub, channel)
        steps.append("listens")

    async def noted_join(store: ChatStore, chat_id: str, attempt: JoinAttempt) -> Snapshot:
        steps.append("reads")
        return await join(store, chat_id, attempt)

    monkeypatch.setattr(Hub, "confirmed", noted_confirmed)
    monkeypatch.setattr(ChatStore, "join", noted_join)
    async with user_chat(client):
        assert steps == ["listens", "reads"]


@pytest.fixture
def no_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No comparing of offsets, which would find a gap later: for services that start afterwards."""
    monkeypatch.setattr(api.live_chats, "_OFFSETS_SECONDS", 6000 * UNIT)


@pytest.mark.usefixtures("no_rounds")
async def test_what_is_said_after_the_log_was_read_follows_the_history(
    client: ChatClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = ChatStore.join
    user = await client.register("Nika")
    async with client.chat(user) as chat, client.support_chat(request_of(user), name="Vika") as support:
        before = await chat.send("before")
        assert await hear_said(support, 1) == ["before"]

        async def interrupted_join(store: ChatStore, chat_id: str, attempt: JoinAttempt) -> Snapshot:
            snapshot = await join(store, chat_id, attempt)
            # All in the chat have got it, so this process has delivered it to whomever it could.
            await chat.send("meanwhile")
            assert await hear_said(support, 1) == ["meanwhile"]
            return snapshot

        monkeypatch.setattr(ChatStore, "join", interrupted_join)
        async with client.chat(user, support_id=support.support_id) as tab:
            assert await history_of(tab) == [before]
            assert [message.content for message in said_in(await hear(tab))] == ["meanwhile"]

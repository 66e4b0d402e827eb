"""Users and agents who speak through the SDK."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from live_support_client import (
    Chat,
    ChatClient,
    ChatMessage,
    ChatServerMessage,
    JoinRequest,
    JoinsClient,
    RegisteredUser,
    RegisteredUserWithToken,
)
from tests.helpers.services import DEADLINE

Agent = Callable[[], JoinsClient]
"""Makes one more agent: to be entered with `async with`."""

Item = TypeVar("Item")


# Listening with a deadline.


async def hear(stream: AsyncIterator[Item]) -> Item:
    """Wait for what comes next: out of a chat, or of the waiting users."""
    async with asyncio.timeout(DEADLINE):
        return await anext(stream)


async def hear_some(stream: AsyncIterator[Item], count: int) -> list[Item]:
    """Wait for so many of what comes next."""
    return [await hear(stream) for _ in range(count)]


async def hear_said(chat: Chat, count: int) -> list[str]:
    """Wait for so many chat messages, and return what they say; anything else between them is skipped."""
    said: list[str] = []
    while len(said) < count:
        match await hear(chat):
            case ChatMessage(args=message):
                said.append(message.content)
    return said


async def hear_all(chat: Chat) -> list[ChatServerMessage]:
    """Collect what comes until the iteration stops."""
    async with asyncio.timeout(DEADLINE):
        return [message async for message in chat]


# Waiting, and being seen to wait.


def request_of(user: Chat | RegisteredUser | RegisteredUserWithToken) -> JoinRequest:
    """What agents are shown of a user who waits."""
    return JoinRequest(participant="User", user_id=user.user_id, chat_id=user.chat_id)


@asynccontextmanager
async def user_chat(client: ChatClient, user: RegisteredUser | None = None) -> AsyncIterator[Chat]:
    """A user who has joined; a new one unless one is given."""
    async with client.chat(user or await client.register("Nika")) as chat:
        yield chat


@asynccontextmanager
async def waiting_user(client: ChatClient) -> AsyncIterator[JoinRequest]:
    """A new user who waits as long as the block lasts, as agents are shown it."""
    async with user_chat(client) as chat:
        yield request_of(chat)


async def is_shown(request: JoinRequest, *agents: JoinsClient) -> None:
    """Wait until agents are shown a user, whoever comes before."""
    for joins in agents:
        while await hear(joins) != request:
            pass


async def shown_next(client: ChatClient, *agents: JoinsClient) -> None:
    """Let a user join, and check that the agents were shown nobody else before."""
    async with waiting_user(client) as newest:
        for joins in agents:
            assert await hear(joins) == newest


async def waiting_before_a_new_user(client: ChatClient, agent: Agent) -> list[JoinRequest]:
    """Whom a new agent is shown, up to a user who joins now."""
    async with waiting_user(client) as newest:
        async with agent() as joins:
            await is_shown(newest, joins)
        # What happened before this user joined is known to the Subscriber now.
        async with agent() as joins:
            shown = [await hear(joins)]
            while shown[-1] != newest:
                shown.append(await hear(joins))
            return shown[:-1]

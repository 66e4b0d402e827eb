"""Listening to a chat with a deadline."""

import asyncio

from live_support_client import Chat, ChatMessage, ChatServerMessage
from tests.support import DEADLINE


async def hear(chat: Chat) -> ChatServerMessage:
    """Wait for the next message."""
    async with asyncio.timeout(DEADLINE):
        return await anext(chat)


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

"""What a team might build on the SDK: type-checked from the outside by `test_typing.py`, never run."""

from typing import assert_type

from live_support_client import (
    Backoff,
    Chat,
    ChatClient,
    ChatExpired,
    ChatHistory,
    ChatMessage,
    ChatServerMessage,
    Error,
    Joined,
    JoinRequest,
    JoinsClient,
    LiveSupportError,
    Options,
    RateLimited,
    RegisteredUser,
    StoredMessage,
    SupportJoined,
    UserJoined,
)


def describe(message: ChatServerMessage) -> str:
    """Every type is handled: a new one would make the end reachable, and the checker complain."""
    match message:
        case Joined(args=participant):
            assert_type(participant, UserJoined | SupportJoined)
            return participant.support_user_name if isinstance(participant, SupportJoined) else participant.user_id
        case ChatMessage(args=stored):
            return f"{stored.timestamp.isoformat()} {stored.sender}: {stored.content}"
        case ChatHistory(args=history):
            return "\n".join(stored.content for stored in history.messages)
        case ChatExpired(args=expired):
            return expired.chat_id
        case Error(args=refusal):
            return refusal.code


async def talk(chat: Chat) -> list[str]:
    """Say something, and listen."""
    try:
        assert_type(await chat.send("Hey"), StoredMessage)
    except RateLimited as error:
        assert_type(error.retry_after, float | None)
    except LiveSupportError:
        raise
    return [describe(message) async for message in chat]


async def user() -> list[str]:
    """Be a user."""
    options = Options(backoff=Backoff(give_up_seconds=None), trust_env=False)
    async with ChatClient("http://localhost:9000", options=options) as client:
        registered = await client.register("Nika")
        assert_type(registered, RegisteredUser)
        async with client.chat(registered) as chat:
            assert_type(chat.support_id, str | None)
            return await talk(chat)


async def agent() -> None:
    """Be an agent."""
    async with ChatClient("http://localhost:9000") as client, JoinsClient("http://localhost:9001") as joins:
        async for request in joins:
            assert_type(request, JoinRequest)
            await joins.claim(request)
            async with client.support_chat(request, name="Vika") as chat:
                await talk(chat)

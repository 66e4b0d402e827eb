"""A User and a Support who talk in raw frames, agents who wait for users, and proof that nothing else reached them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.helpers.support import Frame, Service, Socket, User, agent, error_code, support_in_chat, user_in_chat


class Talk(NamedTuple):
    """Both participants of a chat, joined."""

    chat_server: Service
    user: User
    support_id: str
    user_socket: Socket
    support_socket: Socket

    @property
    def user_rejoin(self) -> Frame:
        """The User's `Join` after a refresh."""
        return self.user.join(supportId=self.support_id)

    @property
    def support_rejoin(self) -> Frame:
        """The Support's."""
        return self.user.support_join(supportId=self.support_id)

    @asynccontextmanager
    async def tab(self, rejoin: Frame) -> AsyncIterator[Socket]:
        """Another connection of a participant, joined, `ChatHistory` already taken."""
        async with self.user.chat(self.chat_server) as socket:
            await socket.send(rejoin)
            history = await socket.receive()
            assert history["type"] == "ChatHistory", history
            yield socket

    async def history(self) -> list[Frame]:
        """What is stored: the args of the messages."""
        async with self.user.chat(self.chat_server) as socket:
            await socket.send(self.user_rejoin)
            messages: list[Frame] = (await socket.receive())["args"]["messages"]
            return messages

    async def goes_on(self, *tabs: Socket) -> None:
        """Exchange a message each way, and check that nobody got anything else before.

        Args:
            tabs: further connections of the chat; by getting the messages they prove to be open and joined.
        """
        await say(self.user.says("Are you there?"), self.user_socket, self.support_socket, *tabs)
        await say(self.user.hears("I am.", self.support_id), self.support_socket, self.user_socket, *tabs)


@asynccontextmanager
async def talk_in(chat_server: Service) -> AsyncIterator[Talk]:
    """Let a User and a Support join a new chat."""
    async with (
        user_in_chat(chat_server) as (user, user_socket),
        support_in_chat(chat_server, user, user_socket) as (support_id, support_socket),
    ):
        yield Talk(chat_server, user, support_id, user_socket, support_socket)


async def say(frame: Frame, sender: Socket, *others: Socket) -> Frame:
    """Send a `ChatMessage`, whose echo must be the very next frame of everybody. Returns the echo's args.

    A connection gets its frames in order, so this also proves that nothing else was sent to it before.
    """
    await sender.send(frame)
    echo = await sender.receive()
    assert echo["type"] == "ChatMessage", echo
    for key in ("content", "from"):
        assert echo["args"][key] == frame["args"][key]
    for other in others:
        assert await other.receive() == echo
    args: Frame = echo["args"]
    return args


async def refusal(frame: object, sender: Socket) -> str:
    """Send a frame whose answer is an `Error`; return its code."""
    await sender.send(frame)
    return error_code(await sender.receive())


@asynccontextmanager
async def two_agents(chat_server: Service, subscriber: Service) -> AsyncIterator[tuple[Socket, Socket]]:
    """Let two agents connect, who have been shown already whoever waits."""
    async with agent(subscriber) as one, agent(subscriber) as other, user_in_chat(chat_server) as (newest, _):
        for joins in (one, other):
            while await joins.receive() != newest.request:
                pass
        yield one, other


async def shown_next(chat_server: Service, *agents: Socket) -> None:
    """Let a user join, and check that the agents got nothing else before."""
    async with user_in_chat(chat_server) as (user, _):
        for joins in agents:
            assert await joins.receive() == user.request


async def waiting_before_a_new_user(chat_server: Service, subscriber_service: Service) -> list[Frame]:
    """The list that an agent gets, up to a user who joins now."""
    async with user_in_chat(chat_server) as (newest, _):
        async with agent(subscriber_service) as joins:
            while await joins.receive() != newest.request:
                pass
        # What happened before this user joined is known to the Subscriber now.
        async with agent(subscriber_service) as joins:
            shown = [await joins.receive()]
            while shown[-1] != newest.request:
                shown.append(await joins.receive())
            return shown[:-1]

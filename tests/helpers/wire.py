"""Users and agents who speak raw frames, their conversations, and proof that nothing else reached them.

The same in the words of the SDK is in `tests/helpers/sdk.py`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.helpers.services import DEADLINE, Service, http

Frame = dict[str, Any]

Published = Callable[[], Awaitable[list[Frame]]]
"""The fixture `published`: what was published on the channel `Join` since the test began."""


class Socket:
    """A WebSocket client of JSON frames."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, **options: Any) -> AsyncIterator[Self]:
        """Connect, and close at the end of the block."""
        # Without max_queue a test that has heard enough would wait 10 s for the answer to its close frame: websockets
        # stops reading while many frames have not been taken.
        defaults = {"proxy": None, "ping_interval": None, "max_size": None, "max_queue": None}
        async with connect(url, **{**defaults, **options}) as connection:
            yield cls(connection)

    async def send(self, frame: object) -> None:
        """Send a text as it is, bytes as a binary frame, anything else as JSON."""
        await self.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def receive(self) -> Frame:
        """Wait for the next frame."""
        async with asyncio.timeout(DEADLINE):
            frame: Frame = json.loads(await self.connection.recv())
            return frame

    async def receive_some(self, count: int) -> list[Frame]:
        """Wait for so many frames."""
        return [await self.receive() for _ in range(count)]

    async def drain(self) -> tuple[list[Frame], int]:
        """Collect what still comes until the server closes; return it with the close code."""
        frames = []
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - each frame may be the last
            while True:
                frames.append(await self.receive())
        assert closed.value.rcvd is not None, "the connection was cut without a close frame"
        return frames, closed.value.rcvd.code

    async def close_code(self) -> int:
        """Wait for the server's close, before which nothing else may come."""
        frames, code = await self.drain()
        assert frames == []
        return code


class User(NamedTuple):
    """A registered user."""

    userId: str  # noqa: N815 - as on the wire
    username: str
    chatId: str  # noqa: N815

    @classmethod
    async def register(cls, chat_server: Service, name: str = "Nika") -> Self:
        """Register as the seed's step 1 does."""
        response = await http("GET", f"{chat_server.http}/user/join/{name}")
        assert response.status_code == 200, response.text
        return cls(**response.json())

    def join(self, **more: Any) -> Frame:
        """The User's `Join`, with keys added or replaced."""
        return {
            "type": "Join",
            "args": {"userId": self.userId, "username": self.username, "from": "User", **more},
        }

    def support_join(self, **more: Any) -> Frame:
        """A Support's `Join` to this user's chat."""
        args = {
            "userId": self.userId,
            "supportUserName": "Vika",
            "username": self.username,
            "from": "Support",
        }
        return {"type": "Join", "args": {**args, **more}}

    def says(self, content: str, **more: Any) -> Frame:
        """The User's `ChatMessage`."""
        return {
            "type": "ChatMessage",
            "args": {"userId": self.userId, "content": content, "from": "User", **more},
        }

    def hears(self, content: str, support_id: str, **more: Any) -> Frame:
        """A Support's `ChatMessage` to this user."""
        args = {"userId": self.userId, "supportId": support_id, "supportUserName": "Vika", "content": content}
        return {"type": "ChatMessage", "args": {**args, "from": "Support", **more}}

    @property
    def joined(self) -> Frame:
        """`Joined` of this user."""
        return {"type": "Joined", "args": {"participant": "User", "userId": self.userId}}

    @property
    def request(self) -> Frame:
        """The join request that agents get."""
        return {"participant": "User", "userId": self.userId, "chatId": self.chatId}

    @property
    def expired(self) -> Frame:
        """`ChatExpired` of this user's chat."""
        return {"type": "ChatExpired", "args": {"chatId": self.chatId}}

    def chat(self, chat_server: Service, **options: Any) -> Any:
        """Open a socket to the chat, not joined yet."""
        return Socket.open(f"{chat_server.ws}/chat/{self.chatId}", **options)


@asynccontextmanager
async def user_in_chat(chat_server: Service, user: User | None = None) -> AsyncIterator[tuple[User, Socket]]:
    """A user who has joined for the first time, `Joined` already taken."""
    user = user or await User.register(chat_server)
    async with user.chat(chat_server) as socket:
        await socket.send(user.join())
        assert await socket.receive() == user.joined
        yield user, socket


@asynccontextmanager
async def support_in_chat(
    chat_server: Service, user: User, user_socket: Socket | None = None
) -> AsyncIterator[tuple[str, Socket]]:
    """A Support who has joined for the first time: the `supportId` and the socket, `Joined` already taken.

    A socket of the user's that is given takes its `Joined` too.
    """
    async with user.chat(chat_server) as socket:
        await socket.send(user.support_join())
        joined = await socket.receive()
        assert joined["type"] == "Joined", joined
        if user_socket is not None:
            assert await user_socket.receive() == joined
        yield joined["args"]["supportId"], socket


def agent_socket(subscriber: Service, **options: Any) -> Any:
    """Open an agent's socket to the waiting users."""
    return Socket.open(f"{subscriber.ws}/joins", **options)


def error_code(frame: Frame) -> str:
    """The code of an `Error`; anything else fails."""
    assert frame["type"] == "Error", frame
    assert set(frame["args"]) <= {"code", "message", "retryAfterMs"}, frame
    code: str = frame["args"]["code"]
    return code


def contents(frames: list[Frame]) -> list[str]:
    """What was said, in order."""
    return [frame["args"]["content"] for frame in frames if frame["type"] == "ChatMessage"]


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
    async with (
        agent_socket(subscriber) as one,
        agent_socket(subscriber) as other,
        user_in_chat(chat_server) as (newest, _),
    ):
        for joins in (one, other):
            while await joins.receive() != newest.request:
                pass
        yield one, other


async def request_comes_next(chat_server: Service, *agents: Socket) -> None:
    """Let a user join, and check that the agents got nothing else before."""
    async with user_in_chat(chat_server) as (user, _):
        for joins in agents:
            assert await joins.receive() == user.request


async def requests_before_a_new_user(chat_server: Service, subscriber_service: Service) -> list[Frame]:
    """The list that an agent gets, up to a user who joins now."""
    async with user_in_chat(chat_server) as (newest, _):
        async with agent_socket(subscriber_service) as joins:
            while await joins.receive() != newest.request:
                pass
        # What happened before this user joined is known to the Subscriber now.
        async with agent_socket(subscriber_service) as joins:
            shown = [await joins.receive()]
            while shown[-1] != newest.request:
                shown.append(await joins.receive())
            return shown[:-1]

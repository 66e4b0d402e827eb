"""What the tests speak with: services in this process, and clients that wait for a frame rather than for a time."""

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, NamedTuple, Self

import httpx
import msgspec
import pytest
from litestar import Litestar
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from live_support.service.app import Server
from live_support.settings import Limits, Rate, Settings

UNIT = float(os.environ.get("LIVE_SUPPORT_TEST_UNIT_MS", "100")) / 1000
"""The tests' unit of time in seconds: every short setting is some of these. A slow machine wants a larger one."""

DEADLINE = 150 * UNIT
"""How long a test waits for what must come."""

WEBSOCKET = os.environ.get("LIVE_SUPPORT_WEBSOCKET") or "picows"
"""The WebSocket layer that the tests run with; the whole suite passes with both."""

Frame = dict[str, Any]

Published = Callable[[], Awaitable[list[Frame]]]
"""The fixture `published`: what was published on the channel `Join` since the test began."""


def make_settings(redis_url: str, **changes: Any) -> Settings:
    """Settings of production, without the rates that tests would run into."""
    defaults = {
        "redis_url": redis_url,
        "join_rate": Rate("100000/second"),
        "chat_join_rate": Rate("100000/second"),
        "message_rate": Rate("100000/second"),
        "websocket": WEBSOCKET,
        "limits": Limits(stop_notice_seconds=0),
    }
    return Settings(**{**defaults, **changes})


class Service(NamedTuple):
    """A running service."""

    port: int
    stop: Callable[[], asyncio.Task[None]] | None = None
    """Does what SIGTERM does, for a service in this process; the task is done when it has stopped."""

    @property
    def http(self) -> str:
        """Base URL of its HTTP routes."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """Base URL of its WebSockets."""
        return f"ws://127.0.0.1:{self.port}"


@asynccontextmanager
async def serve(
    create_app: Callable[[Settings], Litestar], settings: Settings, *, port: int = 0
) -> AsyncIterator[Service]:
    """Serve an app as production does, on a free port unless one is given, until the block ends."""
    app = create_app(settings)
    server = Server(app, settings, port)
    # uvicorn would take over the signals of the whole test run.
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    running = asyncio.create_task(server.serve())

    def stop() -> asyncio.Task[None]:
        server.handle_exit(signal.SIGTERM, None)
        return running

    try:
        while not server.started:
            assert not running.done(), "the service did not start"
            await asyncio.sleep(0.001)
        service = Service(server.servers[0].sockets[0].getsockname()[1], stop)
        await eventually(lambda: is_healthy(service))
        yield service
    finally:
        # The second time it would hasten the stop.
        await (running if running.done() else stop())


async def is_healthy(service: Service) -> bool:
    """Whether a service answers that it can do its work."""
    try:
        return (await http("GET", f"{service.http}/health")).status_code == 200
    except httpx.TransportError:
        return False


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until an (async) condition holds; fail at the deadline."""
    async with asyncio.timeout(DEADLINE):
        while True:
            outcome = condition()
            if await outcome if asyncio.iscoroutine(outcome) else outcome:
                return
            await asyncio.sleep(UNIT / 20)


async def http(method: str, url: str, **options: Any) -> httpx.Response:
    """Send one request, without the environment's proxies."""
    # Loading certificates, which no test needs, would take longer than the request.
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501
        return await client.request(method, url, **options)


# Below the ports that Linux gives to outgoing connections, and from another place in each process: what one test has
# found free is not taken by another test's connection, or by a test beside it, before something listens there.
_PORTS = itertools.cycle(range(10_000, 32_000))
for _ in range(os.getpid() * 4_001 % 22_000):
    next(_PORTS)


def free_port() -> int:
    """A port that nobody listens on now, and that this process has not given to another test lately."""
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError


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


def agent(subscriber: Service, **options: Any) -> Any:
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


def replace(settings: Settings, **changes: Any) -> Settings:
    """The settings with some changed."""
    return msgspec.structs.replace(settings, **changes)


class Stopwatch:
    """Time since it was made."""

    def __init__(self) -> None:
        self._started = asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started

"""A service that is told to stop: what it was told is stored and answered, and nobody can hold it up."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import api.app
from api.live_chat import LiveChat
from live_support.limits import Limits
from live_support.settings import Settings
from tests.helpers.proxy import RedisProxy
from tests.helpers.services import UNIT, Service, Stopwatch, eventually, free_port, http, is_healthy, replace, serve
from tests.helpers.wire import (
    Socket,
    User,
    agent_socket,
    contents,
    error_code,
    say,
    support_in_chat,
    talk_in,
    user_in_chat,
)

NEVER = 6000 * UNIT
DEADLINE_SECONDS = 45
"""Generous: it only decides how late a failure shows."""

EXIT_SECONDS = 10
"""The promise. The slowest of these stops takes half of it."""

noticed = pytest.mark.given(limits=Limits(stop_notice_seconds=NEVER, drain_seconds=NEVER))


def stop(service: Service) -> "asyncio.Task[None]":
    """Do what SIGTERM does; the task is done when the service has stopped."""
    assert service.stop is not None
    return service.stop()


async def begin_to_stop(service: Service) -> None:
    """Tell it to stop, and wait until it says so."""
    stop(service)

    async def says_so() -> bool:
        return await health(service) == (503, "The service is stopping.")

    await eventually(says_so)


async def taken(socket: Socket) -> None:
    """Wait until the server has read what was sent."""
    await (await socket.connection.ping())


async def health(service: Service) -> tuple[int, str]:
    response = await http("GET", f"{service.http}/health")
    return response.status_code, response.json().get("reason", "")


# What the world sees, step by step.


@noticed
async def test_first_only_health_and_new_sockets_tell(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        await begin_to_stop(chat_server)
        with pytest.raises(InvalidStatus) as refused:
            async with talk.user.chat(chat_server):
                pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "1"
        await talk.goes_on()
        another = await User.register(chat_server)
        assert another.chatId != talk.user.chatId, "its chat opens on any process"
        stopping = stop(chat_server)  # expedites it
        assert await talk.user_socket.close_code() == await talk.support_socket.close_code() == 1012
        await stopping


@noticed
async def test_a_stopping_subscriber_tells_it_as_well(subscriber_service: Service) -> None:
    async with agent_socket(subscriber_service) as joins:
        await begin_to_stop(subscriber_service)
        with pytest.raises(InvalidStatus):
            async with agent_socket(subscriber_service):
                pass
        stopping = stop(subscriber_service)
        assert await joins.close_code() == 1012
        await stopping


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[RedisProxy]:
    async with RedisProxy.to(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def behind_proxy(proxy: RedisProxy, settings: Settings, services: AsyncExitStack) -> Service:
    return await services.enter_async_context(serve(api.app.create_service, replace(settings, redis_url=proxy.url)))


async def test_a_message_that_redis_takes_its_time_for_is_echoed(
    behind_proxy: Service, chat_server: Service, proxy: RedisProxy
) -> None:
    async with talk_in(behind_proxy) as talk:
        proxy.freeze()
        await talk.user_socket.send(talk.user.says("Just in time."))
        await taken(talk.user_socket)
        await begin_to_stop(behind_proxy)
        proxy.heal()
        frames, code = await talk.user_socket.drain()
        assert (contents(frames), code) == (["Just in time."], 1012)
        async with talk.user.chat(chat_server) as again:
            await again.send(talk.user_rejoin)
            assert [each["content"] for each in (await again.receive())["args"]["messages"]] == ["Just in time."]


@pytest.mark.given(limits=Limits(stop_notice_seconds=0, store_seconds=15 * UNIT))
async def test_a_message_that_redis_never_answers_is_answered_with_an_error(
    behind_proxy: Service, proxy: RedisProxy
) -> None:
    async with talk_in(behind_proxy) as talk:
        proxy.freeze()
        await talk.user_socket.send(talk.user.says("Is anybody there?"))
        await taken(talk.user_socket)
        stop(behind_proxy)
        frames, code = await talk.user_socket.drain()
        assert ([error_code(frame) for frame in frames], code) == (["unavailable"], 1012)
        proxy.heal()


async def test_an_echo_whose_publication_was_lost_is_sent_before_the_close(
    chat_server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talk_in(chat_server) as talk:
        monkeypatch.setattr(LiveChat, "publication", lambda *_: None)
        await talk.user_socket.send(talk.user.says("Did you get this?"))
        await taken(talk.user_socket)
        stop(chat_server)
        for socket in (talk.user_socket, talk.support_socket):
            frames, code = await socket.drain()
            assert (contents(frames), code) == (["Did you get this?"], 1012)


@pytest.mark.given(limits=Limits(stop_notice_seconds=0, store_seconds=NEVER, drain_seconds=NEVER))
async def test_a_second_signal_does_not_wait_for_redis(behind_proxy: Service, proxy: RedisProxy) -> None:
    async with talk_in(behind_proxy) as talk:
        proxy.freeze()
        await talk.user_socket.send(talk.user.says("Is anybody there?"))
        await begin_to_stop(behind_proxy)
        stopping = stop(behind_proxy)
        assert await talk.user_socket.close_code() == 1012
        proxy.heal()
        await stopping


# Real processes and signals.


class Process:
    """A service in a process of its own."""

    def __init__(self, child: asyncio.subprocess.Process, service: Service, log: Path) -> None:
        self.child = child
        self.service = service
        self.log = log

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; returns how long the process then took to end, which it must do with code 0."""
        watch = Stopwatch()
        self.child.send_signal(number)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await self.child.wait() == 0
        return watch.seconds


@asynccontextmanager
async def process(command: str, folder: Path, **settings: str) -> AsyncIterator[Process]:
    """Run a service until the block ends."""
    port, log = free_port(), folder / f"{command}.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_SUPPORT_")}
    given = {"CHAT_PORT": str(port), "SUBSCRIBER_PORT": str(port), "JOIN_RATE": "10000/second"} | settings
    with log.open("ab") as file:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "live_support.cli.main", command),
            env=inherited | {f"LIVE_SUPPORT_{name}": value for name, value in given.items()},
            stderr=file,
        )
    running = Process(child, Service(port), log)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await is_healthy(running.service):
                assert child.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield running
        assert "Traceback" not in log.read_text()
        assert "error" not in log.read_text()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.fixture
def stopwatch(record_property: Callable[[str, object], None]) -> Callable[[float], None]:
    """Notes how long a stop took, and that it kept the promise."""

    def note(seconds: float) -> None:
        record_property("seconds", seconds)
        print(f"stopped in {seconds:.2f} s")
        assert seconds < EXIT_SECONDS

    return note


Note = Callable[[float], None]


async def pipeline(user: User, socket: Socket, until: asyncio.Event) -> int:
    """Send without waiting for echoes until something happens or the socket closes; returns how many were sent."""
    sent = 0
    try:
        while not until.is_set():
            await socket.send(user.says(str(sent)))
            sent += 1
            await asyncio.sleep(0)
    except ConnectionClosed:
        pass
    return sent


@pytest.mark.given(chat_max_messages=1_000_000, chat_max_bytes=1_000_000_000)
async def test_whoever_talks_without_pause_is_told_exactly_what_is_stored(
    chat_server: Service, settings: Settings, tmp_path: Path, stopwatch: Note
) -> None:
    async with process(
        "chat-server",
        tmp_path,
        REDIS_URL=settings.redis_url or "",
        MESSAGE_RATE="100000/second",
        CHAT_MAX_MESSAGES="1000000",
        CHAT_MAX_BYTES="1000000000",
    ) as stopping:
        async with AsyncExitStack() as stack:
            chats = [await stack.enter_async_context(talkative(stopping.service)) for _ in range(8)]
            closed = asyncio.Event()
            senders = [asyncio.create_task(pipeline(user, socket, closed)) for user, socket in chats]
            first = [await socket.receive() for _, socket in chats]  # everybody is talking
            listeners = [asyncio.create_task(socket.drain()) for _, socket in chats]
            stopwatch(await stopping.stop())
            heard = [await listener for listener in listeners]
            closed.set()
            sent = [await sender for sender in senders]
        for (user, _), begun, (frames, code), count in zip(chats, first, heard, sent, strict=True):
            assert code == 1012
            assert frames, "nothing was in flight"
            echoed = contents([begun, *frames])
            assert len(echoed) == 1 + len(frames), "every answer is an echo"
            assert len(echoed) <= count
            async with user.chat(chat_server) as again:
                await again.send(user.join())
                assert await again.receive() == user.joined
                history = await again.receive()
            stored = [message["content"] for message in history["args"]["messages"]]
            assert stored == [str(number) for number in range(len(stored))], "once each, in order, without a gap"
            assert stored == echoed, "what is stored was echoed, and the other way round"


@asynccontextmanager
async def talkative(service: Service) -> AsyncIterator[tuple[User, Socket]]:
    """A user who has joined, and whose client reads whatever comes: otherwise its own buffers would hold it up."""
    user = await User.register(service)
    async with user.chat(service, max_queue=None) as socket:
        await socket.send(user.join())
        assert await socket.receive() == user.joined
        yield user, socket


async def test_peers_that_do_not_read_are_cut_off(settings: Settings, tmp_path: Path, stopwatch: Note) -> None:
    async with (
        process("chat-server", tmp_path, REDIS_URL=settings.redis_url or "", CHAT_MAX_BYTES="1000000000") as stopping,
        user_in_chat(stopping.service) as (user, socket),
        support_in_chat(stopping.service, user, socket) as (support_id, support_socket),
        lazy(stopping.service, user.chatId) as lazy_tab,
    ):
        await lazy_tab.send(user.join(supportId=support_id))
        assert (await lazy_tab.receive())["type"] == "ChatHistory"
        lazy_tab.connection.transport.pause_reading()
        await say(user.says("Are you there?"), socket, support_socket)
        stopwatch(await stopping.stop())
        assert await socket.close_code() == await support_socket.close_code() == 1012


def lazy(service: Service, chat_id: str) -> Any:
    return Socket.open(f"{service.ws}/chat/{chat_id}", max_queue=None)


@pytest.mark.parametrize("command", ["chat-server", "subscriber"])
async def test_a_request_that_never_ends_does_not_hold_it_up(
    command: str, settings: Settings, tmp_path: Path, stopwatch: Note
) -> None:
    async with process(command, tmp_path, REDIS_URL=settings.redis_url or "") as stopping:
        _, idle = await asyncio.open_connection("127.0.0.1", stopping.service.port)
        _, begun = await asyncio.open_connection("127.0.0.1", stopping.service.port)
        begun.write(b"POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        await begun.drain()
        assert await is_healthy(stopping.service)
        stopwatch(await stopping.stop())
        for writer in (idle, begun):
            writer.transport.abort()


@pytest.mark.parametrize("command", ["chat-server", "subscriber"])
async def test_a_second_sigterm_still_ends_it_with_code_0(
    command: str, settings: Settings, tmp_path: Path, stopwatch: Note
) -> None:
    async with process(command, tmp_path, REDIS_URL=settings.redis_url or "") as stopping:
        stopping.child.send_signal(signal.SIGTERM)
        stopwatch(await stopping.stop())


async def test_a_redis_that_does_not_answer_does_not_hold_it_up(
    redis_url: str, tmp_path: Path, stopwatch: Note
) -> None:
    async with (
        RedisProxy.to(redis_url) as proxy,
        process("chat-server", tmp_path, REDIS_URL=proxy.url) as chat,
        process("subscriber", tmp_path, REDIS_URL=proxy.url) as joins,
        user_in_chat(chat.service) as (user, socket),
        agent_socket(joins.service) as claimant,
    ):
        while await claimant.receive() != user.request:
            pass
        await claimant.send(user.userId)
        await claimant.send("0" * 32)
        assert error_code(await claimant.receive()) == "not_waiting"
        proxy.freeze()
        await socket.send(user.says("Is anybody there?"))
        await claimant.send(user.userId)
        for seconds in await asyncio.gather(chat.stop(), joins.stop()):
            stopwatch(seconds)
        frames, code = await socket.drain()
        assert ([error_code(frame) for frame in frames], code) == (["unavailable"], 1012)
        frames, code = await claimant.drain()
        assert code == 1012

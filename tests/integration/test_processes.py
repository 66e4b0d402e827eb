"""Several processes of each service on one Redis, as in production: they share everything, and may die."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from core.keys import QUEUE
from core.settings import Settings
from tests.conversation import refusal, say, shown_next, waiting_before_a_new_user
from tests.support import (
    UNIT,
    WEBSOCKET,
    Service,
    Socket,
    User,
    agent,
    eventually,
    free_port,
    is_healthy,
    support_in_chat,
    user_in_chat,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE_SECONDS = 45
"""For the start and the end of a process. Generous: it only decides how late a failure shows."""

GRACE = 10 * UNIT
UNKNOWN = "0" * 32


class Process(NamedTuple):
    """A process that runs one service."""

    child: asyncio.subprocess.Process
    service: Service

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; returns the exit code."""
        self.child.send_signal(number)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.child.wait()


class Processes:
    """Starts processes, and ends those that still run."""

    def __init__(self, redis_url: str, log: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_SUPPORT_")}
        settings = {
            "REDIS_URL": redis_url,
            "JOIN_RATE": "1000/second",
            "LEAVE_GRACE": str(GRACE),
            "WEBSOCKET": WEBSOCKET,
        }
        self._env = inherited | {f"LIVE_SUPPORT_{name}": value for name, value in settings.items()}
        self._log = log
        self._started: list[Process] = []

    async def start(self, *commands: str) -> list[Process]:
        """Run a service for each command, and wait until all are healthy."""
        started = [await self._start(command) for command in commands]
        async with asyncio.timeout(DEADLINE_SECONDS):
            for process in started:
                while not await is_healthy(process.service):
                    assert process.child.returncode is None, self._log.read_text()
                    await asyncio.sleep(0.05)
        return started

    async def _start(self, command: str) -> Process:
        port = free_port()
        with self._log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "core.cli", command),
                env=self._env | {"LIVE_SUPPORT_CHAT_PORT": str(port), "LIVE_SUPPORT_SUBSCRIBER_PORT": str(port)},
                stderr=log,
            )
        self._started.append(Process(child, Service(port)))
        return self._started[-1]

    async def end(self) -> list[int]:
        """End all that run; returns their exit codes."""
        running = [process for process in self._started if process.child.returncode is None]
        return list(await asyncio.gather(*(process.end() for process in running)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Processes]:
    log = tmp_path_factory.mktemp("processes") / "log"
    processes = Processes(shared_settings.redis_url or "", log)
    try:
        yield processes
    finally:
        codes = await processes.end()
    assert set(codes) <= {0}
    assert "Traceback" not in log.read_text()


class System(NamedTuple):
    """Two of each: what the tests share, because to start a process takes longer than most tests."""

    chat: Service
    other_chat: Service
    subscriber: Service
    other_subscriber: Service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(processes: Processes) -> System:
    started = await processes.start("chat-server", "chat-server", "subscriber", "subscriber")
    return System(*(process.service for process in started))


@pytest_asyncio.fixture(loop_scope="module")
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield redis


@pytest_asyncio.fixture(loop_scope="module")
async def system(shared: System, redis: Redis) -> System:
    """The shared processes, when nobody waits any more whom another test has left."""

    async def nobody_waits() -> bool:
        return await redis.zcard(QUEUE.waiting) == 0

    await eventually(nobody_waits)
    return shared


async def is_shown(user: User, *agents: Socket) -> None:
    """Wait until agents are shown a user; a Subscriber may not know yet that somebody else has gone."""
    for joins in agents:
        while await joins.receive() != user.request:
            pass


async def test_a_user_and_an_agent_talk_over_two_chat_servers(system: System) -> None:
    async with (
        user_in_chat(system.chat) as (user, user_socket),
        support_in_chat(system.other_chat, user, user_socket) as (support_id, support_socket),
    ):
        said = [
            await say(user.says("Are you there?"), user_socket, support_socket),
            await say(user.hears("I am.", support_id), support_socket, user_socket),
        ]
        for service in (system.chat, system.other_chat):
            async with user.chat(service) as tab:
                await tab.send(user.join(supportId=support_id))
                assert (await tab.receive())["args"]["messages"] == said


async def test_two_subscribers_share_one_queue(system: System) -> None:
    async with user_in_chat(system.chat) as (user, _), agent(system.other_subscriber) as loser:
        async with agent(system.subscriber) as winner:
            await is_shown(user, winner, loser)
            await winner.send(user.userId)
            # The winner hears nothing: the next answer is that to the next claim.
            assert await refusal(UNKNOWN, winner) == "not_waiting"
            assert await refusal(user.userId, loser) == "already_claimed"
            assert await waiting_before_a_new_user(system.chat, system.other_subscriber) == []
        # Whoever came and went meanwhile was shown once, and the user is shown again, for the second stay.
        newcomer, again = await loser.receive_some(2)
        assert newcomer != again == user.request
        await shown_next(system.chat, loser)


async def test_the_sixth_connection_closes_the_oldest_on_another_chat_server(system: System) -> None:
    async with AsyncExitStack() as stack, user_in_chat(system.chat) as (user, oldest):
        tabs = []
        for service in (system.other_chat, system.chat, system.other_chat, system.chat, system.other_chat):
            tabs.append(await stack.enter_async_context(user.chat(service)))
            await tabs[-1].send(user.join())
            assert await tabs[-1].receive() == user.joined
        assert await oldest.close_code() == 4509
        await say(user.says("Five tabs are enough."), *tabs)


async def test_a_killed_chat_server_loses_nothing_but_its_connections(
    processes: Processes, system: System, redis: Redis
) -> None:
    (killed,) = await processes.start("chat-server")
    async with user_in_chat(killed.service) as (user, socket), agent(system.subscriber) as joins:
        await is_shown(user, joins)
        said = await say(user.says("Is anybody there?"), socket)
        assert await killed.end(signal.SIGKILL) == -signal.SIGKILL

    # Nobody says any more that the user is there.
    async def has_left_the_queue() -> bool:
        return await redis.zscore(QUEUE.waiting, user.userId) is None

    await eventually(has_left_the_queue)
    assert await waiting_before_a_new_user(system.chat, system.subscriber) == []

    # The user comes back elsewhere, waits again, and talks on.
    async with agent(system.subscriber) as joins, user.chat(system.chat) as socket:
        await socket.send(user.join())
        assert await socket.receive() == user.joined
        assert await socket.receive() == {"type": "ChatHistory", "args": {"messages": [said]}}
        await is_shown(user, joins)
        async with support_in_chat(system.chat, user, socket) as (support_id, support_socket):
            assert (await support_socket.receive())["args"]["messages"] == [said]
            await say(user.hears("I am.", support_id), support_socket, socket)


async def test_a_stopping_chat_server_asks_its_clients_to_come_back(processes: Processes, system: System) -> None:
    (stopping,) = await processes.start("chat-server")
    async with (
        user_in_chat(stopping.service) as (user, user_socket),
        support_in_chat(stopping.service, user, user_socket) as (support_id, support_socket),
    ):
        said = await say(user.says("Are you there?"), user_socket, support_socket)
        assert await stopping.end() == 0
        assert await user_socket.close_code() == await support_socket.close_code() == 1012
    async with user.chat(system.chat) as socket:
        await socket.send(user.join(supportId=support_id))
        assert (await socket.receive())["args"]["messages"] == [said]


async def test_a_stopping_subscriber_asks_its_agents_to_come_back(processes: Processes, system: System) -> None:
    (stopping,) = await processes.start("subscriber")
    async with user_in_chat(system.chat) as (user, _):
        async with agent(stopping.service) as claimant:
            await is_shown(user, claimant)
            await claimant.send(user.userId)
            assert await refusal(UNKNOWN, claimant) == "not_waiting"
            assert await stopping.end() == 0
            assert await claimant.close_code() == 1012
        # Its agent is gone, so the user waits again, long before the lease is over.
        assert await waiting_before_a_new_user(system.chat, system.subscriber) == [user.request]

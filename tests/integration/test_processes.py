"""Several processes of each service on one Redis, as in production: they share everything, and may die."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from live_support.settings import Settings
from live_support_client import (
    AlreadyClaimed,
    ChatClient,
    ChatHistory,
    ChatHistoryArgs,
    ChatMessage,
    Joined,
    JoinsClient,
    Options,
    Replaced,
    SupportJoined,
    UserJoined,
)
from tests.helpers.keys import KEYS
from tests.helpers.sdk import (
    Agent,
    hear,
    hear_all,
    hear_said,
    hear_some,
    is_shown,
    request_of,
    shown_next,
    waiting_before_a_new_user,
    waiting_user,
)
from tests.helpers.services import UNIT, WEBSOCKET, Service, eventually, free_port, is_healthy

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE_SECONDS = 45
"""For the start and the end of a process. Generous: it only decides how late a failure shows."""

GRACE = 10 * UNIT


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

    async def start(self, *commands: str, port: int | None = None) -> list[Process]:
        """Run a service for each command, on free ports unless one is given, and wait until all are healthy."""
        started = [await self._start(command, port or free_port()) for command in commands]
        async with asyncio.timeout(DEADLINE_SECONDS):
            for process in started:
                while not await is_healthy(process.service):
                    assert process.child.returncode is None, self._log.read_text()
                    await asyncio.sleep(0.05)
        return started

    async def _start(self, command: str, port: int) -> Process:
        with self._log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "live_support.cli.main", command),
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(processes: Processes) -> list[Service]:
    """Two of each: what the tests share, because to start a process takes longer than most tests."""
    started = await processes.start("chat-server", "chat-server", "subscriber", "subscriber")
    return [process.service for process in started]


class System(NamedTuple):
    """The shared processes, as users and agents reach them."""

    client: ChatClient
    other_client: ChatClient
    agent: Agent
    other_agent: Agent


@pytest_asyncio.fixture(loop_scope="module")
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield redis


@pytest_asyncio.fixture(loop_scope="module")
async def system(shared: list[Service], redis: Redis, options: Options) -> AsyncIterator[System]:
    """The shared processes, when nobody waits any more whom another test has left."""

    async def nobody_waits() -> bool:
        return await redis.zcard(KEYS.queue.waiting) == 0

    await eventually(nobody_waits)
    chat, other_chat, subscriber, other_subscriber = shared
    async with (
        ChatClient(chat.http, options=options) as client,
        ChatClient(other_chat.http, options=options) as other_client,
    ):
        yield System(
            client,
            other_client,
            partial(JoinsClient, subscriber.http, options=options),
            partial(JoinsClient, other_subscriber.http, options=options),
        )


async def test_a_user_and_an_agent_talk_over_two_chat_servers(system: System) -> None:
    nika = await system.client.register("Nika")
    request = request_of(nika)
    async with (
        system.client.chat(nika) as user,
        system.other_client.support_chat(request, name="Vika") as support,
    ):
        said = [await user.send("Are you there?"), await support.send("I am.")]
        assert support.support_id
        vika = SupportJoined(user_id=nika.user_id, support_id=support.support_id, support_user_name="Vika")
        told = [Joined(args=vika), *(ChatMessage(args=message) for message in said)]
        assert await hear_some(support, 3) == told
        assert await hear_some(user, 4) == [Joined(args=UserJoined(user_id=nika.user_id)), *told]
        for client in (system.client, system.other_client):
            async with client.chat(nika, support_id=support.support_id) as tab:
                assert await hear(tab) == ChatHistory(args=ChatHistoryArgs(messages=said))


async def test_two_subscribers_share_one_queue(system: System) -> None:
    async with waiting_user(system.client) as user, system.other_agent() as loser:
        async with system.agent() as winner:
            await is_shown(user, winner, loser)
            await winner.claim(user)
            with pytest.raises(AlreadyClaimed):
                await loser.claim(user)
            assert await waiting_before_a_new_user(system.client, system.other_agent) == []
        # Whoever came and went meanwhile was shown once, and the user is shown again, for the second stay.
        newcomer, again = await hear_some(loser, 2)
        assert newcomer != again == user
        await shown_next(system.client, loser)


async def test_the_sixth_connection_closes_the_oldest_on_another_chat_server(system: System) -> None:
    user = await system.client.register("Nika")
    async with AsyncExitStack() as stack, system.client.chat(user) as oldest:
        clients = [system.other_client, system.client] * 2 + [system.other_client]
        tabs = [await stack.enter_async_context(client.chat(user)) for client in clients]
        with pytest.raises(Replaced):
            await hear_all(oldest)
        await tabs[0].send("Five tabs are enough.")
        for tab in tabs:
            assert await hear_said(tab, 1) == ["Five tabs are enough."]


async def test_a_killed_chat_server_loses_nothing_but_its_connections(
    processes: Processes, system: System, redis: Redis, options: Options
) -> None:
    (killed,) = await processes.start("chat-server")
    nika = await system.client.register("Nika")
    request = request_of(nika)
    async with (
        ChatClient(killed.service.http, options=options) as client,
        client.chat(nika) as user,
        system.agent() as joins,
    ):
        await is_shown(request, joins)
        said = await user.send("Is anybody there?")
        assert await killed.end(signal.SIGKILL) == -signal.SIGKILL

    # Nobody says any more that the user is there.
    async def has_left_the_queue() -> bool:
        return await redis.zscore(KEYS.queue.waiting, nika.user_id) is None

    await eventually(has_left_the_queue)
    assert await waiting_before_a_new_user(system.client, system.agent) == []

    # The user comes back elsewhere, waits again, and talks on.
    history = ChatHistory(args=ChatHistoryArgs(messages=[said]))
    async with system.agent() as joins, system.client.chat(nika) as user:
        assert await hear_some(user, 2) == [Joined(args=UserJoined(user_id=nika.user_id)), history]
        await is_shown(request, joins)
        async with system.client.support_chat(request, name="Vika") as support:
            joined = await hear(support)
            assert await hear(support) == history
            answered = ChatMessage(args=await support.send("I am."))
            assert await hear(support) == answered
            assert await hear_some(user, 2) == [joined, answered]


async def test_after_a_restart_of_a_chat_server_its_clients_talk_on(
    processes: Processes, system: System, options: Options
) -> None:
    (stopping,) = await processes.start("chat-server")
    async with ChatClient(stopping.service.http, options=options) as client:
        nika = await client.register("Nika")
        async with client.chat(nika) as user, client.support_chat(request_of(nika), name="Vika") as support:
            said = [await user.send("Are you there?")]
            assert await stopping.end() == 0
            await processes.start("chat-server", port=stopping.service.port)
            said.append(await support.send("I am."))
            said.append(await user.send("Good."))
            for chat in (user, support):
                assert await hear_said(chat, 3) == [message.content for message in said]
    async with system.client.chat(nika, support_id=support.support_id) as tab:
        assert await hear(tab) == ChatHistory(args=ChatHistoryArgs(messages=said))


async def test_when_a_subscriber_stops_whom_its_agents_claimed_waits_again(
    processes: Processes, system: System, options: Options
) -> None:
    (stopping,) = await processes.start("subscriber")
    async with (
        waiting_user(system.client) as user,
        JoinsClient(stopping.service.http, options=options) as claimant,
    ):
        await is_shown(user, claimant)
        await claimant.claim(user)
        assert await stopping.end() == 0
        # Its agent is gone, so the user waits again, long before the lease is over.
        assert await waiting_before_a_new_user(system.client, system.agent) == [user]
        # The agent comes back by itself.
        await processes.start("subscriber", port=stopping.service.port)
        await is_shown(user, claimant)
        await claimant.claim(user)

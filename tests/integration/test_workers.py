"""Several processes of a service on one port: all serve, together they are one, and they start and end together."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from live_support_client import Chat, ChatClient, ChatHistory, ChatHistoryArgs, JoinsClient, Options
from tests.helpers.processes import (
    DEADLINE_SECONDS,
    Up,
    answers,
    chat_server,
    child,
    children,
    connections,
    environment,
    listening,
    live_support,
    running,
    subscriber,
    wait_until,
)
from tests.helpers.sdk import hear, hear_said, is_shown, request_of
from tests.helpers.services import free_port, http
from tests.helpers.wire import Socket, User

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no connections are spread"),
]

TRIES = 64
"""The kernel throws a coin for each new connection: so often it does not show the same side."""


class Workers:
    """Two workers, and who of them serves whom."""

    def __init__(self, system: Up) -> None:
        self.service = chat_server(system)
        self.pids = {number: child(system.process.pid, "--worker", str(number)) for number in (1, 2)}

    def by_client(self) -> dict[int, int]:
        """The worker's number for each client's port."""
        numbers = {pid: number for number, pid in self.pids.items()}
        return {port: numbers[pid] for port, pid in connections(self.service.port, numbers).items()}

    async def enter(self, stack: AsyncExitStack, chat: Chat) -> int:
        """Enter a chat; returns which worker serves it."""
        before = self.by_client()
        await stack.enter_async_context(chat)
        (worker,) = [number for port, number in self.by_client().items() if port not in before]
        return worker


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Two workers that no test ends."""
    settings = {"JOIN_RATE": "1000/second", "LOG_FORMAT": "json"}
    system = Up(tmp_path_factory.mktemp("workers"), "--workers", "2", **settings)
    yield system.ready()
    system.end()


async def test_a_user_and_an_agent_talk_over_two_workers(system: Up, options: Options) -> None:
    workers = Workers(system)
    async with (
        ChatClient(chat_server(system).http, options=options) as client,
        JoinsClient(subscriber(system).http, options=options) as joins,
    ):
        for _ in range(TRIES):
            async with AsyncExitStack() as stack:
                nika = await client.register("Nika")
                request = request_of(nika)
                users = await workers.enter(stack, user := client.chat(nika))
                await is_shown(request, joins)
                await joins.claim(request)
                agents = await workers.enter(stack, support := client.support_chat(request, name="Vika"))
                said = [await user.send("Are you there?"), await support.send("I am.")]
                for side in (user, support):
                    assert await hear_said(side, 2) == ["Are you there?", "I am."]
                if users == agents:
                    continue
                history = ChatHistory(args=ChatHistoryArgs(messages=said))
                seen: set[int] = set()
                while seen != {1, 2}:
                    async with AsyncExitStack() as tabs:
                        seen.add(await workers.enter(tabs, tab := client.chat(nika, support_id=support.support_id)))
                        assert await hear(tab) == history
                return
    pytest.fail("one worker served both, every time")


def test_log_lines_name_the_worker(system: Up) -> None:
    events = [json.loads(line) for line in system.output.splitlines() if line.startswith("{")]
    started = {(event["service"], event.get("worker")) for event in events if event["event"] == "service_started"}
    assert started == {("ChatServer", 1), ("ChatServer", 2), ("Subscriber", None)}
    assert "    workers    2\n" in system.output


def test_a_single_worker_is_not_numbered(up: Callable[..., Up]) -> None:
    system = up("--workers", "1", LOG_FORMAT="json").ready()
    assert '"service_started"' in system.output
    assert "worker" not in system.output
    assert "--share-port" not in children(system.process.pid)[child(system.process.pid, "chat-server")]


async def test_an_interrupt_sees_off_the_clients_of_all_workers(up: Callable[..., Up]) -> None:
    system = up("--workers", "2").ready()
    workers, processes = Workers(system), children(system.process.pid)
    async with AsyncExitStack() as stack:
        sockets: list[Socket] = []
        user = await User.register(workers.service)
        for _ in range(TRIES):
            sockets.append(await stack.enter_async_context(user.chat(workers.service)))
            if set(workers.by_client().values()) == {1, 2}:
                break
        assert await asyncio.to_thread(system.interrupt) == 0
        assert {await each.close_code() for each in sockets} == {1012}
    assert system.nothing_remains()
    assert len(processes) == 4
    assert not set(processes) & set(running())
    assert not system.complaints


def test_a_killed_worker_ends_all_and_is_named(up: Callable[..., Up]) -> None:
    system = up("--workers", "2").ready()
    os.kill(child(system.process.pid, "--worker", "2"), signal.SIGKILL)
    assert system.exit_code() == 1
    assert system.complaints == ["live-support: chat-server worker 2 ended by itself (SIGKILL)"]
    assert system.nothing_remains()


def numbered(system: Up) -> list[int]:
    """The processes of the workers that have been started so far."""
    return [pid for pid, arguments in children(system.process.pid).items() if "--worker" in arguments]


@contextmanager
def stopped(*processes: int) -> Iterator[None]:
    """Processes that stand still as long as the block lasts."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def test_it_is_ready_when_every_worker_is(up: Callable[..., Up]) -> None:
    port, subscriber_port = free_port(), free_port()
    system = up("--workers", "2", CHAT_PORT=str(port), SUBSCRIBER_PORT=str(subscriber_port))
    wait_until(lambda: len(numbered(system)) == 2)
    with stopped(child(system.process.pid, "--worker", "2")):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"))
        wait_until(lambda: answers(f"http://127.0.0.1:{subscriber_port}/health"))
        assert listening(port) == 1
        assert "Ctrl-C" not in system.output
    system.ready()
    assert listening(port) == 2


def assert_refused(port: int, folder: Path, redis_url: str, workers: int = 2) -> None:
    """Fail unless another `up` finds the port taken."""
    settings = {"REDIS_URL": redis_url, "CHAT_PORT": str(port), "SUBSCRIBER_PORT": "0"}
    refused = live_support("up", folder, "--workers", str(workers), **settings)
    assert refused.returncode == 1
    assert refused.stderr == f"live-support: LIVE_SUPPORT_CHAT_PORT: port {port} on 127.0.0.1: already in use\n"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_a_taken_port_is_found(*, workers: int, shared: bool, tmp_path: Path, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as taken:
        assert_refused(taken.getsockname()[1], tmp_path, redis_url, workers)


def test_workers_join_those_of_no_other_up(up: Callable[..., Up], tmp_path: Path, redis_url: str) -> None:
    port = free_port()
    system = up("--workers", "2", CHAT_PORT=str(port), REDIS_URL=redis_url)
    wait_until(lambda: len(numbered(system)) == 2)
    with stopped(*numbered(system)):
        # They are loading their modules.
        assert listening(port) == 0
        assert_refused(port, tmp_path, redis_url, workers=1)
        assert_refused(port, tmp_path, redis_url, workers=2)
    system.ready()
    assert_refused(port, tmp_path, redis_url)
    assert listening(port) == 2


@pytest.mark.parametrize("number", ["0", "65", "-1", "1.5", "many", ""])
def test_a_wrong_number_of_workers_is_refused(number: str, tmp_path: Path) -> None:
    refused = live_support("up", tmp_path, f"--workers={number}")
    assert refused.returncode == 2
    assert f"argument --workers: expected a number from 1 to 64, not '{number}'" in refused.stderr
    assert not (tmp_path / ".live-support").exists()


class Alone:
    """A service that is run alone, on a port of its own or a shared one."""

    def __init__(self, redis_url: str, log: Path, port: int, command: str, *arguments: str) -> None:
        self.log = log
        settings = {"REDIS_URL": redis_url, "CHAT_PORT": str(port), "SUBSCRIBER_PORT": str(port)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "live_support.cli.main", command, *arguments, "--say-when-ready"],
                env=environment(**settings),
                stdout=subprocess.PIPE,
                stderr=output,
            )

    def ready(self) -> "Alone":
        """Wait until it says so."""
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n", self.log.read_text()
        return self

    def end(self) -> int:
        """End it, if it runs; returns its exit code."""
        self.process.terminate()
        self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode


@pytest.fixture
def alone(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Alone]]:
    """Runs a service."""
    with ExitStack() as stack:

        def run(port: int, command: str, *arguments: str) -> Alone:
            log = tmp_path / f"log{len(list(tmp_path.iterdir()))}"
            service = Alone(redis_url, log, port, command, *arguments)
            stack.callback(service.end)
            return service

        yield run


@pytest.mark.parametrize("command", ["chat-server", "subscriber"])
def test_only_who_says_so_shares_a_port(alone: Callable[..., Alone], command: str) -> None:
    port = free_port()
    first, second = (alone(port, command, "--share-port").ready() for _ in range(2))
    assert listening(port) == 2
    alone_on_it = alone(port, command)
    assert alone_on_it.process.wait(DEADLINE_SECONDS) == 3
    assert "port_refused" in alone_on_it.log.read_text()
    assert [first.end(), second.end()] == [0, 0]

    first = alone(port, command).ready()
    second = alone(port, command, "--share-port")
    assert second.process.wait(DEADLINE_SECONDS) == 3
    assert "port_refused" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()
    assert first.end() == 0


async def test_new_clients_do_not_meet_a_process_that_stops(alone: Callable[..., Alone]) -> None:
    port = free_port()
    stopping, other = (alone(port, "chat-server", "--share-port").ready() for _ in range(2))
    statuses: list[int | None] = []
    stopping.process.terminate()
    while stopping.process.poll() is None:
        try:
            statuses.append((await http("GET", f"http://127.0.0.1:{port}/health")).status_code)
        except httpx.TransportError:
            statuses.append(None)
    # All but the one that was perhaps on its way to it at that moment.
    assert statuses.count(200) >= max(2, len(statuses) - 1), statuses
    assert [stopping.end(), other.end()] == [0, 0]

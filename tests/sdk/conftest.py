"""What the tests of the SDK itself need beside clients of real services: a server that plays a script."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import hypothesis
import pytest
from hypothesis.strategies import SearchStrategy
from websockets.asyncio.server import ServerConnection, serve

from tests.helpers.services import Service

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
def every_test_leaves_no_task(no_task_is_left: None) -> None:
    """Whatever a test does, the SDK leaves no task behind."""


@pytest.fixture(autouse=True)
async def every_test_loses_no_exception() -> AsyncIterator[None]:
    """Whatever a test does, the event loop hears of no exception that nobody has seen."""
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert lost == []


async def for_all(check: Callable[[Any], Awaitable[None]], values: SearchStrategy[Any], *, examples: int = 100) -> None:
    """Let hypothesis look for a value with which a check fails, in the event loop of the test."""
    loop = asyncio.get_running_loop()

    @hypothesis.settings(max_examples=examples * hypothesis.settings().max_examples // 100)
    @hypothesis.given(values)
    def run(value: Any) -> None:
        async def once() -> None:
            await check(value)

        asyncio.run_coroutine_threadsafe(once(), loop).result()

    await asyncio.to_thread(run)

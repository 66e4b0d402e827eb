"""What the tests of the SDK itself need beside clients of real services: a server that plays a script."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

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
def every_test_leaves_no_task(no_task_is_left: None) -> None:
    """Whatever a test does, the SDK leaves no task behind."""

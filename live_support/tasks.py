"""Background tasks that are always awaited, and whose failures are always logged."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from schemas.errors import Unavailable

log = structlog.get_logger()


class Tasks:
    """The background tasks of one object, which closes them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it ends or the owner closes."""
        task = asyncio.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("task_failed", exc_info=error)

    async def finish(self, seconds: float) -> None:
        """Wait until the running tasks, and those that they spawn, have ended, but no longer than this."""
        now = asyncio.get_running_loop().time
        end = now() + seconds
        left = seconds
        while self._running and left >= 0:
            await asyncio.wait(self._running, timeout=left)
            left = end - now()

    async def close(self) -> None:
        """Cancel the running tasks, and wait for their end."""
        # A library may swallow a cancellation while it handles one of its own, so it is repeated.
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=0.5)


async def every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Repeat a step for ever, also after it has failed.

    A step that fails each time in the same way is logged once.
    """
    told = ""
    while True:
        try:
            await step()
            told = ""
        except Unavailable:
            pass  # Redis is away, and `live_support.redis.client` has said so.
        except Exception as error:
            if told != (told := f"{type(error).__name__}: {error}"):
                log.error("step_failed", exc_info=error)
        await asyncio.sleep(seconds)

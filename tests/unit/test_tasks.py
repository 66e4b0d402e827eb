"""Background work that fails: it goes on, and the log says so once."""

import asyncio
from collections.abc import Iterator

from structlog.testing import capture_logs

from live_support.tasks import Tasks, every
from schemas.errors import Unavailable
from tests.helpers.services import DEADLINE, eventually


async def test_a_step_that_fails_in_the_same_way_is_logged_once_until_it_works() -> None:
    taken = 0
    outcomes: Iterator[Exception | None] = iter(
        [
            *(5 * [ValueError("one")]),
            Unavailable("Redis is away"),
            ValueError("one"),
            KeyError("two"),
            KeyError("two"),
            None,
            *(3 * [KeyError("two")]),
        ]
    )

    async def step() -> None:
        nonlocal taken
        taken += 1
        if error := next(outcomes, None):
            raise error

    with capture_logs() as logs:
        running = asyncio.create_task(every(0, step))
        await eventually(lambda: taken > 13)
        running.cancel()
    assert [repr(log["exc_info"]) for log in logs] == ["ValueError('one')", "KeyError('two')", "KeyError('two')"]


async def test_the_end_waits_for_tasks_that_tasks_spawn() -> None:
    tasks, ended = Tasks(), []

    async def second() -> None:
        await asyncio.sleep(0.01)
        ended.append("second")

    async def first() -> None:
        tasks.spawn(second())

    tasks.spawn(first())
    await tasks.finish(DEADLINE)
    assert ended == ["second"]


async def test_the_end_waits_no_longer_than_it_may() -> None:
    tasks = Tasks()
    tasks.spawn(asyncio.sleep(10 * DEADLINE))
    async with asyncio.timeout(DEADLINE):
        await tasks.finish(0.01)
    await tasks.close()

"""Processes die, stop, hang and lose their clock; their clients go on elsewhere and miss nothing (F8, F9, F21)."""

import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults import jumping_clock
from tests.faults.conftest import SETTINGS
from tests.faults.faults import hang, kill, stop
from tests.faults.history import ListClosed, ListOpened, Shown
from tests.faults.report import Row
from tests.faults.scenario import SETTLE_SECONDS, Plan, Run, scenario
from tests.faults.system import System
from tests.helpers.services import UNIT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

BACK_SECONDS = 50 * UNIT
"""In which clients are back after their server has gone."""

STOP_SECONDS = 11
WAITING = 100


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Three ChatServers, the last of which has a clock that can jump."""
    folder = tmp_path_factory.mktemp("system")
    commands = {2: (sys.executable, str(Path(jumping_clock.__file__)))}
    running = System.running(folder, settings=SETTINGS, chat_servers=3, commands=commands)
    async with running as system:
        yield system


async def test_f8_chat_servers_are_killed_and_stopped(system: System, rows: list[Row], plan: Plan) -> None:
    what = "kill -9 and SIGTERM of ChatServers, while users come"
    async with scenario(system, rows, "F8", what, plan=plan, seconds=4) as run:
        await run.fill_with_chats()
        processes = system.chat_servers
        for number in range(max(3, round(run.seconds / 10))):
            process = processes[number % len(processes)]
            run.bring_users(3)
            await run.inject(stop(process, within=STOP_SECONDS) if number % 2 else kill(process))
            # Everybody is somewhere else.
            await run.until(run.everybody_is_there, BACK_SECONDS)
            await process.start()
        await run.until(run.all_talk)


async def test_f8b_a_chat_server_hangs(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F8b", "a ChatServer stopped for 3 s", plan=plan, seconds=3) as run:
        await run.fill_with_chats()
        await run.keep_injecting(*(hang(process, 3) for process in system.chat_servers), every=5)


async def test_f9_a_subscriber_is_killed_while_many_wait(system: System, rows: list[Row], plan: Plan) -> None:
    waiting = 500 if plan.seconds else WAITING
    async with scenario(system, rows, "F9", f"kill -9 of Subscribers, {waiting} waiting", plan=plan) as run:
        for number in range(4):
            run.spawn(watch(run, f"Agent {number}"))
        for number in range(waiting):
            run.spawn(run.crowd.wait_in_line(f"User {number}"))

        await run.until(lambda: run.queue_holds(waiting), SETTLE_SECONDS + 2 * waiting * UNIT)
        await run.until(lambda: all_are_shown(run, waiting))
        for number in range(max(2, round(run.seconds / 10))):
            process = system.subscribers[number % 2]
            await run.inject(kill(process))
            await run.until(lambda: all_are_shown(run, waiting))
            await process.start()
        await run.note_who_waits()
        shown = Counter((event.view, event.user) for event in run.recorder.events if isinstance(event, Shown))
        assert set(shown.values()) == {1}
        # The first four were there before the users.
        took = seconds_until_complete(run, waiting)[4:]
    run.row.recoveries = took
    assert took
    assert max(took) < 20 * UNIT


async def watch(run: Run, name: str) -> None:
    """An agent who only looks."""
    joins = await run.crowd.enter(lambda: run.crowd.joins(name))
    try:
        async for _ in joins:
            pass
    finally:
        await joins.aclose()


def all_are_shown(run: Run, waiting: int) -> bool:
    """Whether four agents are connected, and each has been shown everybody over that connection."""
    lists: dict[int, int] = {}
    for event in run.recorder.events:
        match event:
            case ListOpened():
                lists[event.view] = 0
            case ListClosed():
                lists.pop(event.view, None)
            case Shown():
                lists[event.view] += 1
    return list(lists.values()) == [waiting] * 4


def seconds_until_complete(run: Run, waiting: int) -> list[float]:
    """How long after connecting each agent had been shown everybody; connections that were cut before are left out."""
    opened = {event.view: event.at for event in run.recorder.events if isinstance(event, ListOpened)}
    shown: dict[int, list[float]] = {view: [] for view in opened}
    for event in run.recorder.events:
        if isinstance(event, Shown):
            shown[event.view].append(event.at)
    return [times[-1] - opened[view] for view, times in shown.items() if len(times) == waiting]


async def test_f21_the_clock_of_a_process_jumps(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F21", "clock of a ChatServer ±1 h", plan=plan, seconds=3) as run:
        started = datetime.now(UTC)
        await run.fill_with_chats()

        async def forward(system: System) -> None:
            system.chat_servers[2].signal(signal.SIGUSR1)

        async def back(system: System) -> None:
            system.chat_servers[2].signal(signal.SIGUSR2)

        await run.keep_injecting(forward, back, back, forward, every=0.5)
        for truth in await run.read_truths():
            for message in truth.log:
                assert abs(message.timestamp - started) < timedelta(seconds=run.seconds, minutes=5)

"""Redis comes back with older data: agents who stay connected see everybody who waits, and nobody twice (F23)."""

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from live_support_client import JoinRequest
from tests.faults.conftest import SETTINGS
from tests.faults.faults import lose_since
from tests.faults.history import Shown
from tests.faults.report import Row
from tests.faults.scenario import Plan, Run, scenario
from tests.faults.system import System
from tests.faults.test_process_faults import watch
from tests.helpers.services import UNIT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

AGENTS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """With a grace that outlasts what is lost, as in production."""
    settings = {**SETTINGS, "LEAVE_GRACE": str(600 * UNIT)}
    async with System.running(tmp_path_factory.mktemp("system"), settings=settings) as system:
        yield system


async def test_f23_redis_comes_back_with_older_data(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F23", "kill -9 of Redis, back with older data", plan=plan) as run:
        run.chats_end = True  # those that are lost
        for number in range(AGENTS):
            run.spawn(watch(run, f"Agent {number}"))
        run.spawn(run.crowd.wait_in_line("Patient"))
        await run.until(lambda: run.queue_holds(1))
        (patient,) = run.recorder.users.values()
        await run.until(lambda: are_shown(run, [patient]))
        for number in range(round(run.seconds / 2)):
            system.redis.keep(f"kept {number}")
            # What is lost: some come, and get an agent; the list has changed in between as often as it will again.
            for lost in range(number + 1):
                await be_served(run, f"Lost {number} {lost}")
            known = len(run.recorder.users)
            await run.inject(lose_since(f"kept {number}", 0.2))
            for new in range(2):
                run.spawn(run.crowd.wait_in_line(f"New {number} {new}"))
            await run.until(partial(new_ones_are_shown, run, known, 2))
            await run.note_who_waits()
        shown = Counter((event.view, event.user) for event in run.recorder.events if isinstance(event, Shown))
        assert set(shown.values()) == {1}
        assert len({view for view, _ in shown}) == AGENTS, "they have stayed connected"


async def be_served(run: Run, name: str) -> None:
    """Let a user come, wait, and get an agent."""
    user = await run.crowd.register(name)
    chat = await run.crowd.enter(lambda: run.crowd.user_chat(user))
    await run.until(lambda: are_shown(run, [user.user_id]))
    request = JoinRequest(participant="User", user_id=user.user_id, chat_id=user.chat_id)
    support = await run.crowd.enter(lambda: run.crowd.support_chat(request, "Vika"))
    await support.aclose()
    await chat.aclose()


def new_ones_are_shown(run: Run, known: int, count: int) -> bool:
    """Whether so many have come after those who were known, and every agent has been shown them."""
    new = list(run.recorder.users.values())[known:]
    return len(new) == count and are_shown(run, new)


def are_shown(run: Run, users: list[str]) -> bool:
    """Whether every agent has been shown these."""
    shown = {(event.view, event.user) for event in run.recorder.events if isinstance(event, Shown)}
    return all(sum(each == user for _, each in shown) == AGENTS for user in users)

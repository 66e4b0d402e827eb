"""Messages race the end of their chat, and either both happen or neither: echo and life, or ChatExpired (F17)."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.conftest import SETTINGS
from tests.faults.history import Echoed, Expired, Received, Sent, Unanswered, now
from tests.faults.report import Row
from tests.faults.scenario import Plan, Run, scenario
from tests.faults.system import System
from tests.helpers.services import UNIT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

TTL = 20 * UNIT
SLACK = 10 * UNIT
EARLY, LATE = 0.06, 0.02
"""Messages are sent so many seconds around the end of the chat; more of them before, for they take a while. On a busy
machine they take longer: as long as not one has come in time, the next are sent earlier."""
MOST_RACES = 4
"""Of one chat; otherwise those with the most luck would take as long as all others together."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    settings = {**SETTINGS, "CHAT_TTL": str(TTL)}
    async with System.running(tmp_path_factory.mktemp("system"), settings=settings, subscribers=0) as system:
        yield system


async def test_f17_messages_race_the_expiry(system: System, rows: list[Row], plan: Plan) -> None:
    races = 1000 if plan.seconds else 50
    async with scenario(system, rows, "F17", f"{races} messages within 60 ms of the expiry", plan=plan) as run:
        run.chats_end = True
        early, won = EARLY, 0
        while races > 0 or not won:
            results = await asyncio.gather(*(race(run, number, early) for number in range(min(50, max(races, 10)))))
            races -= sum(map(len, results))
            won += sum(map(sum, results))
            if not won:
                early *= 2
    told = {event.chat: event.at for event in run.recorder.events if isinstance(event, Expired)}
    sent = {event.token: event.at for event in run.recorder.events if isinstance(event, Sent)}
    echoed = [event for event in run.recorder.events if isinstance(event, Echoed)]
    assert set(told) == set(run.recorder.users)
    for event in echoed:
        # What was echoed has renewed the chat.
        assert told[event.chat] - sent[event.token] > TTL - 0.005
    last = {event.chat: event.at for event in echoed}
    assert max(told[chat] - at for chat, at in last.items()) < TTL + SLACK
    refused = {event.token for event in run.recorder.events if isinstance(event, Unanswered)}
    received = {event.message.token for event in run.recorder.events if isinstance(event, Received)}
    assert not refused & received
    assert refused
    assert len(echoed) > len(last)  # some of the races were won


async def race(run: Run, number: int, early: float) -> list[bool]:
    """Talk at the last moment as long as that succeeds, but a few times at most; returns what came in time."""
    user = await run.crowd.register(f"User {number}")
    chat = await run.crowd.enter(lambda: run.crowd.user_chat(user))
    try:
        await run.crowd.say(chat)
        won: list[bool] = []
        while chat.ended is None and len(won) < MOST_RACES:
            # The chat is about to expire, or has just done so.
            await asyncio.sleep(TTL + random.uniform(-early, LATE))  # noqa: S311
            won.append(await run.crowd.say(chat))
        await run.until(lambda: chat.ended is not None)
        return won
    finally:
        await chat.aclose()


async def test_f17b_a_chat_lives_until_its_end(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F17b", "silence of 3/4 and of 5/4 of the time to live", plan=plan) as run:
        run.chats_end = True
        user = await run.crowd.register("Nika")
        chat = await run.crowd.enter(lambda: run.crowd.user_chat(user))
        for _ in range(2):
            await asyncio.sleep(TTL * 3 / 4)
            assert await run.crowd.say(chat)
        echoed_at = now()
        await run.until(lambda: chat.ended is not None)
        assert TTL - SLACK < now() - echoed_at < TTL + SLACK
        await chat.aclose()

"""Agents and users do what people do: all at once, twice, and away without a word (F10, F11, F12, F18)."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from live_support_client import (
    AlreadyClaimed,
    JoinRequest,
    LiveSupportError,
    NotWaiting,
    Replaced,
    UserJoin,
)
from tests.faults.checker import Bounds
from tests.faults.conftest import GRACE, SETTINGS
from tests.faults.history import Abandoned, Gone, Shown, now
from tests.faults.people import RecordedChat, RecordedJoins, any_of
from tests.faults.report import Row
from tests.faults.scenario import SETTLE_SECONDS, Plan, Run, scenario
from tests.faults.system import System
from tests.helpers.keys import KEYS
from tests.helpers.proxy import Proxy
from tests.helpers.services import UNIT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LEASE = 50 * UNIT
BOUNDS = Bounds(lease=LEASE)
SLACK = 20 * UNIT
"""What a busy machine adds to a time that is promised."""

PING_SECONDS = 20
"""How often a service asks whether a peer is there, and how long it waits for the answer."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    settings = {**SETTINGS, "CLAIM_LEASE": str(LEASE)}
    async with System.running(tmp_path_factory.mktemp("system"), settings=settings) as system:
        yield system


async def test_f10_many_agents_claim_the_same_users(system: System, rows: list[Row], plan: Plan) -> None:
    users, agents = (500, 50) if plan.seconds else (40, 10)
    what = f"{agents} agents claim the same {users} users, some twice, some in vain"
    async with scenario(system, rows, "F10", what, plan=plan, bounds=BOUNDS) as run:
        rush = Rush(run)
        for number in range(users):
            run.spawn(run.crowd.wait_in_line(f"User {number}"))
        await run.until(lambda: run.queue_holds(users), SETTLE_SECONDS + 2 * users * UNIT)
        for number in range(agents):
            run.spawn(rush.work(f"Agent {number}"))

        await run.until(lambda: run.queue_holds(0), SETTLE_SECONDS + 2 * LEASE + 2 * users * UNIT)
        await run.until(lambda: len(rush.served) == users)
        assert rush.lost > users / 2
        assert rush.abandoned
    shown = [event for event in run.recorder.events if isinstance(event, Shown)]
    for user, claimed_at in rush.abandoned:
        again = min(event.at for event in shown if event.user == user and event.at > claimed_at)
        assert again - claimed_at < LEASE + 1 + SLACK
    assert Counter(rush.served).most_common(1)[0][1] == 1


class Rush:
    """Agents who claim whomever they see. One in five does so twice, and three in ten of the winners never join."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.served: list[str] = []
        self.abandoned: list[tuple[str, float]] = []
        """Users whom a winner left alone, and when they were claimed."""
        self.lost = 0
        self._random = random.Random(1)  # noqa: S311 - the same rush every time

    async def work(self, name: str) -> None:
        joins = await self.run.crowd.enter(lambda: self.run.crowd.joins(name))
        try:
            async with asyncio.TaskGroup() as group:
                async for request in joins:
                    group.create_task(self._claim(joins, request, name))
        finally:
            await joins.aclose()

    async def _claim(self, joins: RecordedJoins, request: JoinRequest, name: str) -> None:
        clicks = 2 if self._random.random() < 0.2 else 1
        claimed_at = now()
        outcomes = await asyncio.gather(*(joins.claim(request) for _ in range(clicks)), return_exceptions=True)
        if any(isinstance(outcome, AlreadyClaimed | NotWaiting) for outcome in outcomes):
            self.lost += 1
            return
        assert set(outcomes) == {None}
        if request.user_id not in dict(self.abandoned) and self._random.random() < 0.3:
            self.abandoned.append((request.user_id, claimed_at))
            return
        chat = await self.run.crowd.enter(lambda: self.run.crowd.support_chat(request, name))
        self.served.append(request.user_id)
        await self.run.crowd.attend(chat)


async def test_f11a_an_agent_vanishes_after_a_claim(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F11a", "agents vanish after a claim", plan=plan, bounds=BOUNDS) as run:
        for number in range(3):
            run.spawn(run.crowd.wait_in_line(f"User {number}"))
        await run.until(lambda: run.queue_holds(3))
        in_order = await system.redis.client.zrange(KEYS.queue.waiting, 0, -1)
        for number in range(max(4, round(run.seconds / 2))):
            joins = await run.crowd.enter(lambda: run.crowd.joins("Agent"))
            requests = [await anext(joins) for _ in range(3)]
            assert [request.user_id for request in requests] == in_order

            async def vanish(_: System, joins: RecordedJoins = joins, number: int = number) -> None:
                if number % 2:
                    joins.drop()
                await joins.aclose()

            await joins.claim(requests[number % 3])
            await run.inject(vanish)
            await run.until(lambda: nobody_is_claimed(run))
        await run.note_who_waits()


async def nobody_is_claimed(run: Run) -> bool:
    """Whether every claim was given back."""
    return bool(await run.system.redis.client.zcard(KEYS.queue.leases) == 0)


async def test_f11b_an_agent_vanishes_after_joining(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F11b", "agents vanish after joining", plan=plan, bounds=BOUNDS) as run:
        await run.fill_with_chats()
        for _ in range(max(1, round(run.seconds / 5))):

            async def vanish(_: System) -> None:
                for chat in run.crowd.chats("Support"):
                    chat.drop()

            await run.inject(vanish)
            await run.until(run.everybody_is_there)
        # In the first version of the protocol the chat stays the agent's.
        assert await run.queue_holds(0)


async def test_f11c_an_agent_whose_answer_is_lost_gets_in(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F11c", "an agent's Joined is lost", plan=plan, bounds=BOUNDS) as run:
        user = await run.crowd.register("Nika")
        user_chat = await run.crowd.enter(lambda: run.crowd.user_chat(user))
        run.spawn(run.crowd.attend(user_chat))
        run.expect_users(1)
        request = JoinRequest(participant="User", user_id=user.user_id, chat_id=user.chat_id)
        async with Proxy.to(system.chat_servers[0].service.http) as proxy:

            async def lose(_: System) -> None:
                chat = run.crowd.support_chat(request, "Vika", lambda: proxy.url)
                proxy.replies_to_pass = 1  # that to the handshake
                joining = asyncio.create_task(chat.__aenter__())
                # It has joined all the same: the user is told.
                await run.until(lambda: user_chat.support_id is not None)
                proxy.cut()
                with pytest.raises(LiveSupportError):
                    await joining

            await run.inject(lose)
        chat = await run.crowd.enter(lambda: run.crowd.support_chat(request, "Vika"))
        assert chat.support_id == user_chat.support_id
        run.spawn(run.crowd.attend(chat))
        await run.until(run.all_talk)


async def test_f12_users_leave_in_every_way(system: System, rows: list[Row], plan: Plan) -> None:
    ways: list[tuple[Leaving, float]] = [(close, 0), (die, 0)]
    if plan.seconds:  # to notice this takes 40 s
        ways.append((pull_the_cable, 2 * PING_SECONDS))
    what = "users close the tab, are killed" + (", pull the cable" if plan.seconds else "")
    async with (
        scenario(system, rows, "F12", what, plan=plan, bounds=BOUNDS) as run,
        Proxy.to(system.chat_servers[0].service.http) as cable,
    ):
        chats = []
        for number in range(len(ways)):
            user = await run.crowd.register(f"User {number}")
            chats.append(await run.crowd.user_chat(user, lambda: cable.url).__aenter__())
        await run.until(lambda: run.queue_holds(len(ways)))
        await asyncio.gather(
            *(leave(run, chat, way, cable, extra) for chat, (way, extra) in zip(chats, ways, strict=True))
        )


Leaving = Callable[[RecordedChat, Proxy], Awaitable[None]]


async def close(chat: RecordedChat, _: Proxy) -> None:
    """Leave as a browser does whose tab is closed."""
    await chat.aclose()


async def die(chat: RecordedChat, _: Proxy) -> None:
    """Leave as a browser does that crashes."""
    chat.drop()
    await chat.aclose()


async def pull_the_cable(_: RecordedChat, cable: Proxy) -> None:
    """Leave without any sign, once the others have left."""
    await asyncio.sleep(UNIT)
    cable.freeze()


async def leave(run: Run, chat: RecordedChat, way: Leaving, cable: Proxy, extra: float) -> None:
    """Leave in a way, and wait until the queue has noticed; `extra` is how long a connection may seem to stand."""
    await run.inject(lambda _: way(chat, cable))
    within = GRACE + 1 + extra + SLACK
    run.recorder.note(Abandoned(at=now(), user=chat.user_id, within=within))

    async def has_left() -> bool:
        return await run.system.redis.client.zscore(KEYS.queue.waiting, chat.user_id) is None

    await run.until(has_left, within + SLACK)
    run.recorder.note(Gone(at=now(), user=chat.user_id))
    await chat.aclose()


async def test_f18a_a_user_refreshes_like_mad(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F18a", "refresh after refresh", plan=plan, seconds=4, bounds=BOUNDS) as run:
        await run.fill_with_chats()
        end = now() + run.seconds
        refreshing = [refresh(run, chat, end) for chat in run.crowd.chats("Support")]
        counts = await asyncio.gather(*refreshing)
        assert min(counts) > run.seconds


async def refresh(run: Run, partner: RecordedChat, end: float) -> int:
    """Join as the user again and again, each time over a new connection that sees the conversation go on."""
    times = 0
    me = UserJoin(user_id=partner.user_id, username="Nika", support_id=partner.support_id or "")
    while now() < end:
        tab = RecordedChat(run.recorder, any_of(run.crowd.chat_urls), partner.chat_id, me)

        async def one_more(_: System, tab: RecordedChat = tab) -> None:
            await run.crowd.enter(lambda: tab)

        await run.inject(one_more)
        times += 1
        if times % 10 == 0:
            await run.crowd.say(tab, f"User tab {times}")
        await tab.aclose()
    return times


async def test_f18b_the_newest_tabs_stay(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F18b", "six tabs of one user", plan=plan, bounds=BOUNDS) as run:
        user = await run.crowd.register("Nika")
        tabs = []
        for _ in range(6):
            tabs.append(await run.crowd.enter(lambda: run.crowd.user_chat(user)))
        oldest, *others = tabs
        await run.until(lambda: oldest.ended is not None)
        assert isinstance(oldest.ended, Replaced)
        for number, tab in enumerate(others):
            assert await run.crowd.say(tab, f"User tab {number}")
        assert all(tab.is_open for tab in others)
        run.at_end(*tabs)

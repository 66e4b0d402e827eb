"""Redis, and the network to it, fail in every way they can; nothing is lost, doubled or swapped (F1 to F7, F22)."""

import asyncio

import pytest

from tests.faults.faults import (
    black_hole,
    cut,
    fall_silent,
    fill_memory,
    flush_all,
    flush_scripts,
    hang_script,
    kill_clients,
    kill_redis,
    lose_replies,
    pause_redis,
    refuse_some,
    sleep_redis,
    stick,
)
from tests.faults.report import Row
from tests.faults.scenario import Plan, scenario
from tests.faults.system import System
from tests.helpers.services import UNIT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_f1_the_connections_are_killed(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F1", "CLIENT KILL of the services' connections", plan=plan) as run:
        await run.fill_with_chats()
        await run.keep_injecting(kill_clients(), every=1)
        # The commands are repeated.
        assert run.refusals() == 0


async def test_f3a_redis_pauses(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F3a", "CLIENT PAUSE, 3 s", plan=plan, seconds=1) as run:
        await run.fill_with_chats()
        await run.keep_injecting(pause_redis(3), every=6)
        # Short enough to be waited for.
        assert run.refusals() == 0


async def test_f3b_redis_hangs(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F3b", "Redis stopped, 6 s", plan=plan) as run:
        await run.fill_with_chats()
        await run.unhealthy_while(sleep_redis(6), *system.services)
        if plan.seconds:
            await run.keep_injecting(sleep_redis(6), every=12)
        assert run.refusals() > 0
    assert max(run.row.recoveries) < 30 * UNIT


async def test_f4_redis_is_killed_and_comes_back(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F4", "kill -9 of Redis, back after 0.5 s", plan=plan) as run:
        await run.fill_with_chats()
        await run.keep_injecting(kill_redis(0.5), every=2.5)


async def test_f4b_redis_is_away_for_long(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F4b", "kill -9 of Redis, back after 6 s", plan=plan) as run:
        await run.fill_with_chats()
        # They come while it is away, and get in afterwards.
        run.bring_users(2)
        await run.unhealthy_while(kill_redis(6), *system.services)
        await run.until(run.all_talk)
        if plan.seconds:
            await run.keep_injecting(kill_redis(6), every=12)
        assert run.refusals() > 0


async def test_f5a_connections_fall_silent(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F5a", "half-open connections to Redis", plan=plan, seconds=1) as run:
        await run.fill_with_chats()
        # A silence of 3 s is noticed, and what was on its way is sent again.
        await run.keep_injecting(fall_silent(), every=8)
        assert run.refusals() == 0


async def test_f5b_everything_vanishes(system: System, rows: list[Row], plan: Plan) -> None:
    seconds = 30 if plan.seconds else 6
    async with scenario(system, rows, "F5b", f"black hole, {seconds} s", plan=plan) as run:
        await run.fill_with_chats()
        await run.unhealthy_while(black_hole(seconds=seconds), *system.services)
        assert run.refusals() > 0
        if plan.seconds:
            await run.keep_injecting(black_hole(seconds=seconds), every=seconds + 5)


async def test_f5c_connections_are_cut(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F5c", "all connections to Redis cut", plan=plan, seconds=3) as run:
        await run.fill_with_chats()
        await run.keep_injecting(cut(), every=0.5)
        assert run.refusals() == 0


async def test_f6_answers_are_lost(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F6", "answer of every 5th script cut off", plan=plan) as run:
        losing = asyncio.create_task(run.inject(lose_replies(every=5, seconds=run.seconds)))
        # Joins and claims are hit as well.
        await run.fill_with_chats()
        await losing
        assert sum(proxy.lost_replies for proxy in system.proxies) > 10


async def test_f7a_redis_forgets_the_scripts(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F7a", "SCRIPT FLUSH", plan=plan, seconds=2) as run:
        await run.fill_with_chats()
        await run.keep_injecting(flush_scripts, every=0.2)
    assert run.row.unanswered == 0


async def test_f7b_redis_forgets_everything(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F7b", "FLUSHALL", plan=plan) as run:
        run.chats_end = True
        run.bring_agents()
        for _ in range(round(run.seconds / 5)):
            run.bring_users()
            await run.until(run.all_talk)
            await run.inject(flush_all)
            # Everybody is told.
            await run.until(lambda: not run.standing())
        run.bring_users()
        await run.until(run.all_talk)


async def test_f24_redis_is_busy_while_users_come(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F24", "a script hangs for 1.5 s, while users come", plan=plan, seconds=1) as run:
        await run.fill_with_chats()
        for _ in range(3):
            busy = asyncio.create_task(run.inject(hang_script(1.5)))
            # Their subscriptions are refused, and stand afterwards.
            run.bring_users(2)
            await busy
            await run.until(run.all_talk)
        for process in system.services:
            await process.healthy()


async def test_f25_requests_get_stuck_and_arrive_late(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F25", "requests stuck for 6 s, delivered later", plan=plan, seconds=1) as run:
        await run.fill_with_chats()
        # Publications of the others go on; each process has a new connection by the time the old one's data arrives.
        await run.keep_injecting(stick(seconds=6, then=1), every=12)


ERRORS = (
    "NOSCRIPT No matching script.",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MASTERDOWN Link with MASTER is down",
    "CLUSTERDOWN The cluster is down",
    "BUSY Redis is busy running a script.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Errors writing to the AOF file",
    "NOREPLICAS Not enough good replicas to write.",
)


async def test_f26_redis_refuses_one_of_several(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F26", "every 7th script refused for a moment", plan=plan, seconds=4) as run:
        await run.fill_with_chats()
        await run.inject(refuse_some(*ERRORS, every=7, seconds=run.seconds))
        assert sum(proxy.refused for proxy in system.proxies) > 10


async def test_f22_redis_is_full(system: System, rows: list[Row], plan: Plan) -> None:
    async with scenario(system, rows, "F22", "maxmemory reached, 3 s", plan=plan) as run:
        await run.fill_with_chats()
        full = asyncio.create_task(run.inject(fill_memory(3)))
        await run.until(lambda: run.refusals() > 0)
        # They cannot register, and get in afterwards.
        run.bring_users(2)
        await full
        await run.until(run.all_talk)
        if plan.seconds:
            await run.keep_injecting(fill_memory(3), every=6)

"""One chat that is joined again and again, or whose histories nobody reads: what the others notice, and what it costs.

The server, the attacker and this process are three. At the end a table tells what was measured.
"""

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.helpers.services import UNIT, Stopwatch
from tests.helpers.wire import Frame, User
from tests.hostile.victims import MIB, Honest, Victim, running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

REJOIN_MS, ECHO_MS = 15_000 * UNIT, 10_000 * UNIT
"""Far above what is measured (see docs/security.md): the machine that runs the tests does other things too."""

FULL = {"small messages": ("hi there", 4990), "16 KB messages": ("\U0001f642" * 3990, 518)}


class Row(NamedTuple):
    """What an attack came to."""

    attack: str
    grew_mib: float
    rejoin_ms: list[float]
    echo_ms: list[float]


@pytest.fixture(scope="module")
def table() -> Iterator[list[Row]]:
    rows: list[Row] = []
    yield rows
    print(f"\n{'attack':32} {'grew MiB':>9} {'re-joins':>9} {'p50':>7} {'p99 ms':>7} {'echo p50':>9} {'p99 ms':>7}")
    for row in rows:
        rejoin, echo = (statistics.quantiles(ms, n=100) for ms in (row.rejoin_ms, row.echo_ms))
        numbers = f"{row.grew_mib:9.1f} {len(row.rejoin_ms):9} {rejoin[49]:7.1f} {rejoin[98]:7.1f}"
        print(f"{row.attack:32} {numbers} {echo[49]:9.1f} {echo[98]:7.1f}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victim(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Victim]:
    # That of messages is only high so that chats are full quickly.
    rates = {"JOIN_RATE": "100000/second", "MESSAGE_RATE": "100000/second"}
    async with running(redis_url, tmp_path_factory.mktemp("victim"), **rates) as victim:
        yield victim


async def said(victim: Victim, content: str, count: int) -> User:
    """A user who has said something so many times, and has gone."""
    user = await User.register(victim.service)
    async with user.chat(victim.service) as socket:
        await socket.send(user.join())
        await socket.receive()
        for begin in range(0, count, 16):
            some = min(16, count - begin)
            for _ in range(some):
                await socket.send(user.says(content))
            for frame in await socket.receive_some(some):
                assert frame["type"] == "ChatMessage", frame
    return user


async def rejoin(victim: Victim, user: User) -> list[Frame]:
    """Refresh: the messages of the history."""
    async with user.chat(victim.service) as socket:
        await socket.send(user.join())
        assert await socket.receive() == user.joined
        history = await socket.receive()
        assert history["type"] == "ChatHistory", history
        messages: list[Frame] = history["args"]["messages"]
        return messages


async def attack(name: str, victim: Victim, users: list[User]) -> Row:
    """Let a process attack, while honest users chat, and one comes again and again."""
    others = await said(victim, "x" * 1000, 40)
    honest, rejoin_ms = Honest(), []
    async with honest.chatting(victim.service):
        before = most = victim.rss_kib
        attacker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.hostile.attacks", name, str(victim.service.port)),
            *(json.dumps(user._asdict()) for user in users),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.DEVNULL,
        )
        ended = asyncio.create_task(attacker.wait())
        while not ended.done():
            watch = Stopwatch()
            assert len(await rejoin(victim, others)) == 40
            rejoin_ms.append(watch.seconds * 1000)
            most = max(most, victim.rss_kib)
            await asyncio.sleep(0.2)  # less often than a chat may be joined, over the time of an attack
        assert await ended == 0
    return Row(name, (most - before) / MIB, rejoin_ms, honest.echo_ms)


def check(row: Row) -> None:
    assert statistics.quantiles(row.rejoin_ms, n=100)[98] < REJOIN_MS
    assert statistics.quantiles(row.echo_ms, n=100)[98] < ECHO_MS
    assert row.grew_mib < 50


async def test_without_an_attack_all_is_quick(victim: Victim, table: list[Row]) -> None:
    table.append(await attack("none", victim, []))
    check(table[-1])


@pytest.mark.parametrize("messages", FULL)
async def test_who_joins_a_full_chat_in_a_storm_is_the_only_one_who_notices(
    messages: str, victim: Victim, table: list[Row]
) -> None:
    row = await attack("join_storm", victim, [await said(victim, *FULL[messages])])
    table.append(row._replace(attack=f"join storm, {messages}"))
    check(row)


async def test_histories_that_nobody_reads_cost_little(victim: Victim, table: list[Row]) -> None:
    row = await attack("unread_histories", victim, [await said(victim, *FULL["16 KB messages"]) for _ in range(4)])
    table.append(row._replace(attack="20 histories that nobody reads"))
    check(row)


@pytest.mark.parametrize("messages", FULL)
async def test_a_long_history_comes_as_a_whole(messages: str, victim: Victim) -> None:
    content, count = FULL[messages]
    user = await said(victim, content, count)
    history = await rejoin(victim, user)
    assert [message["content"] for message in history] == [content] * count

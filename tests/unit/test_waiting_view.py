"""An agent's way through the waiting list: everybody once per entry, whatever happens meanwhile."""

import asyncio
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_support.chats.join_queue import JoinQueue, Waiting, WaitingList
from live_support.chats.waiting_view import WaitingView
from schemas.errors import Unavailable
from subscriber.feed import Feed


class Queue:
    """Stands for the JoinQueue: a list that a test sets, the longest waiting first."""

    def __init__(self) -> None:
        self.version = 0
        self.users: list[Waiting] = []
        self.away = False
        self.readings = 0
        self.reads = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def waiting_list(self, *, known_version: str = "") -> WaitingList | None:
        self.readings += 1
        self.reads.set()
        await asyncio.sleep(0)
        await self.may_answer.wait()
        if self.away:
            raise Unavailable("away")
        return None if known_version == str(self.version) else WaitingList(str(self.version), list(self.users), None)


class List:
    """A view, and the queue behind it."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.view = WaitingView(cast(JoinQueue, self.queue), cast(Any, None))
        self.woken = 0

    async def becomes(self, *users: tuple[str, int]) -> None:
        """Let the list be these users, each with an entry id."""
        self.queue.version += 1
        self.queue.users = [
            Waiting(user_id, f"chat of {user_id}", entry_id, time) for time, (user_id, entry_id) in enumerate(users)
        ]
        await self.view.refresh()

    def agent(self) -> Feed:
        def wake() -> None:
            self.woken += 1

        return Feed(self.view, wake)


@pytest.fixture
def waiting() -> List:
    return List()


def taken(feed: Feed) -> list[str]:
    """Whom an agent is shown until nobody is new."""
    shown: list[str] = []
    while frames := feed.take():
        shown += [msgspec.json.decode(frame)["userId"] for frame in frames]
    return shown


async def test_a_late_agent_is_shown_the_longest_waiting_first(waiting: List) -> None:
    await waiting.becomes(("nika", 7), ("ana", 2), ("leo", 3))
    assert taken(waiting.agent()) == ["nika", "ana", "leo"]


async def test_a_frame_is_the_seeds_join_request(waiting: List) -> None:
    await waiting.becomes(("nika", 1))
    assert waiting.agent().take() == [b'{"participant":"User","userId":"nika","chatId":"chat of nika"}']


async def test_who_comes_later_is_shown_in_the_order_of_coming(waiting: List) -> None:
    await waiting.becomes(("nika", 1))
    feed = waiting.agent()
    assert taken(feed) == ["nika"]
    await waiting.becomes(("back again", 4), ("nika", 1), ("ana", 2), ("leo", 3))
    assert taken(feed) == ["ana", "leo", "back again"]
    assert taken(feed) == []


async def test_a_new_entry_is_shown_again(waiting: List) -> None:
    await waiting.becomes(("nika", 1), ("ana", 2))
    feed = waiting.agent()
    assert taken(feed) == ["nika", "ana"]
    await waiting.becomes(("ana", 2))
    assert taken(feed) == []
    await waiting.becomes(("nika", 3), ("ana", 2))
    assert taken(feed) == ["nika"]


async def test_who_was_claimed_before_being_shown_is_not_shown(waiting: List) -> None:
    await waiting.becomes(("nika", 1), ("ana", 2))
    feed = waiting.agent()
    await waiting.becomes(("ana", 2))
    assert taken(feed) == ["ana"]


async def test_who_returned_before_being_shown_is_shown_once(waiting: List) -> None:
    await waiting.becomes(("nika", 1), ("ana", 2))
    feed = waiting.agent()
    await waiting.becomes(("nika", 3), ("ana", 2))
    assert taken(feed) == ["ana", "nika"]


async def test_a_long_list_comes_in_portions_of_which_none_is_empty(waiting: List) -> None:
    users = [(f"user {number}", number + 1) for number in range(1000)]
    await waiting.becomes(*users)
    feed = waiting.agent()
    first = feed.take()
    assert 0 < len(first) < 1000
    await waiting.becomes(*users[900:])
    assert taken(feed) == [user_id for user_id, _ in users[900:]]


async def test_agents_are_woken_when_the_list_has_changed_and_only_then(waiting: List) -> None:
    feed = waiting.agent()
    await waiting.view.refresh()
    woken = waiting.woken
    await waiting.view.refresh()
    assert waiting.woken == woken
    await waiting.becomes(("nika", 1))
    assert waiting.woken == woken + 1
    feed.close()
    await waiting.becomes()
    assert waiting.woken == woken + 1


@pytest.mark.parametrize("away", [False, True], ids=["well", "away"])
async def test_a_crowd_of_agents_shares_the_readings(waiting: List, away: bool) -> None:
    """Each for itself would wait for all before it, and while Redis is away a reading takes a second."""
    waiting.queue.away = away
    outcomes = await asyncio.gather(*(waiting.view.refresh() for _ in range(100)), return_exceptions=True)
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [away] * 100
    assert waiting.queue.readings <= 2


async def test_who_asks_while_the_list_is_read_gets_one_that_is_read_afterwards(waiting: List) -> None:
    waiting.queue.may_answer.clear()
    async with asyncio.TaskGroup() as agents:
        agents.create_task(waiting.view.refresh())
        await waiting.queue.reads.wait()
        agents.create_task(waiting.view.refresh())
        await asyncio.sleep(0)  # it has asked
        waiting.queue.may_answer.set()
    assert waiting.queue.readings == 2


async def test_a_reading_that_is_cancelled_answers_nobody(waiting: List) -> None:
    waiting.queue.may_answer.clear()
    first, second = (asyncio.create_task(waiting.view.refresh()) for _ in range(2))
    await waiting.queue.reads.wait()
    first.cancel()
    waiting.queue.may_answer.set()
    await second
    assert waiting.queue.readings == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["enters", "leaves", "agent looks"])), max_size=40))
async def test_an_agent_who_looks_has_been_shown_every_entry_that_lasts(steps: list[tuple[int, str]]) -> None:
    waiting = List()
    feed = waiting.agent()
    ids: dict[int, int] = {}
    last_id = 0
    shown: list[tuple[str, int]] = []
    for number, step in [*steps, (0, "agent looks")]:
        if step == "agent looks":
            before = len(shown)
            shown += [(user_id, ids[int(user_id)]) for user_id in taken(feed)]
            assert len(set(shown)) == len(shown), "nobody is shown twice for one entry"
            assert {(str(user), entry_id) for user, entry_id in ids.items()} <= set(shown)
            assert [entry_id for _, entry_id in shown[before:]] == sorted(entry_id for _, entry_id in shown[before:])
            continue
        ids.pop(number, None)
        if step == "enters":
            last_id += 1
            ids[number] = last_id
        await waiting.becomes(*((str(user), entry_id) for user, entry_id in sorted(ids.items())))

"""Turns: who works when, and that a turn is never lost."""

import asyncio

import pytest

from live_support.turns import Turns


class Reading:
    """Tasks that wait for turns, and note when they have begun."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.began: list[str] = []

    def wants(self, owner: str) -> asyncio.Task[None]:
        async def begin() -> None:
            await self.turns.begin(owner)
            self.began.append(owner)

        return asyncio.create_task(begin())

    async def begun(self) -> list[str]:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.began


async def test_owners_take_turns_however_many_one_of_them_wants() -> None:
    reading = Reading(1)
    for owner in "aaaaabbc":
        reading.wants(owner)
    assert await reading.begun() == ["a"]
    for _ in range(7):
        reading.turns.end(reading.began[-1])
        await reading.begun()
    assert "".join(reading.began) == "abcabaaa"


async def test_an_owner_has_one_turn_at_a_time() -> None:
    reading = Reading(4)
    for owner in "aaabbc":
        reading.wants(owner)
    assert await reading.begun() == ["a", "b", "c"]
    reading.turns.end("b")
    assert await reading.begun() == ["a", "b", "c", "b"]


async def test_no_more_than_so_many_work_at_once() -> None:
    reading = Reading(2)
    for owner in "abc":
        reading.wants(owner)
    assert await reading.begun() == ["a", "b"]
    reading.turns.end("a")
    assert await reading.begun() == ["a", "b", "c"]


@pytest.mark.parametrize("when", ["while it waits", "as its turn comes"])
async def test_whoever_gives_up_keeps_nobody_waiting(when: str) -> None:
    reading = Reading(1)
    reading.wants("a")
    gives_up, later = reading.wants("b"), reading.wants("c")
    await reading.begun()
    if when == "while it waits":
        gives_up.cancel()
        await reading.begun()
        reading.turns.end("a")
    else:
        reading.turns.end("a")
        gives_up.cancel()
    assert await reading.begun() == ["a", "c"]
    assert later.done()
    reading.turns.end("c")
    reading.wants("b")
    assert await reading.begun() == ["a", "c", "b"]

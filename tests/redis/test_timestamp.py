"""The script's time stamp, against Python's calendar."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from redis.asyncio import Redis

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = 2250
"""Later, Lua's numbers, which are doubles, no longer tell one microsecond from the next."""
SCRIPT = (
    (files("live_support.chats") / "lua/timestamp.lua").read_text("utf-8")
    + """
local stamps = {}
for index, us in ipairs(ARGV) do stamps[index] = timestamp(tonumber(us)) end
return stamps
"""
)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def edges(years: Iterable[int]) -> list[datetime]:
    """The first and the last microsecond of the days at which calendars go wrong."""
    days = [datetime(year, *day, tzinfo=UTC) for year in years for day in ((1, 1), (3, 1), (12, 31))]
    starts = [*days, *(day - timedelta(days=1) for day in days if day.month == 3)]
    return [start + offset for start in starts for offset in (timedelta(0), timedelta(days=1, microseconds=-1))]


async def stamps(redis: Redis, moments: list[datetime]) -> list[str]:
    result: list[str] = []
    for start in range(0, len(moments), 1000):
        some = moments[start : start + 1000]
        result += await redis.eval(SCRIPT, 0, *map(micros, some))
    return result


def expected(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_the_edges_of_february_and_of_the_year_are_right(redis: Redis) -> None:
    moments = edges(range(1970, END))
    assert await stamps(redis, moments) == list(map(expected, moments))


async def test_any_moment_is_right(redis: Redis) -> None:
    chance = random.Random(2023)  # noqa: S311 - the same moments each time
    moments = [EPOCH + timedelta(microseconds=chance.randrange(10**15, 5 * 10**15)) for _ in range(5000)]
    assert await stamps(redis, moments) == list(map(expected, moments))


async def test_stamps_sort_as_their_moments(redis: Redis) -> None:
    moments = sorted(edges(range(2020, 2030)))
    assert sorted(await stamps(redis, moments)) == await stamps(redis, moments)

"""Refusals in the log: none without a trace, and none that fills it."""

import asyncio
import re
from pathlib import Path

from structlog.testing import capture_logs
from websockets.frames import CloseCode as LayerCode

from live_support.refusal_log import Refusal, RefusalLog
from schemas.errors import CloseCode
from tests.helpers.services import UNIT, eventually


async def test_the_first_of_a_kind_is_logged_at_once() -> None:
    refusals = RefusalLog()
    with capture_logs() as logs:
        refusals.note(Refusal.TOKEN_EXPIRED)
        refusals.note(Refusal.TOKEN_SCOPE)
        refusals.note(CloseCode.ALREADY_CLAIMED)
    assert logs == [
        {"event": "client_refused", "what": "token", "reason": "expired", "count": 1, "log_level": "info"},
        {"event": "client_refused", "what": "token", "reason": "scope", "count": 1, "log_level": "info"},
        {"event": "client_closed", "code": 4511, "reason": "already_claimed", "count": 1, "log_level": "info"},
    ]


async def test_what_follows_within_a_second_is_counted_and_told_at_its_end() -> None:
    refusals = RefusalLog(seconds=5 * UNIT)
    loop = asyncio.get_running_loop()
    with capture_logs() as logs:
        began = loop.time()
        for _ in range(1000):
            refusals.note(Refusal.ORIGIN)
        assert [each["count"] for each in logs] == [1]
        await eventually(lambda: len(logs) >= 2)
        assert loop.time() - began >= 5 * UNIT
        # And the next second begins with that line.
        refusals.note(Refusal.ORIGIN)
        assert [each["count"] for each in logs] == [1, 999]
        await eventually(lambda: len(logs) >= 3)
    assert [each["count"] for each in logs] == [1, 999, 1]


async def test_there_is_one_timer_for_all_of_them() -> None:
    refusals = RefusalLog(seconds=0.05)
    with capture_logs() as logs:
        for each in Refusal:
            refusals.note(each)
            refusals.note(each)
        await eventually(lambda: len(logs) >= 2 * len(Refusal))
    assert {each["count"] for each in logs} == {1}


async def test_the_end_of_a_service_tells_the_rest() -> None:
    refusals = RefusalLog()
    with capture_logs() as logs:
        for _ in range(5):
            refusals.note(Refusal.MESSAGES)
        refusals.flush()
        refusals.flush()
    assert [each["count"] for each in logs] == [1, 4]


def test_every_reason_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
    table = page.partition("### What clients are refused")[2]
    documented = {
        (what, reason)
        for what, reasons in re.findall(r"^\| `(\w+)` \|(.*?)\|", table, re.MULTILINE)
        for reason in re.findall(r"`(\w+)`", reasons)
    }
    closes = {("client_closed", code.name.lower()) for code in CloseCode if code >= 4000 and code not in (4429, 4501)}
    closes |= {("client_closed", LayerCode(code).name.lower()) for code in (1002, 1003, 1007, 1008, 1009)}
    documented.discard(("what", "reason"))
    assert documented == {(each.what, each.reason) for each in Refusal} | closes


def test_names_are_plain_words() -> None:
    assert all(re.fullmatch("[a-z_]+", each.what) and re.fullmatch("[a-z_]+", each.reason) for each in Refusal)

"""A claim is settled by exactly its own answer, whatever is refused for being too fast and whatever else arrives."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from live_support_client import (
    AlreadyClaimed,
    ErrorArgs,
    JoinsClient,
    NotAcknowledged,
    NotWaiting,
    Options,
    RateLimited,
)
from live_support_client._claim import Claim
from tests.helpers.services import DEADLINE, UNIT
from tests.sdk.conftest import Handler

Start = Callable[[Handler], Awaitable[str]]

USER = "1" * 32
WAITING, TAKEN, GONE = None, "already_claimed", "not_waiting"


class Server:
    """Answers in order every frame but a claim that is won; the rate and Redis may refuse any of them."""

    def __init__(self, fate: str | None, moods: list[str]) -> None:
        self._fate = fate
        self._moods: Iterator[str] = iter(moods)
        self.won = False
        self.refusal = ""
        self.unanswered = 0
        self.claim: Claim

    async def receive(self, frame: str) -> None:
        code = self._code(frame)
        if frame == USER:
            self.won, self.refusal = code is None, code or ""
        if code is not None:
            self.unanswered += 1
            asyncio.get_running_loop().call_soon(self._answer, code)

    def _answer(self, code: str) -> None:
        self.unanswered -= 1
        self.claim.answer(ErrorArgs(code=code, message="", retry_after_ms=1))

    def _code(self, frame: str) -> str | None:
        mood = next(self._moods, "")
        if mood == "too fast":
            return "rate_limited"
        if frame == "-":
            return "invalid"
        if mood == "no Redis":
            return "unavailable"
        return self._fate if frame == USER else "not_waiting"


@given(st.sampled_from([WAITING, TAKEN, GONE]), st.lists(st.sampled_from(["", "too fast", "no Redis"]), max_size=12))
@example(WAITING, ["", "too fast", "no Redis"])
@example(WAITING, ["", "too fast", "too fast", "too fast"])
@example(GONE, ["too fast", "too fast", "too fast"])
def test_the_answers_tell_what_became_of_the_claim(fate: str | None, moods: list[str]) -> None:
    async def play() -> None:
        server = Server(fate, moods)
        server.claim = Claim(USER, server.receive)
        async with asyncio.timeout(5):
            outcome = await server.claim.outcome()
        assert (outcome is None) == server.won
        assert outcome is None or outcome.code == server.refusal
        assert server.unanswered == 0, "an answer is left for the next claim"

    asyncio.run(play())


def error(code: str, **more: int) -> str:
    return json.dumps({"type": "Error", "args": {"code": code, "message": "", **more}})


def joins_server(*answers: list[str]) -> tuple[Handler, list[int]]:
    """Answer the first claim with the first list of codes, and so on; then none."""
    connections = [0]
    scripts = iter(answers)

    async def handle(connection: ServerConnection) -> None:
        connections[0] += 1
        async for frame in connection:
            if frame != "-":
                for code in next(scripts, []):
                    await connection.send(error(code))

    return handle, connections


async def test_what_nobody_asked_for_answers_no_claim(scripted: Start, options: Options) -> None:
    async def handle(connection: ServerConnection) -> None:
        for code in ("invalid", "not_waiting", "invalid"):
            await connection.send(error(code))
        await connection.send(json.dumps({"participant": "User", "userId": USER, "chatId": USER}))
        async for frame in connection:
            code = "invalid" if frame == "-" else "already_claimed"
            await connection.send(error(code))

    async with JoinsClient(await scripted(handle), options=options) as joins, asyncio.timeout(DEADLINE):
        await anext(joins)
        for _ in range(3):
            with pytest.raises(AlreadyClaimed):
                await joins.claim(USER)


@pytest.mark.parametrize("codes", [["invalid_id", "too_rainy"], ["not_waiting", "not_waiting"], ["not_waiting"] * 3])
async def test_answers_that_make_no_sense_void_the_claim(codes: list[str], scripted: Start, options: Options) -> None:
    handle, connections = joins_server(codes, ["not_waiting", "invalid"])
    async with JoinsClient(await scripted(handle), options=options) as joins, asyncio.timeout(DEADLINE):
        with pytest.raises(NotAcknowledged):
            await joins.claim(USER)
        with pytest.raises(NotWaiting):
            await joins.claim(USER)
    assert connections == [2]


async def test_a_server_that_is_silent_voids_the_claim(scripted: Start) -> None:
    handle, connections = joins_server([], ["not_waiting", "invalid"])
    options = Options(answer_seconds=UNIT, trust_env=False)
    async with JoinsClient(await scripted(handle), options=options) as joins, asyncio.timeout(DEADLINE):
        with pytest.raises(NotAcknowledged):
            await joins.claim(USER)
        with pytest.raises(NotWaiting):
            await joins.claim(USER)
    assert connections == [2]


async def test_a_pause_that_is_too_long_is_the_callers_to_make(scripted: Start, options: Options) -> None:
    async def handle(connection: ServerConnection) -> None:
        async for frame in connection:
            code = "invalid" if frame == "-" else "rate_limited"
            await connection.send(error(code, retryAfterMs=3_600_000))

    async with JoinsClient(await scripted(handle), options=options) as joins, asyncio.timeout(DEADLINE):
        with pytest.raises(RateLimited) as refused:
            await joins.claim(USER)
        assert refused.value.retry_after == 3600

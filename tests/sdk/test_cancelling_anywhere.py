"""Whatever is cancelled, and wherever it was: the client goes on, and tells the truth."""

import asyncio
from collections import Counter

import pytest
from hypothesis import strategies as st

from live_support_client import ChatClient, ChatHistory, JoinsClient, NotWaiting
from tests.helpers.sdk import Agent, hear, request_of, user_chat
from tests.helpers.services import DEADLINE
from tests.sdk.conftest import for_all

NOBODY = "0" * 32
turns = st.integers(0, 40)
"""Turns of the event loop until a task is cancelled."""


async def after(task: asyncio.Task[object], turns: int) -> BaseException | object:
    """Let a task run for some turns, cancel it, and return what it says."""
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    return outcome


@pytest.mark.hypothesis
async def test_sending(client: ChatClient) -> None:
    user = await client.register("Nika")
    sent: list[str] = []
    stored: list[str] = []

    async def check(steps: list[int]) -> None:
        async with asyncio.timeout(DEADLINE):
            for each in steps:
                sent.append(f"message {len(sent)}")
                outcome = await after(asyncio.ensure_future(chat.send(sent[-1])), each)
                if not isinstance(outcome, asyncio.CancelledError):
                    assert not isinstance(outcome, BaseException), outcome
                    stored.append(sent[-1])
            text = f"after {len(sent)}"
            assert (await chat.send(text)).content == text
            stored.append(text)

    async with client.chat(user) as chat:
        await for_all(check, st.lists(turns, max_size=6), examples=60)
    async with client.chat(user) as chat:
        while not isinstance(message := await hear(chat), ChatHistory):
            pass
    counts = Counter(each.content for each in message.args.messages)
    assert set(counts.values()) == {1}, "something was stored twice"
    assert set(stored) <= set(counts)
    assert set(counts) <= {*sent, *stored}


@pytest.mark.hypothesis
async def test_claiming(client: ChatClient, joins: JoinsClient) -> None:
    async def check(steps: list[tuple[bool, int]]) -> None:
        async with user_chat(client) as chat, asyncio.timeout(DEADLINE):
            for is_waiting, each in steps:
                user_id = chat.user_id if is_waiting else NOBODY
                outcome = await after(asyncio.ensure_future(joins.claim(user_id)), each)
                if is_waiting:
                    assert outcome is None or isinstance(outcome, asyncio.CancelledError)
                else:
                    assert isinstance(outcome, NotWaiting | asyncio.CancelledError)
            outcomes = await asyncio.gather(
                joins.claim(NOBODY), joins.claim(request_of(chat)), joins.claim(NOBODY), return_exceptions=True
            )
            assert [type(each) for each in outcomes] == [NotWaiting, type(None), NotWaiting]

    await for_all(check, st.lists(st.tuples(st.booleans(), turns), max_size=5), examples=40)


async def test_a_claim_that_has_not_gone_out_is_not_made(client: ChatClient, joins: JoinsClient, agent: Agent) -> None:
    async with user_chat(client) as chat, agent() as other, asyncio.timeout(DEADLINE):
        first, second = (asyncio.create_task(joins.claim(each)) for each in (NOBODY, chat.user_id))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await other.claim(chat.user_id)


@pytest.mark.hypothesis
async def test_entering_and_leaving(client: ChatClient, agent: Agent) -> None:
    async def check(steps: tuple[bool, int, int]) -> None:
        is_chat, entering, leaving = steps
        stream = client.chat(user) if is_chat else agent()
        async with asyncio.timeout(DEADLINE):
            outcome = await after(asyncio.ensure_future(stream.__aenter__()), entering)
            if isinstance(outcome, asyncio.CancelledError):
                await stream.__aenter__()
            states = [stream.state]
            await after(asyncio.ensure_future(stream.aclose()), leaving)
            await stream.aclose()
            assert [*states, stream.state] == ["connected", "closed"]

    user = await client.register("Nika")
    await for_all(check, st.tuples(st.booleans(), turns, turns), examples=60)


@pytest.mark.hypothesis
async def test_listening(client: ChatClient) -> None:
    async with user_chat(client) as chat:
        await hear(chat)

        async def check(steps: list[int]) -> None:
            text = f"after {steps}"
            listening = [asyncio.ensure_future(anext(chat)) for _ in steps]
            cancelled = [await after(task, each) for task, each in zip(listening, steps, strict=True)]
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in cancelled)
            await chat.send(text)
            message = await hear(chat)
            assert getattr(message.args, "content", None) == text

        await for_all(check, st.lists(turns, max_size=5), examples=30)

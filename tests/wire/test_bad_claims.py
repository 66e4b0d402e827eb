"""What an agent may send over `/joins`, and what is refused there. Who wins a claim is tested elsewhere."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.helpers.services import Service
from tests.helpers.wire import (
    Socket,
    error_code,
    refusal,
    request_comes_next,
    support_in_chat,
    two_agents,
    user_in_chat,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Agents = tuple[Socket, Socket]

UNKNOWN = "0" * 32

NO_CLAIMS = {
    "nothing": "",
    "white space": " \n",
    "quotes": '""',
    "word": "Nika",
    "short": "a" * 31,
    "long": "a" * 33,
    "two": f"{UNKNOWN} {UNKNOWN}",
    "upper case": "A" * 32,
    "other digits": "\u0660" * 32,
    "hyphens": "00000000-0000-0000-0000-000000000000",
    "object": f'{{"userId": "{UNKNOWN}"}}',
    "array": f'["{UNKNOWN}"]',
    "single quotes": f"'{UNKNOWN}'",
    "deep nesting": "[" * 60_000,
    "NUL": UNKNOWN + "\0",
}


@pytest_asyncio.fixture(loop_scope="module")
async def agents(shared_chat_server: Service, shared_subscriber: Service) -> AsyncIterator[Agents]:
    async with two_agents(shared_chat_server, shared_subscriber) as agents:
        yield agents


@pytest.mark.parametrize("frame", NO_CLAIMS.values(), ids=NO_CLAIMS.keys())
async def test_what_is_no_id_is_invalid(shared_chat_server: Service, agents: Agents, frame: str) -> None:
    assert await refusal(frame, agents[0]) == "invalid"
    await request_comes_next(shared_chat_server, *agents)


async def test_the_third_malformed_claim_in_a_row_closes(shared_chat_server: Service, agents: Agents) -> None:
    joins, other = agents
    for frame in ("Nika", "{}", ""):
        await joins.send(frame)
    errors, code = await joins.drain()
    assert [error_code(error) for error in errors] == ["invalid"] * 3
    assert code == 4500
    await request_comes_next(shared_chat_server, other)


async def test_an_id_that_does_not_wait_closes_nothing_however_often(
    shared_chat_server: Service, agents: Agents
) -> None:
    assert [await refusal(UNKNOWN, agents[0]) for _ in range(4)] == ["not_waiting"] * 4
    await request_comes_next(shared_chat_server, *agents)


@pytest.mark.parametrize("form", ['"{}"', " {}\n", "\t{}\r\n", ' "{}" ', '" {} "'])
async def test_quotes_and_white_space_around_the_id_are_tolerated(
    shared_chat_server: Service, agents: Agents, form: str
) -> None:
    joins, other = agents
    async with user_in_chat(shared_chat_server) as (user, _):
        assert await joins.receive() == await other.receive() == user.request
        await joins.send(form.format(user.userId))
        # The winner hears nothing: the next answer is that to the next claim.
        assert await refusal(UNKNOWN, joins) == "not_waiting"
        assert await refusal(user.userId, other) == "already_claimed"
        # Unless an agent joins, the user waits again as soon as the winner is gone, and the next test's agents see it.
        async with support_in_chat(shared_chat_server, user):
            pass

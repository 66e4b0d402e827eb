"""How much may be said: the bounds of a chat, and the rate of a connection."""

import asyncio
import json

import pytest

from live_support.rate import Rate
from tests.helpers.services import Service
from tests.helpers.wire import error_code, refusal, say, talk_in


@pytest.mark.given(chat_max_messages=2)
async def test_a_full_chat_takes_no_message_more(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        said = [await say(talk.user.says(content), talk.user_socket, talk.support_socket) for content in ("1", "2")]
        assert await refusal(talk.user.says("3"), talk.user_socket) == "chat_full"
        assert await refusal(talk.user.hears("3", talk.support_id), talk.support_socket) == "chat_full"
        assert await talk.history() == said


@pytest.mark.given(chat_max_bytes=1000)
async def test_a_chat_takes_so_many_bytes(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        said = [await say(talk.user.says("short"), talk.user_socket, talk.support_socket)]
        # Not the characters count: these are 900 bytes in 300 of them.
        assert await refusal(talk.user.says("€" * 300), talk.user_socket) == "chat_full"
        said.append(await say(talk.user.says("x" * 300), talk.user_socket, talk.support_socket))
        assert await talk.history() == said
        assert len(json.dumps(said)) < 1000


@pytest.mark.given(message_rate=Rate("3/hour"))
async def test_who_writes_too_fast_is_told_when_to_go_on(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        # The `Join` was the first frame.
        for content in ("1", "2"):
            await say(talk.user.says(content), talk.user_socket, talk.support_socket)
        await talk.user_socket.send(talk.user.says("3"))
        error = await talk.user_socket.receive()
        assert error_code(error) == "rate_limited"
        assert 0 < error["args"]["retryAfterMs"] <= 1_200_000


@pytest.mark.given(message_rate=Rate("3/hour"))
async def test_the_rate_is_a_connections_own(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        await talk.goes_on()
        await say(talk.user.says("3"), talk.user_socket, talk.support_socket)
        assert await refusal(talk.user.says("4"), talk.user_socket) == "rate_limited"
        await say(talk.user.hears("3", talk.support_id), talk.support_socket, talk.user_socket)
        async with talk.tab(talk.user_rejoin) as tab:
            await say(talk.user.says("5"), tab, talk.user_socket, talk.support_socket)


@pytest.mark.given(message_rate=Rate("3/hour"))
async def test_the_rate_counts_what_is_refused(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        for frame in (talk.user.says(""), {"type": "Typing"}):
            await refusal(frame, talk.user_socket)
        # Malformed as it is, it is not even looked at; so it closes nothing, however often it comes.
        for _ in range(4):
            assert await refusal("{", talk.user_socket) == "rate_limited"


@pytest.mark.given(message_rate=Rate("4/second"))
async def test_after_the_time_that_was_told_the_connection_may_write(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        await talk.user_socket.send(talk.user.says("Hello"))
        while (answer := await talk.user_socket.receive())["type"] != "Error":
            assert await talk.support_socket.receive() == answer
            await talk.user_socket.send(talk.user.says("Hello"))
        await asyncio.sleep(answer["args"]["retryAfterMs"] / 1000)
        await say(talk.user.says("At last"), talk.user_socket, talk.support_socket)

"""Frames that break the rules are closed as before, and leave a line in the log on either WebSocket layer."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

import api.app
import subscriber.app
from live_support_client import AlreadyClaimed, JoinsClient, Options
from tests.helpers.services import Service, eventually, make_settings, serve
from tests.helpers.wire import agent_socket, error_code, user_in_chat
from tests.hostile.attacks import frame

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10

BROKEN = {
    "unknown opcode": (frame(3, b"x"), 1002, "protocol_error"),
    "no mask": (b"\x81\x01x", 1002, "protocol_error"),
    "a close code that may not be sent": (frame(_CLOSE, b"\x03\xee"), 1002, "protocol_error"),
    "a close code that no layer knows": (frame(_CLOSE, b"\x17\x70"), 1002, "protocol_error"),
    "a fragmented ping": (frame(_PING, b"", fin=False), 1002, "protocol_error"),
    "nothing to continue": (frame(0, b"x"), 1002, "protocol_error"),
    "binary": (frame(_BINARY, b"x"), 1003, "unsupported_data"),
    "not UTF-8": (frame(_TEXT, b"\xff"), 1007, "invalid_data"),
    "pings": (frame(_PING, b"") * 50, 1008, "policy_violation"),
    "pongs": (frame(_PONG, b"") * 50, 1008, "policy_violation"),
    "fragments": (frame(_TEXT, b"", fin=False) + frame(0, b"x", fin=False) * 100, 1008, "policy_violation"),
    "large": (frame(_TEXT, b"", announced=70_000), 1009, "message_too_big"),
    "large in fragments": (
        frame(_TEXT, b"x" * 60_000, fin=False) + frame(0, b"x" * 60_000, fin=False), 1009, "message_too_big",
    ),
}  # fmt: skip


class Services(NamedTuple):
    chat: Service
    joins: Service


@pytest.fixture(params=["picows", "uvicorn"])
async def services(
    request: pytest.FixtureRequest,
    redis: Redis,  # noqa: ARG001 - the keys are deleted first
    redis_url: str,
) -> AsyncIterator[Services]:
    settings = make_settings(redis_url, websocket=request.param)
    async with serve(api.app.create_service, settings) as chat, serve(subscriber.app.create_service, settings) as joins:
        yield Services(chat, joins)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_frame_is_one_line_of_the_log(name: str, services: Services) -> None:
    data, code, reason = BROKEN[name]
    with capture_logs() as logs:
        async with agent_socket(services.joins) as socket:
            socket.connection.transport.write(data)
            assert await socket.close_code() == code
        await eventually(lambda: logs)
    assert [{**line, "count": 1} for line in logs] == [
        {"event": "client_closed", "reason": reason, "code": code, "count": 1, "log_level": "info"}
    ]


async def test_a_peer_that_closes_or_goes_is_none(services: Services) -> None:
    with capture_logs() as logs:
        for data in (frame(_CLOSE, b""), frame(_CLOSE, b"\x03\xe8"), frame(_CLOSE, b"\x0b\xb8bye")):
            async with agent_socket(services.joins) as socket:
                socket.connection.transport.write(data)
                await socket.connection.wait_closed()
        async with agent_socket(services.joins) as socket:
            socket.connection.transport.abort()
        async with agent_socket(services.joins) as socket:
            await socket.send("0" * 32)
            assert error_code(await socket.receive()) == "not_waiting"
    assert logs == []


async def test_a_malformed_message_is_one_line_of_the_log(services: Services) -> None:
    with capture_logs() as logs:
        async with agent_socket(services.joins) as socket:
            await socket.send("--")
            assert error_code(await socket.receive()) == "invalid"
    malformed = {"event": "client_refused", "what": "message", "reason": "malformed", "count": 1, "log_level": "info"}
    assert logs == [malformed]


async def test_a_claim_of_the_python_client_leaves_no_line(services: Services) -> None:
    async with (
        user_in_chat(services.chat) as (user, _),
        JoinsClient(services.joins.http, options=Options(trust_env=False)) as winner,
        JoinsClient(services.joins.http, options=Options(trust_env=False)) as loser,
    ):
        with capture_logs() as logs:
            await winner.claim(user.userId)
            with pytest.raises(AlreadyClaimed):
                await loser.claim(user.userId)
    assert logs == []

"""DirectTransport's deadlines, on a connection that only notes what it is told."""

from typing import Any, cast

import pytest
from uvicorn.server import ServerState

from live_support.limits import Limits
from live_support.timing_wheel import NEVER
from live_support.websocket.picows_protocol import DirectTransport
from live_support.websocket.transport import Receiver

PING_SECONDS, PONG_SECONDS = 20.0, 10.0


class Notes:
    """Stands for the TCP connection, picows' transport and the receiver: each has other methods."""

    def __init__(self) -> None:
        self.reading = True
        self.pings = 0
        self.closed: list[int] = []
        self.ended = False

    def is_reading(self) -> bool:
        return self.reading

    def send_ping(self) -> None:
        self.pings += 1

    def send_close(self, code: int, reason: bytes) -> None:  # noqa: ARG002
        self.closed.append(code)

    def close(self) -> None:
        self.ended = True

    def closing_began(self) -> None:
        pass


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def transport(notes: Notes) -> DirectTransport:
    direct = DirectTransport(cast(Receiver, notes), cast(Any, notes), ServerState(), Limits())
    direct.opened(cast(Any, notes), PING_SECONDS, PONG_SECONDS)
    return direct


async def test_who_does_not_answer_a_ping_is_given_up(transport: DirectTransport, notes: Notes) -> None:
    asked = transport._ping_at
    assert transport.keep_alive(asked) == asked + PONG_SECONDS
    assert (notes.pings, notes.closed) == (1, [])
    assert transport.keep_alive(asked + PONG_SECONDS) == NEVER
    assert (notes.closed, notes.ended) == ([1011], True)


async def test_nobody_is_given_up_whose_answer_may_lie_where_we_do_not_read(
    transport: DirectTransport, notes: Notes
) -> None:
    asked = transport._ping_at
    transport.keep_alive(asked)
    notes.reading = False
    assert transport.keep_alive(asked + PONG_SECONDS) == asked + 2 * PONG_SECONDS
    assert notes.closed == []
    notes.reading = True
    assert transport.keep_alive(asked + 2 * PONG_SECONDS) == NEVER
    assert notes.closed == [1011]

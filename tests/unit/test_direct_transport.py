"""DirectTransport: its deadlines, and what it does with frames, between parts that only note what they are told."""

from dataclasses import dataclass
from typing import Any, cast

import pytest
from picows import WSMsgType
from uvicorn.server import ServerState

from live_support.limits import Limits
from live_support.timing_wheel import NEVER
from live_support.websocket.picows_transport import DirectTransport
from live_support.websocket.transport import Receiver

PING_SECONDS, PONG_SECONDS = 20.0, 10.0


class Notes:
    """Stands for the TCP connection, picows' transport and the receiver: each has other methods."""

    def __init__(self) -> None:
        self.reading = True
        self.pings = 0
        self.closed: list[int] = []
        self.ended = False
        self.told: list[bytes] = []
        """What the receiver was."""
        self.pongs: list[bytes] = []

    def is_reading(self) -> bool:
        return self.reading

    def send_ping(self) -> None:
        self.pings += 1

    def send_close(self, code: int, reason: bytes) -> None:  # noqa: ARG002
        self.closed.append(code)

    def close(self) -> None:
        self.ended = True

    def closing_began(self) -> None:
        self.told.append(b"closing began")

    def frame_received(self, frame: bytes) -> None:
        self.told.append(frame)

    def binary_received(self) -> None:
        self.told.append(b"binary")

    def send_pong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def send(self, kind: WSMsgType, payload: bytes) -> None:
        assert (kind, payload) == (WSMsgType.CLOSE, b"")
        self.closed.append(1005)


@dataclass
class Frame:
    """One of picows', as far as the transport looks."""

    msg_type: WSMsgType
    payload: bytes = b""
    fin: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False

    @property
    def payload_size(self) -> int:
        return len(self.payload)

    def get_payload_as_bytes(self) -> bytes:
        return self.payload


TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
PING, PONG, CLOSE = WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE


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


def receive(transport: DirectTransport, notes: Notes, *frames: Frame) -> None:
    for frame in frames:
        transport.on_ws_frame(cast(Any, notes), cast(Any, frame))


async def test_messages_reach_the_receiver_whole(transport: DirectTransport, notes: Notes) -> None:
    fragments = Frame(TEXT, b"2", fin=False), Frame(PING, b"?"), Frame(CONTINUATION, b"3")
    receive(transport, notes, Frame(TEXT, b"1"), *fragments, Frame(BINARY, b"4"))
    assert notes.told == [b"1", b"23", b"binary"]
    assert (notes.pongs, notes.closed) == ([b"?"], [])


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(TEXT, b"\xff"), 1007),
        (Frame(CONTINUATION), 1002),
        (Frame(TEXT, rsv2=True), 1002),
        (Frame(PING, rsv1=True), 1002),
    ],
)
async def test_a_client_that_breaks_a_rule_is_told_so_and_ignored(
    transport: DirectTransport, notes: Notes, frame: Frame, code: int
) -> None:
    receive(transport, notes, frame, Frame(TEXT, b"1"))
    assert (notes.told, notes.closed, notes.ended) == ([b"closing began"], [code], False)


async def test_a_flood_of_control_frames_ends_the_connection(transport: DirectTransport, notes: Notes) -> None:
    receive(
        transport, notes, *[Frame(kind) for _ in range(Limits().control_frames_per_second) for kind in (PING, PONG)]
    )
    assert (len(notes.pongs), notes.closed, notes.ended) == (10, [1008], True)


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8bye", 1000), (b"\x03\xee", 1002)])
async def test_a_close_frame_is_answered_behind_what_was_sent(
    transport: DirectTransport, notes: Notes, payload: bytes, code: int
) -> None:
    receive(transport, notes, Frame(CLOSE, payload), Frame(TEXT, b"1"))
    assert (notes.told, notes.closed, notes.ended) == ([b"closing began"], [code], True)


async def test_after_our_close_frame_the_client_may_answer_or_send_some_more_but_not_for_ever(
    transport: DirectTransport, notes: Notes
) -> None:
    transport.close(1012, "")
    receive(transport, notes, *[Frame(TEXT, bytes(1024))] * 512)
    assert (notes.told, notes.ended) == ([], False)
    receive(transport, notes, Frame(TEXT))
    assert notes.ended
    notes.ended = False
    transport.close(1012, "")
    receive(transport, notes, Frame(CLOSE))
    assert notes.ended

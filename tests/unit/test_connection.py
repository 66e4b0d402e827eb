"""The connection's rules, on a transport that only notes: what it asks for, and how frames are dealt with."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from litestar import WebSocket

from core.connection import Connection
from core.connections import Connections
from core.picows_protocol import DIRECT
from core.settings import Limits, Rate, Settings
from core.transport import Receiver
from core.wheel import NEVER
from schemas.errors import CloseCode, InvalidFrame
from tests.support import eventually


class Notes:
    """A transport that writes down what it is told."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.writes: list[int] = []
        """How many frames each had."""
        self.closed: list[int] = []
        self.reading = True
        self.aborted = False

    def send(self, frames: Sequence[bytes]) -> None:
        assert not self.closed
        self.sent += frames
        self.writes.append(len(frames))

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002
        self.closed.append(code)

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def buffered(self) -> int:
        return 0

    def keep_alive(self, now: float) -> float:  # noqa: ARG002
        return NEVER

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(coroutine)


class Scene:
    """A connection and what it does with the frames: those that begin with `slow` wait for `go`."""

    def __init__(self, limits: Limits) -> None:
        self.transport = Notes()
        self.dealt_with: list[bytes] = []
        self.left = False
        self.go = asyncio.Event()
        self.connections = Connections()
        settings = Settings(limits=limits, message_rate=Rate("1000000/second"))
        self.connection = Connection(self._socket(), settings, self.connections)

    def _socket(self) -> WebSocket[Any, Any, Any]:
        def attach(_: Receiver) -> Notes:
            return self.transport

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(_: Any) -> None:
            return

        scope: Any = {"type": "websocket", "extensions": {DIRECT: attach}, "headers": [], "subprotocols": []}
        return WebSocket(scope, receive, send)

    async def open(self) -> "Scene":
        await self.connection.run(self._receive, self._leave)
        return self

    def _receive(self, frame: bytes) -> Coroutine[Any, Any, None] | None:
        if frame.startswith(b"slow"):
            return self._slowly(frame)
        if frame.startswith(b"later"):
            self.connection.busy()
        if frame.startswith(b"bad"):
            raise InvalidFrame("bad")
        self.dealt_with.append(frame)
        return None

    async def _slowly(self, frame: bytes) -> None:
        await self.go.wait()
        self.dealt_with.append(frame)

    def _leave(self) -> None:
        self.left = True


@pytest.fixture
async def scene() -> Scene:
    return await Scene(Limits(unanswered=2, outbox_frames=3)).open()


async def test_frames_wait_in_order_while_one_is_worked_on(scene: Scene) -> None:
    for frame in (b"1", b"slow 2", b"3", b"slow 4", b"5"):
        scene.connection.frame_received(frame)
    assert scene.dealt_with == [b"1"]
    assert not scene.transport.reading
    scene.go.set()
    await eventually(lambda: len(scene.dealt_with) == 5)
    assert scene.dealt_with == [b"1", b"slow 2", b"3", b"slow 4", b"5"]
    await eventually(lambda: scene.transport.reading)


async def test_frames_wait_while_too_many_are_unanswered(scene: Scene) -> None:
    for number in range(5):
        scene.connection.frame_received(b"later %d" % number)
    assert scene.dealt_with == [b"later 0", b"later 1"]
    scene.connection.ready(None)
    await eventually(lambda: len(scene.dealt_with) == 3)
    for _ in range(4):
        scene.connection.ready(None)
    await eventually(lambda: scene.transport.reading)
    assert scene.dealt_with == [b"later %d" % number for number in range(5)]


async def test_a_frame_that_still_comes_overtakes_none_that_waits(scene: Scene) -> None:
    for number in range(3):
        scene.connection.frame_received(b"later %d" % number)
    scene.connection.ready(None)  # there is room, but the frame that waits has its turn a moment later
    scene.connection.frame_received(b"3")
    for _ in range(2):
        scene.connection.ready(None)
    await eventually(lambda: len(scene.dealt_with) == 4)
    assert scene.dealt_with == [b"later 0", b"later 1", b"later 2", b"3"]


async def test_what_was_sent_before_the_connection_was_lost_is_dealt_with(scene: Scene) -> None:
    for frame in (b"slow 1", b"2"):
        scene.connection.frame_received(frame)
    scene.connection.closing_began()
    scene.connection.connection_lost()
    assert not scene.left
    scene.go.set()
    await eventually(lambda: scene.left)
    assert scene.dealt_with == [b"slow 1", b"2"]
    assert len(scene.connections) == 0


async def test_what_waits_behind_a_close_of_ours_is_dropped(scene: Scene) -> None:
    for frame in (b"slow 1", b"2"):
        scene.connection.frame_received(frame)
    scene.connection.close(CloseCode.REPLACED)
    scene.go.set()
    scene.connection.connection_lost()
    await eventually(lambda: scene.left)
    assert scene.dealt_with == [b"slow 1"]
    assert scene.transport.closed == [4509]


async def test_a_peer_that_takes_nothing_gets_the_rest_later(scene: Scene) -> None:
    scene.connection.pause_writing()
    for frame in (b"1", b"2"):
        scene.connection.send(frame)
    scene.connection.close(CloseCode.REPLACED)
    assert (scene.transport.sent, scene.transport.closed) == ([], [])
    scene.connection.resume_writing()
    assert (scene.transport.sent, scene.transport.closed) == ([b"1", b"2"], [4509])


async def test_what_is_sent_in_one_turn_leaves_in_one_write(scene: Scene) -> None:
    for frame in (b"1", b"2", b"3"):
        scene.connection.send(frame)
    assert scene.transport.sent == []
    await eventually(lambda: scene.transport.sent)
    scene.connection.send(b"4")
    await eventually(lambda: len(scene.transport.sent) == 4)
    assert (scene.transport.sent, scene.transport.writes) == ([b"1", b"2", b"3", b"4"], [3, 1])


async def test_what_is_sent_before_a_close_leaves_before_it(scene: Scene) -> None:
    scene.connection.send(b"1")
    scene.connection.close(CloseCode.REPLACED)
    scene.connection.send(b"2")
    assert (scene.transport.sent, scene.transport.closed) == ([b"1"], [4509])


async def test_what_is_sent_before_the_transport_closes_leaves_before_it(scene: Scene) -> None:
    scene.connection.send(b"1")
    scene.connection.closing_began()
    scene.connection.send(b"2")
    await asyncio.sleep(0)
    assert (scene.transport.sent, scene.transport.closed) == ([b"1"], [])


async def test_much_in_one_turn_leaves_in_several_writes_and_closes_nobody(scene: Scene) -> None:
    frames = [b"%d" % number for number in range(8)]
    for frame in frames:
        scene.connection.send(frame)
    await eventually(lambda: len(scene.transport.sent) == 8)
    assert scene.transport.sent == frames
    assert not scene.connection.closing


async def test_a_write_has_16_kib_at_the_most_or_one_frame(scene: Scene) -> None:
    sizes = [9_000, 7_000, 1_000, 70_000]
    scene.connection.pause_writing()
    for size in sizes[1:]:
        scene.connection.send(bytes(size))
    scene.connection.resume_writing()
    assert scene.transport.writes == [2, 1]
    for size in sizes[:2]:
        scene.connection.send(bytes(size))
    scene.connection.send(bytes(385))
    await eventually(lambda: len(scene.transport.sent) == 6)
    assert scene.transport.writes == [2, 1, 2, 1]


async def test_a_peer_that_takes_only_a_part_gets_the_rest_later(scene: Scene) -> None:
    def send(frames: Sequence[bytes]) -> None:
        scene.transport.writes.append(len(frames))
        scene.connection.pause_writing()

    scene.transport.send = send  # type: ignore[method-assign]
    for _ in range(3):
        scene.connection.send(bytes(16_384))
    await eventually(lambda: scene.transport.writes)
    assert scene.transport.writes == [1]
    scene.connection.resume_writing()
    assert scene.transport.writes == [1, 1]


async def test_a_full_outbox_closes_with_4008_and_is_dropped(scene: Scene) -> None:
    scene.connection.pause_writing()
    for frame in (b"1", b"2", b"3", b"4", b"5"):
        scene.connection.send(frame)
    assert (scene.transport.sent, scene.transport.closed) == ([], [4008])


async def test_a_peer_that_takes_nothing_for_long_is_cut_off() -> None:
    scene = await Scene(Limits(send_seconds=0.1)).open()
    scene.connection.pause_writing()
    await eventually(lambda: scene.transport.aborted)


async def test_a_peer_that_takes_something_in_time_is_not_cut_off() -> None:
    scene, other = [await Scene(Limits(send_seconds=0.1)).open() for _ in range(2)]
    scene.connection.pause_writing()
    scene.connection.resume_writing()
    other.connection.pause_writing()
    await eventually(lambda: other.transport.aborted)
    assert not scene.transport.aborted


async def test_a_peer_that_does_not_complete_the_close_is_cut_off() -> None:
    scene = await Scene(Limits(close_seconds=0.1)).open()
    scene.connection.close(CloseCode.REPLACED)
    assert not scene.transport.aborted
    await eventually(lambda: scene.transport.aborted)
    assert scene.transport.closed == [4509]


@pytest.mark.parametrize("takes", [True, False])
async def test_who_is_about_to_be_sent_something_is_not_idle_unless_it_takes_nothing(scene: Scene, takes: bool) -> None:
    if not takes:
        scene.connection.pause_writing()
    scene.connection.send(b"1")
    scene.connection._last_activity = -math.inf
    await scene.connection._idle()
    assert scene.connection.closing is not takes


async def test_three_malformed_frames_in_a_row_close_with_4500(scene: Scene) -> None:
    for frame in (b"bad", b"bad", b"good", b"bad", b"bad", b"bad", b"never"):
        scene.connection.frame_received(frame)
    assert scene.transport.closed == [4500]
    assert scene.dealt_with == [b"good"]

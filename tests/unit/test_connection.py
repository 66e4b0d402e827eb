"""The connection's rules, on a transport that only notes: what it asks for, and how frames are dealt with."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from litestar import WebSocket

from live_support.limits import Limits
from live_support.rate import Rate
from live_support.settings import Settings
from live_support.timing_wheel import NEVER
from live_support.websocket.connection import Connection
from live_support.websocket.connections import TICK_SECONDS, Connections
from live_support.websocket.extensions import DIRECT
from live_support.websocket.handler import Handler
from live_support.websocket.transport import Receiver
from schemas.errors import ChatError, CloseCode, Forbidden, InvalidFrame
from tests.helpers.services import DEADLINE, eventually


class Notes:
    """A transport that writes down what it is told."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.writes: list[int] = []
        """How many frames each had."""
        self.closed: list[int] = []
        self.reasons: list[str] = []
        self.reading = True
        self.aborted = False
        self.waiting_bytes = 0
        self.parts: list[tuple[bytes, bool, bool]] = []
        """With whether each was the first and the last one."""

    def send(self, frames: Sequence[bytes]) -> None:
        assert not self.closed
        self.sent += frames
        self.writes.append(len(frames))

    async def run(self) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)
        self.reasons.append(reason)

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def buffered(self) -> int:
        return self.waiting_bytes

    def send_part(self, part: bytes, *, first: bool, last: bool) -> None:
        assert not self.closed
        self.parts.append((part, first, last))

    def keep_alive(self, now: float) -> float:  # noqa: ARG002
        return NEVER


class Scene(Handler):
    """A connection and what its handler does with the frames: those that begin with `slow` wait for `go`."""

    def __init__(self, limits: Limits, *, message_rate: str = "1000000/second") -> None:
        self.transport = Notes()
        self.dealt_with: list[bytes] = []
        self.left = False
        self.go = asyncio.Event()
        self.connections = Connections()
        settings = Settings(limits=limits, message_rate=Rate(message_rate))
        self.connection = Connection(settings, self.connections)
        self.asked: list[float] = []
        """When the handler was asked for how long the connection may be idle."""
        self.more: list[list[bytes]] = []
        """What it has to send when the client has taken everything."""
        self.grace_seconds: float | None = 0
        """What it answers; None: it lets the connection wait for `go`, and answers 0."""

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
        await self.connection.run(self._socket(), self)
        return self

    def frame_received(self, frame: bytes) -> Coroutine[Any, Any, None] | None:
        if frame.startswith(b"slow"):
            return self._slowly(frame)
        if frame.startswith(b"later"):
            self.connection.request_started()
        if frame.startswith(b"bad"):
            raise InvalidFrame("bad")
        if frame.startswith(b"foreign"):
            raise Forbidden("foreign")
        if frame.startswith(b"bug"):
            raise RuntimeError("bug")
        self.dealt_with.append(frame)
        return None

    async def _slowly(self, frame: bytes) -> None:
        await self.go.wait()
        if b"bug" in frame:
            raise RuntimeError("bug")
        self.dealt_with.append(frame)

    def connection_lost(self) -> None:
        self.left = True

    def error_frame(self, error: ChatError) -> bytes:
        return error.message.encode()

    def more_frames(self) -> list[bytes]:
        return self.more.pop(0) if self.more else []

    async def idle_grace(self, idle_seconds: float) -> float:  # noqa: ARG002
        self.asked.append(asyncio.get_running_loop().time())
        if self.grace_seconds is None:
            await self.go.wait()
        return self.grace_seconds or 0


@pytest.fixture
async def scene() -> Scene:
    return await Scene(Limits(in_flight_frames=2, outbox_frames=3)).open()


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
    scene.connection.request_finished(None)
    await eventually(lambda: len(scene.dealt_with) == 3)
    for _ in range(4):
        scene.connection.request_finished(None)
    await eventually(lambda: scene.transport.reading)
    assert scene.dealt_with == [b"later %d" % number for number in range(5)]


async def test_a_frame_that_still_comes_overtakes_none_that_waits(scene: Scene) -> None:
    for number in range(3):
        scene.connection.frame_received(b"later %d" % number)
    scene.connection.request_finished(None)  # there is room, but the frame that waits has its turn a moment later
    scene.connection.frame_received(b"3")
    for _ in range(2):
        scene.connection.request_finished(None)
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


async def test_an_answer_that_comes_after_the_end_is_told_to_nobody(scene: Scene) -> None:
    scene.connection.frame_received(b"later")
    scene.connection.connection_lost()
    assert scene.left
    scene.connection.request_finished(Forbidden("foreign"))
    assert scene.transport.sent == []


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
    assert scene.transport.closed == [4008]
    scene.transport.aborted = False
    await asyncio.sleep(3 * TICK_SECONDS)
    assert not scene.transport.aborted, "once is enough"


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


@pytest.mark.parametrize("between", [b"good", b"foreign", b"slow"])
async def test_what_is_not_malformed_starts_the_count_anew(scene: Scene, between: bytes) -> None:
    scene.go.set()
    for frame in (b"bad", b"bad", between, b"bad", b"bad"):
        scene.connection.frame_received(frame)
    await eventually(lambda: not scene.connection.working)
    assert scene.transport.closed == []
    scene.connection.frame_received(b"bad")
    assert scene.transport.closed == [4500]


@pytest.mark.parametrize("frame", [b"bug", b"slow bug"])
async def test_a_bug_of_ours_closes_with_1011(scene: Scene, frame: bytes) -> None:
    scene.go.set()
    for each in (b"1", frame, b"never"):
        scene.connection.frame_received(each)
    await eventually(lambda: scene.transport.closed)
    assert (scene.transport.closed, scene.dealt_with) == ([1011], [b"1"])


async def test_a_bug_that_an_answer_reveals_closes_with_1011(scene: Scene) -> None:
    scene.connection.frame_received(b"later")
    scene.connection.request_finished(RuntimeError("bug"))
    assert scene.transport.closed == [1011]


async def test_a_flood_is_slowed_down_where_it_comes_from() -> None:
    scene = await Scene(Limits(), message_rate="10/second").open()
    reading = []
    for number in range(11):
        scene.connection.frame_received(b"%d" % number)
        reading.append(scene.transport.reading)
    assert reading == [True] * 10 + [False]
    assert len(scene.dealt_with) == 10
    await eventually(lambda: scene.transport.reading)
    scene.connection.frame_received(b"later")
    assert scene.dealt_with[-1] == b"later"


async def test_a_flood_that_is_cut_off_while_it_is_slowed_down_is_read_to_its_end() -> None:
    """Otherwise ASGI's transport would wait for ever for the permission to read, and so never hear of the end."""
    scene = await Scene(Limits(send_seconds=0.05, close_seconds=0.05), message_rate="2/second").open()
    for _ in range(4):
        scene.connection.frame_received(b"frame")
    scene.connection.pause_writing()
    await eventually(lambda: scene.transport.aborted)
    assert not scene.transport.reading
    await eventually(lambda: scene.transport.reading)


async def test_a_large_frame_may_take_longer_than_a_small_one() -> None:
    limits = Limits(send_seconds=0.1, send_bytes_per_second=1000)
    small, large = [await Scene(limits).open() for _ in range(2)]
    large.transport.waiting_bytes = 100_000
    for scene in (large, small):
        scene.connection.pause_writing()
    await eventually(lambda: small.transport.aborted)
    assert not large.transport.aborted


async def test_a_large_frame_may_not_take_for_ever() -> None:
    scene = await Scene(Limits(send_seconds=0.05, send_bytes_per_second=1_000_000)).open()
    scene.transport.waiting_bytes = 100_000
    scene.connection.pause_writing()
    await eventually(lambda: scene.transport.aborted)


@pytest.mark.parametrize("seconds", [0.05, 3600])
async def test_an_idle_connection_asks_once_for_patience(seconds: float) -> None:
    """And again only when it is over."""
    scene = await Scene(Limits()).open()
    scene.grace_seconds = seconds
    asked = scene.asked
    scene.connection._last_activity = -math.inf
    scene.connections.schedule(scene.connection, 0)
    await eventually(lambda: asked)
    if seconds > 1:
        for _ in range(5):
            scene.connections.schedule(scene.connection, 0)
            await asyncio.sleep(2 * TICK_SECONDS)
        assert len(asked) == 1
    else:
        await eventually(lambda: len(asked) > 1)
        assert asked[1] - asked[0] >= seconds
    assert scene.transport.closed == []


async def test_an_idle_connection_that_waits_for_an_answer_does_not_ask_again(scene: Scene) -> None:
    scene.grace_seconds = None
    scene.connection._last_activity = -math.inf
    for _ in range(5):
        scene.connections.schedule(scene.connection, 0)
        await asyncio.sleep(2 * TICK_SECONDS)
    assert len(scene.asked) == 1
    scene.go.set()
    await eventually(lambda: scene.transport.closed)
    assert scene.transport.closed == [4408]


async def test_a_connection_that_is_closed_before_it_opens_closes_after_what_was_sent() -> None:
    early = Scene(Limits())
    early.connection.send(b"1")
    early.connection.close(CloseCode.NOT_AUTHENTICATED)
    early.connection.send(b"2")
    early.connection.flush()
    assert early.connection.closing
    await early.open()
    early.connection.frame_received(b"3")
    assert (early.transport.sent, early.transport.closed, early.dealt_with) == ([b"1"], [4501], [])


async def test_a_draining_connection_takes_no_frame_and_still_sends(scene: Scene) -> None:
    scene.connection.frame_received(b"slow 1")
    scene.connection.stop_receiving()
    scene.connection.frame_received(b"2")
    scene.connection.send(b"answer")
    assert scene.connection.working
    scene.go.set()
    await eventually(lambda: not scene.connection.working)
    assert (scene.dealt_with, scene.transport.sent) == ([b"slow 1"], [b"answer"])
    scene.connection.close(CloseCode.SERVICE_RESTART)
    scene.connection.stop_receiving()
    assert scene.transport.closed == [1012]
    assert scene.connection.closing


async def test_what_the_handler_has_more_leaves_as_long_as_the_client_takes_it(scene: Scene) -> None:
    scene.more = [[b"1", b"2"], [b"3"]]
    scene.connection.pause_writing()
    scene.connection.flush()
    assert scene.transport.sent == []
    scene.connection.resume_writing()
    assert (scene.transport.sent, scene.transport.writes) == ([b"1", b"2", b"3"], [2, 1])
    scene.more = [[b"4"]]
    scene.connection.close(CloseCode.REPLACED)
    assert scene.transport.sent == [b"1", b"2", b"3"]


async def test_a_deadline_closes_with_4408_unless_it_is_cleared() -> None:
    late, early = [await Scene(Limits()).open() for _ in range(2)]
    for scene in (late, early):
        scene.connection.set_deadline(0.05, "too late")
    early.connection.clear_deadline()
    await eventually(lambda: late.transport.closed)
    assert (late.transport.closed, late.transport.reasons) == ([4408], ["too late"])
    assert early.transport.closed == []


# A message in parts.


async def test_a_part_waits_until_the_peer_takes_it(scene: Scene) -> None:
    assert await scene.connection.send_part(b"1")
    scene.connection.pause_writing()
    sending = asyncio.create_task(scene.connection.send_part(b"2", last=True))
    await asyncio.sleep(0)
    assert scene.transport.parts == [(b"1", True, False)]
    scene.connection.resume_writing()
    assert await sending
    assert scene.transport.parts == [(b"1", True, False), (b"2", False, True)]


async def test_what_was_sent_before_leaves_before_the_first_part_and_the_rest_behind_the_last(scene: Scene) -> None:
    scene.connection.send(b"before")
    await scene.connection.send_part(b"1")
    assert scene.transport.sent == [b"before"]
    for frame in (b"2", b"3"):
        scene.connection.send(frame)
    await asyncio.sleep(0)
    assert scene.transport.sent == [b"before"]
    await scene.connection.send_part(b"4", last=True)
    assert scene.transport.sent == [b"before", b"2", b"3"]


async def test_too_much_behind_a_message_in_parts_makes_a_slow_consumer(scene: Scene) -> None:
    await scene.connection.send_part(b"1")
    for number in range(5):
        scene.connection.send(b"%d" % number)
    assert (scene.transport.sent, scene.transport.closed) == ([], [4008])
    assert not await scene.connection.send_part(b"2", last=True)


@pytest.mark.parametrize("end", ["close", "closing_began", "connection_lost", "abort"])
@pytest.mark.parametrize("begun", [True, False])
async def test_no_part_is_sent_to_a_peer_that_has_gone_or_is_to_go(scene: Scene, end: str, begun: bool) -> None:
    if begun:
        await scene.connection.send_part(b"1")
    sent = list(scene.transport.parts)
    scene.connection.pause_writing()
    sending = asyncio.create_task(scene.connection.send_part(b"2"))
    await asyncio.sleep(0)
    if end == "close":
        scene.connection.close(CloseCode.REPLACED)
    else:
        getattr(scene.connection, end)()
    async with asyncio.timeout(DEADLINE):
        assert not await sending
    assert scene.transport.parts == sent


async def test_a_close_in_the_middle_of_a_message_comes_at_once(scene: Scene) -> None:
    await scene.connection.send_part(b"1")
    scene.connection.send(b"never")
    scene.connection.close(CloseCode.REPLACED)
    assert (scene.transport.sent, scene.transport.closed) == ([], [4509])


async def test_whoever_reads_a_long_answer_is_not_waited_for_at_the_end_of_the_service(scene: Scene) -> None:
    scene.connection.frame_received(b"slow")
    working = [scene.connection.working]
    for last in (False, True):
        await scene.connection.send_part(b"1", last=last)
        working.append(scene.connection.working)
    assert working == [True, False, True]

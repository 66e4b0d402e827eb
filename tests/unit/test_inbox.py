"""Inbox: frames are handled in order, and wait while one holds them up or too many are in flight."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from live_support.websocket.inbox import Inbox


def rest(inbox: Inbox) -> list[bytes]:
    """The waiting frames whose turn it is."""
    return list(iter(inbox.next_frame, None))


def test_a_frame_is_handled_at_once_while_nothing_is_in_its_way() -> None:
    inbox = Inbox(2)
    assert [inbox.accept(b"1"), inbox.accept(b"2")] == [True, True]
    assert (inbox.blocked, inbox.working, rest(inbox)) == (False, False, [])


def test_frames_wait_in_order_while_one_holds_them_up() -> None:
    inbox = Inbox(2)
    inbox.hold()
    assert [inbox.accept(frame) for frame in (b"1", b"", b"3")] == [False] * 3
    assert (inbox.blocked, rest(inbox)) == (True, [])
    inbox.release()
    assert rest(inbox) == [b"1", b"", b"3"]
    assert inbox.accept(b"4")


def test_frames_wait_while_too_many_are_in_flight() -> None:
    inbox = Inbox(2)
    inbox.in_flight += 2
    assert not inbox.accept(b"1")
    assert rest(inbox) == []
    assert inbox.finish()
    assert rest(inbox) == [b"1"]


def test_only_the_end_of_a_block_lets_frames_go_on() -> None:
    inbox = Inbox(2)
    inbox.in_flight += 3
    assert [inbox.finish() for _ in range(3)] == [False, True, False]


def test_a_frame_overtakes_none_that_waits() -> None:
    inbox = Inbox(1)
    inbox.hold()
    inbox.accept(b"1")
    inbox.release()
    assert not inbox.accept(b"2")
    assert rest(inbox) == [b"1", b"2"]


def test_it_is_working_while_a_frame_is_held_in_flight_or_waiting() -> None:
    inbox = Inbox(1)
    inbox.hold()
    working = [inbox.working]
    inbox.accept(b"1")
    inbox.release()
    working.append(inbox.working)
    inbox.next_frame()
    working.append(inbox.working)
    inbox.in_flight += 1
    working.append(inbox.working)
    inbox.finish()
    working.append(inbox.working)
    assert working == [True, True, False, True, False]


def test_cleared_frames_are_not_handled() -> None:
    inbox = Inbox(1)
    inbox.hold()
    inbox.accept(b"1")
    inbox.clear()
    inbox.release()
    assert (rest(inbox), inbox.working, inbox.accept(b"2")) == ([], False, True)


@given(st.lists(st.sampled_from(["frame", "later", "hold", "release", "finish"]), max_size=60), st.integers(1, 3))
def test_whatever_happens_frames_are_handled_in_order_and_never_while_blocked(steps: list[str], most: int) -> None:
    """`later` is a frame that stays in flight."""
    inbox = Inbox(most)
    handled: list[int] = []
    sent = 0
    stay: deque[int] = deque()

    def handle(number: int) -> None:
        assert not inbox.blocked
        handled.append(number)
        if number in stay:
            inbox.in_flight += 1

    def proceed() -> None:
        while (frame := inbox.next_frame()) is not None:
            handle(int(frame))

    for step in steps:
        if step in ("frame", "later"):
            sent += 1
            if step == "later":
                stay.append(sent)
            if inbox.accept(b"%d" % sent):
                handle(sent)
        elif step == "hold":
            inbox.hold()
        elif step == "release":
            inbox.release()
            proceed()
        elif inbox.in_flight and inbox.finish():
            proceed()
    inbox.release()
    proceed()
    while inbox.in_flight:
        inbox.finish()
        proceed()
    assert handled == list(range(1, sent + 1))

"""Outbox: what waits for a client, what leaves in one write, and when it is full."""

import pytest

from live_support.limits import Limits
from live_support.websocket.outbox import MAX_WRITE_BYTES, Outbox


def new_outbox(limits: Limits | None = None) -> Outbox:
    """One whose client takes everything."""
    outbox = Outbox(limits or Limits())
    outbox.writable = True
    return outbox


def writes(outbox: Outbox) -> list[list[bytes]]:
    """All that may leave now."""
    return list(iter(outbox.next_write, None))


def test_frames_leave_in_order_and_together() -> None:
    outbox = new_outbox()
    assert [outbox.add(frame) for frame in (b"1", b"2", b"")] == [1, 2, 3]
    assert (writes(outbox), len(outbox)) == ([[b"1", b"2", b""]], 0)


def test_nothing_leaves_to_a_client_that_takes_nothing() -> None:
    outbox = Outbox(Limits())
    outbox.add(b"1")
    assert (writes(outbox), len(outbox)) == ([], 1)
    outbox.writable = True
    assert writes(outbox) == [[b"1"]]


def test_a_write_has_16_kib_at_the_most_or_one_frame() -> None:
    outbox = new_outbox()
    sizes = [MAX_WRITE_BYTES, 1, 9_000, 7_384, 0, 1, 70_000, 70_000]
    for size in sizes:
        outbox.add(bytes(size))
    grouped = [[len(frame) for frame in frames] for frames in writes(outbox)]
    assert grouped == [[MAX_WRITE_BYTES], [1, 9_000], [7_384, 0, 1], [70_000], [70_000]]
    assert len(outbox) == 0


def test_what_is_added_after_a_write_leaves_behind_the_rest() -> None:
    outbox = new_outbox()
    for name in (b"1", b"2", b"3"):
        outbox.add(name * MAX_WRITE_BYTES)
    first = outbox.next_write()
    outbox.add(b"4")
    assert [frame[:1] for frames in [first, *writes(outbox)] for frame in frames or ()] == [b"1", b"2", b"3", b"4"]


def test_it_is_full_with_so_many_frames() -> None:
    outbox = Outbox(Limits(outbox_frames=2))
    assert [outbox.add(b"1") for _ in range(4)] == [1, 2, 0, 0]
    assert len(outbox) == 2


@pytest.mark.parametrize("size", [11, 1_000_000])
def test_it_is_full_with_so_many_bytes_but_takes_one_frame_of_any_size(size: int) -> None:
    outbox = Outbox(Limits(outbox_bytes=10))
    assert [outbox.add(bytes(size)) for _ in range(2)] == [1, 0]


def test_bytes_that_have_left_make_room() -> None:
    outbox = new_outbox(Limits(outbox_bytes=2 * MAX_WRITE_BYTES))
    for _ in range(3):
        outbox.add(bytes(MAX_WRITE_BYTES))
    assert outbox.add(b"1") == 0
    outbox.next_write()
    assert outbox.add(b"1") == 3


def test_other_frames_wait_for_the_last_part_of_a_message() -> None:
    outbox = new_outbox()
    assert outbox.start_part(last=False)
    outbox.add(b"1")
    assert writes(outbox) == []
    assert not outbox.start_part(last=False)
    assert writes(outbox) == []
    assert not outbox.start_part(last=True)
    assert writes(outbox) == [[b"1"]]
    assert outbox.start_part(last=True)


def test_a_refill_may_be_larger_than_the_bounds() -> None:
    outbox = new_outbox(Limits(outbox_frames=1, outbox_bytes=1))
    outbox.refill([b"1", b"2", bytes(MAX_WRITE_BYTES)])
    assert outbox.add(b"3") == 0
    assert writes(outbox) == [[b"1", b"2"], [bytes(MAX_WRITE_BYTES)]]


def test_a_cleared_outbox_is_as_good_as_new() -> None:
    outbox = new_outbox(Limits(outbox_bytes=1))
    outbox.add(bytes(MAX_WRITE_BYTES))
    outbox.clear()
    assert (len(outbox), writes(outbox)) == (0, [])
    assert outbox.add(b"1") == 1

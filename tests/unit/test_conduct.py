"""Conduct: which frames are refused for their rate, and which malformed frame is one too many."""

import pytest

from live_support.rate import Rate
from live_support.websocket.conduct import Conduct
from schemas.errors import ChatError, Forbidden, InvalidContent, InvalidFrame


def retries(conduct: Conduct, *times: float) -> list[int]:
    """In how many milliseconds each frame may come again; 0 for one that is not refused."""
    return [refusal.retry_after_ms or -1 if (refusal := conduct.take(now)) else 0 for now in times]


def test_frames_above_the_rate_are_refused_until_the_bucket_holds_one_again() -> None:
    conduct = Conduct(Rate("2/second"), 3)
    assert retries(conduct, 0, 0, 0, 0.25, 0.5) == [0, 0, 501, 251, 0]


def test_the_pause_grows_with_what_is_refused_and_starts_anew_after_a_frame_that_is_not() -> None:
    conduct = Conduct(Rate("5/second"), 3)
    retries(conduct, *[0] * 5)
    pauses = [conduct.pause_seconds]
    for _ in range(6):
        conduct.take(0)
        pauses.append(conduct.pause_seconds)
    assert pauses == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    retries(conduct, 0.3)
    assert conduct.pause_seconds == 0


def failures(*errors: ChatError) -> list[bool]:
    conduct = Conduct(Rate("1000/second"), 3)
    return [conduct.failed(error) for error in errors]


def test_three_malformed_frames_in_a_row_are_too_many() -> None:
    assert failures(*[InvalidFrame("bad")] * 3) == [False, False, True]


@pytest.mark.parametrize("between", [Forbidden("foreign"), InvalidContent("bad text")])
def test_another_refusal_starts_the_count_of_malformed_frames_anew(between: ChatError) -> None:
    bad = InvalidFrame("bad")
    assert failures(bad, bad, between, bad, bad) == [False] * 5


def test_a_frame_that_is_handled_starts_the_count_of_malformed_frames_anew() -> None:
    conduct = Conduct(Rate("1000/second"), 2)
    conduct.failed(InvalidFrame("bad"))
    conduct.malformed = 0
    assert not conduct.failed(InvalidFrame("bad"))

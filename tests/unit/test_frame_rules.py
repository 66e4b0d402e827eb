"""FrameRules: which frames make a message, which are too many, and how a close frame is answered."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_support.limits import Limits
from live_support.websocket.frame_rules import CloseAnswer, FrameRules, ViolationError, close_answer

SMILE = "\U0001f642".encode()


def new_rules(**limits: Any) -> FrameRules:
    return FrameRules(Limits(**limits))


def violation(step: Callable[[], object]) -> tuple[int, bool]:
    """With which code a step closes, and whether at once."""
    with pytest.raises(ViolationError) as raised:
        step()
    return int(raised.value.code), raised.value.at_once


def message(rules: FrameRules, *payloads: bytes) -> list[bytes | None]:
    """What each of a message's frames gives."""
    last = len(payloads) - 1
    began = rules.message_began(payloads[0], last=not last)
    return [began] + [
        rules.message_continued(payload, last=number == last) for number, payload in enumerate(payloads[1:], 1)
    ]


def test_a_message_is_complete_with_its_last_frame() -> None:
    rules = new_rules()
    assert message(rules, b"1") == [b"1"]
    assert message(rules, b"1", b"", b"23") == [None, None, b"123"]
    assert message(rules, b"", b"") == [None, b""]


def test_a_message_may_not_begin_in_another_one() -> None:
    rules = new_rules()
    rules.message_began(b"1", last=False)
    assert violation(lambda: rules.message_began(b"2", last=True)) == (1002, False)
    assert violation(rules.binary_began) == (1002, False)


def test_there_must_be_something_to_continue() -> None:
    rules = new_rules()
    message(rules, b"1", b"2")
    assert violation(lambda: rules.message_continued(b"3", last=True)) == (1002, False)


@given(st.text(), st.integers(0, 20))
def test_text_may_be_divided_anywhere(text: str, at: int) -> None:
    """Also in the middle of a character."""
    data = text.encode()
    assert message(new_rules(), data)[-1] == data
    assert message(new_rules(), data[:at], data[at:])[-1] == data


@pytest.mark.parametrize("bad", [b"\xff", SMILE[:3], b"\xed\xa0\xbd", b"\xc0\xaf"])
def test_text_that_is_not_utf_8_closes_with_1007(bad: bytes) -> None:
    assert violation(lambda: message(new_rules(), bad)) == (1007, False)
    assert violation(lambda: message(new_rules(), b"1", bad)) == (1007, False)
    assert violation(lambda: message(new_rules(), bad[:1], bad[1:])) == (1007, False)


def test_a_message_in_fragments_is_not_larger_than_one_in_a_frame() -> None:
    assert message(new_rules(frame_bytes=4), b"12", b"34")[-1] == b"1234"
    assert violation(lambda: message(new_rules(frame_bytes=4), b"12", b"34", b"5")) == (1009, False)


def test_empty_fragments_are_bounded_in_number() -> None:
    assert message(new_rules(fragments=3), b"", b"", b"")[-1] == b""
    assert violation(lambda: message(new_rules(fragments=3), *[b""] * 4)) == (1008, True)


def test_pings_and_pongs_have_a_rate() -> None:
    rules = new_rules(control_frames_per_second=3)
    for now in (0.0, 0.0, 0.0, 0.4, 0.7, 1.0, 1.4):
        rules.control_frame_received(now)
    assert violation(lambda: rules.control_frame_received(1.4)) == (1008, True)


def test_control_frames_may_come_in_the_middle_of_a_message() -> None:
    rules = new_rules()
    rules.message_began(b"1", last=False)
    rules.control_frame_received(0)
    assert rules.message_continued(b"2", last=True) == b"12"


def test_so_much_is_ignored_after_our_close_frame_and_no_more() -> None:
    rules = new_rules()
    rules.message_began(bytes(60_000), last=False)
    rules.close_sent()
    assert not any(rules.ignored(0) for _ in range(1024))
    assert rules.ignored(0)
    rules = new_rules()
    rules.close_sent()
    assert [rules.ignored(64 * 1024) for _ in range(16)] == [False] * 15 + [True]


def sent(code: int, reason: bytes = b"") -> bytes:
    """The payload of a close frame."""
    return code.to_bytes(2, "big") + reason


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_a_close_frame_is_answered_with_its_code(code: int) -> None:
    assert close_answer(sent(code, b"why")) == CloseAnswer(code)


@pytest.mark.parametrize("payload", [b"\x03", *map(sent, [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])])
def test_a_code_that_nobody_may_send_is_answered_with_1002(payload: bytes) -> None:
    assert close_answer(payload) == CloseAnswer(1002, "invalid close code")


def test_a_close_frame_without_a_code_is_answered_by_one() -> None:
    assert close_answer(b"") == CloseAnswer(None)

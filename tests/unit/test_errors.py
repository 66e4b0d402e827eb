"""Close codes and errors: the numbers and names that clients depend on."""

import json
import re
from typing import get_args

import pytest

import schemas.errors
from live_support.http.problems import problem_of
from schemas.errors import ChatError, CloseCode, ErrorCode

REASON_BYTES = 123
"""A close frame's payload has 125 bytes, two of them for the code."""

ERRORS = ChatError.__subclasses__()


def test_the_close_codes_are_those_of_the_protocol() -> None:
    assert {code.name: int(code) for code in CloseCode} == {
        "UNSUPPORTED_DATA": 1003,
        "INTERNAL_ERROR": 1011,
        "SERVICE_RESTART": 1012,
        "TRY_AGAIN_LATER": 1013,
        "SLOW_CONSUMER": 4008,
        "IDLE": 4408,
        "RATE_LIMITED": 4429,
        "MALFORMED": 4500,
        "NOT_AUTHENTICATED": 4501,
        "FORBIDDEN": 4503,
        "REPLACED": 4509,
        "CHAT_GONE": 4510,
        "ALREADY_CLAIMED": 4511,
    }


@pytest.mark.parametrize("code", CloseCode, ids=str)
def test_a_close_reason_fits_into_the_frame(code: CloseCode) -> None:
    assert 0 < len(code.reason.encode()) <= REASON_BYTES


@pytest.mark.parametrize("code", CloseCode, ids=str)
def test_a_code_of_ours_says_by_its_number_whether_to_reconnect(code: CloseCode) -> None:
    expected = 4000 <= code < 4500 if code >= 4000 else code in (1011, 1012, 1013)
    assert code.reconnect == expected


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_a_code_of_the_wire(error: type[ChatError]) -> None:
    assert error.code in get_args(ErrorCode)


def test_every_code_of_the_wire_has_an_error() -> None:
    assert {error.code for error in ERRORS} == set(get_args(ErrorCode))


def test_the_modules_table_is_complete() -> None:
    table = re.findall(r"── (\w+) +(\w+)", schemas.errors.__doc__ or "")
    assert table == [(error.__name__, error.code) for error in ERRORS]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_each_error_can_be_answered_by_an_http_route(error: type[ChatError]) -> None:
    status, _, body = problem_of(error("No."))
    assert status == error.status
    assert json.loads(body)["code"] == error.code

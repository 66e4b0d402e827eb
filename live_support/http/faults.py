"""Faults: why a request is refused before an application sees it, and the answer that says so."""

from http import HTTPStatus
from typing import Final, NamedTuple

from live_support.http.problems import MEDIA_TYPE, problem_body, retry_after
from live_support.refusal_log import Refusal

RETRY_MS: Final = 5000
_TRY_AGAIN: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Fault(NamedTuple):
    """Why a request is refused, and with which status."""

    status: HTTPStatus
    detail: str
    refusal: Refusal = Refusal.REQUEST_MALFORMED
    """The refusal in the log."""
    headers: tuple[str, ...] = ()
    """Further headers of the answer."""


TOO_LARGE: Final = Fault(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head or the trailers are too large.", Refusal.REQUEST_TOO_LARGE
)
BODY_TOO_LARGE: Final = Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.", Refusal.REQUEST_TOO_LARGE)
TOO_SLOW: Final = Fault(HTTPStatus.REQUEST_TIMEOUT, "The request was not completed in time.", Refusal.REQUEST_TOO_SLOW)
MALFORMED: Final = Fault(HTTPStatus.BAD_REQUEST, "The request is malformed.")
PIPELINED: Final = Fault(
    HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests before an answer.", Refusal.REQUESTS_IN_A_ROW
)
OVERTAKING: Final = Fault(HTTPStatus.BAD_REQUEST, "A WebSocket handshake waits for the answers to earlier requests.")
FULL: Final = Fault(HTTPStatus.SERVICE_UNAVAILABLE, "The server has too many connections.", Refusal.CONNECTIONS)
FULL_OF_ADDRESS: Final = Fault(
    HTTPStatus.TOO_MANY_REQUESTS, "Too many connections from your address.", Refusal.CONNECTIONS_OF_ADDRESS
)
HANDSHAKES_OF_ADDRESS: Final = Fault(
    HTTPStatus.TOO_MANY_REQUESTS, "Too many handshakes from your address.", Refusal.HANDSHAKES
)


def answer_of(fault: Fault, more_headers: list[tuple[bytes, bytes]], retry_ms: int) -> bytes:
    """Write the answer to a refused request, after which the connection is closed.

    Args:
        fault: why.
        more_headers: for example those that let a page of another origin read the answer.
        retry_ms: when to try again, for a client that may.
    """
    status = fault.status
    again = status in _TRY_AGAIN
    body = problem_body(status, fault.detail, retry_after_ms=retry_ms if again else None)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"content-type: {MEDIA_TYPE}",
        f"content-length: {len(body)}",
        "connection: close",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        *fault.headers,
    ]
    if again:
        lines.append(f"retry-after: {retry_after(retry_ms)}")
    lines += [f"{name.decode()}: {value.decode('latin-1')}" for name, value in more_headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

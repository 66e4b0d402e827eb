"""Problems (RFC 9457): the answers to refused HTTP requests, made and documented here."""

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any, Final, cast

import msgspec
import structlog
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIHeader, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.plugins.problem_details import (
    ProblemDetailsConfig,
    ProblemDetailsException,
    ProblemDetailsPlugin,
)

from schemas.errors import ChatError, Unavailable
from schemas.messages import Problem, ProblemCode

MEDIA_TYPE: Final = "application/problem+json"

log = structlog.get_logger()

_RETRY_AFTER = (429, 503)
RETRY_MS: Final = 1000
"""How long to wait where the duration is not known."""
_CODES: dict[int, ProblemCode] = {
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    429: "rate_limited",
    431: "too_large",
    501: "invalid",
    505: "invalid",
}
_DOCUMENTED: dict[int, tuple[str, dict[str, str]]] = {
    400: (
        "The name or the body is not allowed.",
        {"detail": "A name must have 1..64 characters.", "code": "invalid"},
    ),
    403: (
        "The page's origin is not allowed, or a browser was led here by prefetching or by a page of another site: "
        "that would open a chat for nobody.",
        {"detail": "This origin is not allowed.", "code": "forbidden"},
    ),
    413: (
        "The body is too large.",
        {"detail": "Request Entity Too Large", "code": "too_large"},
    ),
    415: (
        "The Content-Type is not application/json.",
        {"detail": "Content-Type must be application/json.", "code": "invalid"},
    ),
    429: (
        "Too many registrations from this address.",
        {"detail": "Too many registrations from your address.", "code": "rate_limited"},
    ),
    503: (
        "Redis does not answer in time.",
        {"detail": "The server cannot store anything now, try again later.", "code": "unavailable"},
    ),
}
"""What the documents say about a status, and the keys of its example besides `status`."""


def problems_plugin() -> ProblemDetailsPlugin:
    """Answer every exception of an HTTP route with a problem."""
    return ProblemDetailsPlugin(
        ProblemDetailsConfig(
            exception_to_problem_detail_map={
                ChatError: _refused,
                HTTPException: _http_error,
                Exception: _internal_error,
            }
        )
    )


def _refused(error: ChatError) -> ProblemDetailsException:
    status = error.status
    headers = {"Cache-Control": "no-store"}
    extra: dict[str, Any] = {"code": error.code}
    if status in _RETRY_AFTER:
        wait_ms = error.retry_after_ms or RETRY_MS
        headers["Retry-After"] = retry_after(wait_ms)
        extra["retryAfterMs"] = wait_ms
    return _problem(status, error.message, headers=headers, extra=extra)


def retry_after(wait_ms: int) -> str:
    """Format the header `Retry-After`, in whole seconds; 0 would mean at once."""
    return str(max(1, ceil(wait_ms / 1000)))


def problem_body(status: int, detail: str, *, retry_after_ms: int | None = None) -> bytes:
    """Write a problem for an answer that Litestar does not make."""
    wait = msgspec.UNSET if retry_after_ms is None else retry_after_ms
    return msgspec.json.encode(Problem(status, HTTPStatus(status).phrase, detail, _code(status), wait))


def problem_of(error: Exception) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the status, headers and body with which an HTTP route would answer an error."""
    if isinstance(error, ChatError):
        problem = _refused(error)
    elif isinstance(error, HTTPException):
        problem = _http_error(error)
    else:
        problem = _refused(Unavailable("The server failed to answer."))
    headers = {"Content-Type": MEDIA_TYPE, **(problem.headers or {})}
    body = {"status": problem.status_code, "title": problem.title, "detail": problem.detail, **cast(Any, problem.extra)}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return problem.status_code, raw, msgspec.json.encode(body)


def _http_error(error: HTTPException) -> ProblemDetailsException:
    # Litestar's own conversion swaps title and detail. Its `extra` is left out: it repeats keys and values of the
    # request, and is not documented.
    detail = "The body is missing." if isinstance(error, ValidationException) else error.detail
    return _problem(error.status_code, detail, headers=error.headers, extra={"code": _code(error.status_code)})


def _code(status: int) -> ProblemCode:
    if status in _CODES:
        return _CODES[status]
    return "invalid" if status < 500 else "unavailable"


def _internal_error(error: Exception) -> ProblemDetailsException:
    log.error("request_failed", exc_info=error)
    return _problem(500, "The server failed to answer.", extra={"code": "unavailable"})


def _problem(status: int, detail: str, **more: Any) -> ProblemDetailsException:
    return ProblemDetailsException(
        status_code=status,
        title=HTTPStatus(status).phrase,
        detail=detail,
        **more,
    )


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the problems of a route, for its `responses`."""
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> ResponseSpec:
    description, told = _DOCUMENTED[status]
    example: dict[str, object] = {**told, "retryAfterMs": RETRY_MS} if status in _RETRY_AFTER else dict(told)
    return ResponseSpec(
        Problem,
        description=description,
        media_type=MEDIA_TYPE,
        examples=[Example(value={"status": status, "title": HTTPStatus(status).phrase, **example})],
        generate_examples=False,
    )


@dataclass
class DocumentedOperation(Operation):
    """An OpenAPI operation with the headers of its problems, for which `ResponseSpec` has no place."""

    def __post_init__(self) -> None:
        """Add `Retry-After` to the responses that have it."""
        for status in _RETRY_AFTER:
            response = (self.responses or {}).get(str(status))
            if isinstance(response, OpenAPIResponse):
                response.headers = {
                    "Retry-After": OpenAPIHeader(
                        schema=Schema(type=OpenAPIType.INTEGER, minimum=1),
                        description="Seconds to wait before the next try.",
                        required=True,
                    )
                }

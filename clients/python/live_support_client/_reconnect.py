"""When to connect again, and when not: the close-code table and the backoff."""

import random
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from live_support_client._close_codes import CLOSE_CODES
from live_support_client._errors import (
    AlreadyClaimed,
    ChatGone,
    ConnectionLost,
    Forbidden,
    LiveSupportError,
    NotAuthenticated,
    RateLimited,
    Refused,
    Replaced,
    Unavailable,
)
from live_support_client._options import Backoff


class NoToken(Exception):
    """Raised when the caller's function has no token; its error is the cause."""


_NOT_NOW = (RateLimited, Unavailable)

CONNECT_ERRORS = (ConnectionClosed, InvalidHandshake, NoToken, OSError, *_NOT_NOW)
"""What connecting and joining may end with, and might not the next time (a `TimeoutError` is an `OSError`)."""

DONE = frozenset({1000, 1001})
# From when on a connection counts as one.
_STOOD_SECONDS = 1.0
_NOT_NOW_STATUS = {408: Unavailable, 425: Unavailable, 429: RateLimited}
SERVICE_RESTART = 1012
_ABNORMAL = 1006


def close_code(error: Exception) -> int:
    """With what the server closed the connection; 1006 if it did not."""
    return error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else _ABNORMAL


def fatal(error: Exception) -> LiveSupportError | None:
    """Say what the caller is told if connecting again would be wrong, else None."""
    match error:
        case InvalidStatus():
            status = error.response.status_code
            if status in (401, 403):
                text = f"The handshake was refused with {status}: is this the right address, and may you connect to it?"
                return Forbidden(str(status), text)
            if status < 500 and status not in _NOT_NOW_STATUS:
                return ConnectionLost(f"The handshake was answered with {status}: is this the right address?")
            return None
        case ConnectionClosed():
            return _after(error)
        case LiveSupportError() if not isinstance(error, _NOT_NOW):
            return error
    return None


def first_failure(error: Exception) -> LiveSupportError:
    """Make the exception for a first connection that failed: it is not tried again."""
    if (reason := fatal(error)) is not None:
        return reason
    if isinstance(error, InvalidStatus):
        response = error.response
        kind: type[Refused] = _NOT_NOW_STATUS.get(response.status_code, Unavailable)
        text = f"The handshake was answered with {response.status_code}."
        return kind(str(response.status_code), text, retry_after=seconds_of(response.headers.get("Retry-After", "")))
    return ConnectionLost(f"No connection: {str(error) or type(error).__name__}", code=_code_of_close(error))


def seconds_of(retry_after: str) -> float | None:
    """Read a `Retry-After` header; the form with a date is not for us."""
    return float(retry_after) if retry_after.isdecimal() and len(retry_after) < 10 else None


def describe(error: Exception) -> str:
    """Say in a log line what happened, without what the other side wrote."""
    match error:
        case ConnectionClosed():
            return f"close code {close_code(error)}"
        case InvalidStatus():
            return f"HTTP status {error.response.status_code}"
        case ConnectionLost(code=int(code)):
            return f"{type(error).__name__}, close code {code}"
    return type(error).__name__


def _code_of_close(error: Exception) -> int | None:
    return close_code(error) if isinstance(error, ConnectionClosed) else None


def _after(closed: ConnectionClosed) -> LiveSupportError | None:
    code = close_code(closed)
    known, listed = CLOSE_CODES.get(code, ("", None))
    # The ranges hold also for a code that only a newer server knows.
    if code == _ABNORMAL or (4000 <= code < 4500 if listed is None else listed):
        return None
    reason = (closed.rcvd.reason if closed.rcvd else "") or known
    match code:
        case 4501:
            return NotAuthenticated("The server wants a valid token of an agent.", code=code, reason=reason)
        case 4503:
            return Forbidden("forbidden", reason)
        case 4510:
            return ChatGone("The chat is unknown or expired.")
        case 4511:
            return AlreadyClaimed("already_claimed", reason)
        case 4509:
            return Replaced(reason, code=code, reason=reason)
    return ConnectionLost(f"The server closed the connection with {code} {reason}".strip(), code=code, reason=reason)


class Delays:
    """The delays of one connection's attempts, as they come to be needed."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0
        self._waited = 0.0
        self._lost_at: float | None = None
        self._connected_at: float | None = time.monotonic()

    def connected(self) -> None:
        """Note that there is a connection."""
        self._connected_at = time.monotonic()

    def next(self, error: Exception) -> float:
        """Return how many seconds to wait after this failure.

        Raises:
            ConnectionLost: it has been tried for too long.
        """
        now = time.monotonic()
        stood = 0.0 if self._connected_at is None else now - self._connected_at
        self._connected_at = None
        # A connection that ends at once, again and again, is no better than none.
        if self._lost_at is None or stood > _STOOD_SECONDS:
            self._lost_at = now
        if stood > self._waited:
            self._failures = 0
        limit = self._backoff.give_up_seconds
        if limit is not None and now - self._lost_at > limit:
            text = f"No connection for {limit:g} seconds: {str(error) or type(error).__name__}"
            raise ConnectionLost(text, code=close_code(error)) from error
        if close_code(error) == SERVICE_RESTART and self._failures == 0:
            bound = self._backoff.restart_seconds
        else:
            # The exponent is bounded for those who never give up.
            grown = self._backoff.first_seconds * self._backoff.factor ** min(self._failures, 64)
            bound = min(self._backoff.longest_seconds, grown)
        self._failures += 1
        self._waited = random.uniform(0, bound)  # noqa: S311 - it spreads clients out
        if isinstance(error, Refused) and error.retry_after:
            self._waited += min(error.retry_after, self._backoff.longest_seconds)
        return self._waited

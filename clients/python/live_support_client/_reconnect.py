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
    Replaced,
    Unavailable,
)
from live_support_client._options import Backoff

CONNECT_ERRORS = (ConnectionClosed, InvalidHandshake, OSError, Unavailable)
"""What connecting and joining may end with, and might not the next time (a `TimeoutError` is an `OSError`)."""

DONE = frozenset({1000, 1001})
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
                return Forbidden(str(status), "The server refuses the connection.")
            if 400 <= status < 500 and status not in (408, 425, 429):
                return ConnectionLost(f"The server answered the handshake with {status}.")
            return None
        case ConnectionClosed():
            return _after(error)
        case LiveSupportError() if not isinstance(error, Unavailable):
            return error
    return None


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
        self._connected_at = time.monotonic()

    def connected(self) -> None:
        """Note that there is a connection."""
        self._connected_at = time.monotonic()
        self._lost_at = None

    def next(self, error: Exception) -> float:
        """Return how many seconds to wait after this failure.

        Raises:
            ConnectionLost: it has been tried for too long.
        """
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            # A connection that ends at once, again and again, is no better than none.
            if now - self._connected_at > self._waited:
                self._failures = 0
        limit = self._backoff.give_up_seconds
        if limit is not None and now - self._lost_at > limit:
            raise ConnectionLost(f"No connection for {limit} seconds: {error}", code=close_code(error)) from error
        if close_code(error) == SERVICE_RESTART and self._failures == 0:
            bound = self._backoff.restart_seconds
        else:
            # The exponent is bounded for those who never give up.
            grown = self._backoff.first_seconds * self._backoff.factor ** min(self._failures, 64)
            bound = min(self._backoff.longest_seconds, grown)
        self._failures += 1
        self._waited = random.uniform(0, bound)  # noqa: S311 - it spreads clients out
        return self._waited

"""Logs what clients are refused: one line with its reason, and at most one a second for each reason.

A refused client may retry as fast as the network allows, so further refusals within the second are only counted, and
the next line has the count. Refusals by Redis are in `live_support.redis.write_refusals`.
"""

import asyncio
from enum import Enum, IntEnum
from typing import Final

import structlog
from websockets.frames import CloseCode

log = structlog.get_logger()


class Refusal(Enum):
    """What was refused, and why: the `what` and `reason` of a line. docs/operations.md explains all of them."""

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason

    TOKEN_MISSING = "token", "missing"
    TOKEN_NOT_ALONE = "token", "several"
    TOKEN_MALFORMED = "token", "malformed"
    TOKEN_KID = "token", "kid"
    TOKEN_ALGORITHM = "token", "algorithm"
    TOKEN_SIGNATURE = "token", "signature"
    TOKEN_EXPIRED = "token", "expired"
    TOKEN_NOT_YET_VALID = "token", "not_yet_valid"
    TOKEN_AUDIENCE = "token", "audience"
    TOKEN_SUBJECT = "token", "sub"
    TOKEN_EXP = "token", "exp"
    TOKEN_EXP_TOO_FAR = "token", "exp_too_far"
    TOKEN_SCOPE = "token", "scope"
    TOKEN_ENDED = "token", "ended"
    HOST = "host", "not_ours"
    ORIGIN = "origin", "not_allowed"
    CROSS_SITE = "origin", "cross_site"
    PREFETCH = "origin", "prefetch"
    REGISTRATIONS = "rate", "registrations"
    HANDSHAKES = "rate", "handshakes"
    CHAT_JOINS = "rate", "chat_joins"
    MESSAGES = "rate", "messages"
    CONNECTIONS_OF_ADDRESS = "connection", "too_many_of_one_address"
    CONNECTIONS = "connection", "too_many"
    REQUEST_MALFORMED = "request", "malformed"
    REQUEST_TOO_SLOW = "request", "too_slow"
    REQUEST_TOO_LARGE = "request", "too_large"
    REQUESTS_IN_A_ROW = "request", "too_many_in_a_row"
    NOT_YOURS = "message", "not_yours"
    MALFORMED = "message", "malformed"


_BROKEN: Final = frozenset(
    (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.POLICY_VIOLATION, CloseCode.MESSAGE_TOO_BIG)
)


class RefusalLog:
    """Counts refusals and logs them. Its size is bounded by the number of reasons; one timer serves all."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_at: dict[Refusal | IntEnum, float] = {}
        self._held: dict[Refusal | IntEnum, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, refusal: Refusal | IntEnum, **compared: str) -> None:
        """Log a refusal, or a close for a reason, now or at the end of its second. Called in the event loop.

        Args:
            refusal: the refusal; for a close its code, whose name is the reason.
            compared: the two values that differ, without content and ids; logged at `debug` only, and only for a
                refusal that is logged at once.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._next_at, self._held, self._timer = loop, {}, {}, None
        now = loop.time()
        if refusal in self._held:
            self._held[refusal] += 1
        elif now >= (at := self._next_at.get(refusal, 0)):
            self._tell(refusal, 1, now)
            if compared:
                log.debug("compared", what=refusal.name.lower(), **compared)
        else:
            self._held[refusal] = 1
            if self._timer is None:
                self._timer = loop.call_at(at, self._tell_held)

    def flush(self) -> None:
        """Log what was only counted so far, as when the service ends."""
        for refusal, count in self._held.items():
            self._tell(refusal, count, 0)
        self._held.clear()

    def _tell_held(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for refusal in [each for each in self._held if self._next_at[each] <= now]:
            self._tell(refusal, self._held.pop(refusal), now)
        if self._held:
            self._timer = loop.call_at(min(self._next_at[each] for each in self._held), self._tell_held)

    def _tell(self, refusal: Refusal | IntEnum, count: int, now: float) -> None:
        self._next_at[refusal] = now + self._seconds
        if isinstance(refusal, IntEnum):
            log.info("client_closed", reason=refusal.name.lower(), code=int(refusal), count=count)
        else:
            log.info("client_refused", what=refusal.what, reason=refusal.reason, count=count)


refusal_log = RefusalLog()
"""The one of this process."""

refused = refusal_log.note


def refused_by_layer(code: int) -> None:
    """Log that a WebSocket layer has closed a connection, if its client broke the protocol."""
    if code in _BROKEN:
        refused(CloseCode(code))

"""Close codes and errors of the wire: this module is the table (PROTOCOL sections 3 and 7).

ChatError                    a frame or a join was refused; has an `Error` code, may close
 ├── InvalidFrame            invalid          malformed: three in a row close with 4500
 ├── InvalidContent          invalid          well-formed, but the content violates a rule
 ├── UnknownType             unknown_type
 ├── NotJoined               not_joined
 ├── AlreadyJoined           already_joined
 ├── Forbidden               forbidden        closes with 4503 on a `Join`
 ├── AlreadyClaimed          already_claimed  closes with 4511 on a `Join`
 ├── NotWaiting              not_waiting
 ├── RateLimited             rate_limited     says when to try again; closes with 4429 on a `Join`
 ├── TooLarge                too_large
 ├── ChatFull                chat_full        closes with 1013 on a `Join`
 └── Unavailable             unavailable      closes with 1013 on a `Join`
ChatGone                     the chat is unknown or expired: `ChatExpired`, then 4510
NotAuthenticated             an agent without a valid token: closes with 4501
"""

from enum import IntEnum
from typing import ClassVar, Final, Literal

ErrorCode = Literal[
    "invalid",
    "unknown_type",
    "not_joined",
    "already_joined",
    "forbidden",
    "already_claimed",
    "not_waiting",
    "rate_limited",
    "too_large",
    "chat_full",
    "unavailable",
]


class CloseCode(IntEnum):
    """Why the server closes a WebSocket.

    4000..4499 mean that a client should reconnect, 4500..4999 that it should not.
    """

    def __new__(cls, code: int, reason: str, advice: str) -> "CloseCode":
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        member.advice = advice
        return member

    reason: str
    """What the close frame says."""
    advice: str
    """What a client should do."""

    @property
    def reconnect(self) -> bool:
        """Whether a client should reconnect."""
        return 4000 <= self < 4500 or self in (
            CloseCode.INTERNAL_ERROR,
            CloseCode.SERVICE_RESTART,
            CloseCode.TRY_AGAIN_LATER,
        )

    UNSUPPORTED_DATA = 1003, "text frames only", "stop: it is a bug"
    INTERNAL_ERROR = 1011, "internal error", "reconnect, backing off"
    SERVICE_RESTART = 1012, "service restart", "reconnect after 0..5 s, at random"
    TRY_AGAIN_LATER = 1013, "try again later", "reconnect, backing off up to 30 s"
    SLOW_CONSUMER = 4008, "slow consumer", "reconnect and join again: history fills in"
    IDLE = (
        4408,
        "idle",
        "reconnect at once if you wait for something (on `/joins`, in the queue, in an open chat), "
        "else when the person acts",
    )
    RATE_LIMITED = (
        4429,
        "rate limit exceeded",
        "reconnect after the `retryAfterMs` of the `Error` before it, at once or when the person acts, as at 4408",
    )
    MALFORMED = 4500, "malformed messages", "stop: it is a bug"
    NOT_AUTHENTICATED = 4501, "not authenticated", "get a fresh token, then connect"
    FORBIDDEN = 4503, "not this participant", "stop"
    REPLACED = 4509, "replaced by a newer connection", "stop: another tab of this person has taken over"
    CHAT_GONE = 4510, "chat unknown or expired", "stop; register anew"
    ALREADY_CLAIMED = 4511, "taken by another agent", "stop"


OTHER_CLOSES: Final = {
    1000: ("done", False, "stop"),
    1001: ("page left", False, "stop"),
    1002: ("protocol error", False, "stop: it is a bug"),
    1006: (
        "no close frame: a refused handshake (403, 429, 503) or a lost network, which look alike in a browser",
        True,
        "reconnect, backing off up to 30 s; after 5 failures ask `GET /health` and tell the person",
    ),
    1007: ("bad UTF-8", False, "stop: it is a bug"),
    1009: ("frame too large", False, "stop: it is a bug"),
}
"""Other codes, sent by the WebSocket layers or made by the client's own: reason, whether to reconnect, advice."""


class ChatError(Exception):
    """Base of the errors that a client is sent as an `Error` message."""

    code: ClassVar[ErrorCode]
    status: ClassVar[int] = 400
    """The status of an HTTP route's answer."""

    def __init__(self, message: str, *, close: CloseCode | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.close = close
        self.retry_after_ms = retry_after_ms


class InvalidFrame(ChatError):
    """Raised when a frame is not JSON, lacks a key, or has args of the wrong shape."""

    code = "invalid"


class ClaimsNobody(InvalidFrame):
    """Raised for the claim `-`, whose answer shows a client that an earlier claim is won. So it is not a mistake."""


class InvalidContent(ChatError):
    """Raised when a well-formed frame holds a text that is not allowed."""

    code = "invalid"


class UnknownType(ChatError):
    """Raised when the `type` of a frame is unknown."""

    code = "unknown_type"


class NotJoined(ChatError):
    """Raised when the first frame is not a `Join`."""

    code = "not_joined"


class AlreadyJoined(ChatError):
    """Raised when a joined connection joins again."""

    code = "already_joined"


class Forbidden(ChatError):
    """Raised when the ids or the participant do not match the connection."""

    code = "forbidden"
    status = 403


class AlreadyClaimed(ChatError):
    """Raised when another agent has the user or the chat."""

    code = "already_claimed"


class NotWaiting(ChatError):
    """Raised when a claimed user is not in the queue."""

    code = "not_waiting"


class RateLimited(ChatError):
    """Raised when a connection sends more than it may, or a chat is joined too often."""

    code = "rate_limited"
    status = 429


class TooLarge(ChatError):
    """Raised when a message is too long."""

    code = "too_large"


class ChatFull(ChatError):
    """Raised when a chat has reached its message limit, or too many connections have replaced others in it."""

    code = "chat_full"


class Unavailable(ChatError):
    """Raised when Redis does not answer in time, or the queue is full."""

    code = "unavailable"
    status = 503


class ChatGone(Exception):
    """Raised when the chat is unknown or expired."""


class NotAuthenticated(Exception):
    """Raised when a connection has no valid agent's token."""

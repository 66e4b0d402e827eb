"""The exceptions, as a tree.

LiveSupportError
 ├── Refused                  the server said no: `code`, `message`, perhaps `retry_after`
 │    ├── InvalidInput        a name, a text or a frame is not allowed
 │    ├── TooLarge            a message is longer than a message may be
 │    ├── Forbidden           the ids or the token are not this participant's
 │    ├── AlreadyClaimed      another agent has the user or the chat
 │    ├── NotWaiting          the claimed user is not in the queue
 │    ├── RateLimited         too fast; `retry_after` says when to go on
 │    ├── ChatFull            the chat holds as much as it may
 │    └── Unavailable         the server cannot store anything now
 ├── ChatGone                 the chat is unknown or expired
 ├── ConnectionLost           the connection is gone for good: `code`, `reason`
 │    ├── NotAuthenticated    the agent's token is missing, not valid, or over
 │    └── Replaced            a newer connection of the same participant took its place
 ├── NotAcknowledged          nobody can tell whether it arrived
 └── UnexpectedFrame          the server sent what its documents do not describe
"""

from typing import ClassVar

from live_support_client._models import ErrorArgs


class LiveSupportError(Exception):
    """Base of all errors that this package raises on purpose."""


class Refused(LiveSupportError):
    """Raised when the server refuses a frame or a request; a code that has no class of its own comes as this one."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        """Seconds to wait before the next try, where the server says so."""

    by_code: ClassVar[dict[str, type["Refused"]]] = {}

    @classmethod
    def of(cls, args: ErrorArgs) -> "Refused":
        """Make the exception that an `Error` message asks for."""
        # Unset has no value of its own that is falsy and a number.
        milliseconds = args.retry_after_ms if isinstance(args.retry_after_ms, int) else None
        retry_after = None if milliseconds is None else milliseconds / 1000
        return cls.by_code.get(args.code, Refused)(args.code, args.message, retry_after=retry_after)


class InvalidInput(Refused):
    """Raised when a name, a text or a frame is not allowed."""


class TooLarge(Refused):
    """Raised when a message is longer than a message may be."""


class Forbidden(Refused):
    """Raised when the ids or the token are not this participant's, or the page's origin is not allowed."""


class AlreadyClaimed(Refused):
    """Raised when another agent has the user or the chat."""


class NotWaiting(Refused):
    """Raised when a claimed user is not in the queue."""


class RateLimited(Refused):
    """Raised when the server is asked too often."""


class ChatFull(Refused):
    """Raised when the chat holds as much as a chat may."""


class Unavailable(Refused):
    """Raised when the server cannot store anything now. A message may yet turn up: see `NotAcknowledged`."""


class ChatGone(LiveSupportError):
    """Raised when the chat is unknown or expired: the two look the same."""


class ConnectionLost(LiveSupportError):
    """Raised when the server cannot be reached, or a connection has ended and is not to be made again."""

    def __init__(self, message: str, *, code: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        """The close code, if there was a connection that the server closed."""
        self.reason = reason


class NotAuthenticated(ConnectionLost):
    """Raised when the server wants an agent's token, and the one given is missing, not valid, or over."""


class Replaced(ConnectionLost):
    """Raised when a newer connection of the same participant took this one's place."""


class NotAcknowledged(LiveSupportError):
    """Raised when the connection was lost before the answer came, and the server's memory does not settle it.

    A message was not in the history when the chat was joined again, but may still be on its way: sending it once more
    may store it twice. A claim is void: a lost connection gives its users back to the queue.
    """


class UnexpectedFrame(LiveSupportError):
    """Raised when the server sends what its documents do not describe."""


# What is not here means a mistake of this package's, such as `not_joined`.
Refused.by_code.update(
    {
        "invalid": InvalidInput,
        "too_large": TooLarge,
        "forbidden": Forbidden,
        "already_claimed": AlreadyClaimed,
        "not_waiting": NotWaiting,
        "rate_limited": RateLimited,
        "chat_full": ChatFull,
        "unavailable": Unavailable,
    }
)

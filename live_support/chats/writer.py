"""Writer: appends one connection's messages to the chat's log."""

from typing import Final

from live_support.redis.client import RedisClient
from live_support.redis.connection import OnReply
from schemas.codec import encode
from schemas.errors import ChatFull, ChatGone, Forbidden, Unavailable

STORED: Final = b"stored"
"""The reply of `append.lua` for a stored message."""
NOT_YOURS: Final = "The ids or `from` do not match this connection."


class Writer:
    """Appends one connection's messages to the log, idempotently: each is stored and published once.

    This is the hot path: a callback instead of a task or future, and only the arguments that vary are packed.

    Args:
        redis: runs the script.
        key: the script's first key.
        begin: the packed call, up to the message's number and content.
    """

    __slots__ = ("_begin", "_key", "_number", "_redis")

    def __init__(self, redis: RedisClient, key: str, begin: bytes) -> None:
        self._redis = redis
        self._key = key
        self._begin = begin
        self._number = 0

    def append(self, content: str, on_reply: OnReply) -> None:
        """Store a message.

        Args:
            content: checked by `clean_content`.
            on_reply: called with `STORED`, or with a reply for `append_error`.
        """
        self._number += 1
        number, text, redis = b"%d" % self._number, encode(content), self._redis
        end = b"$%d\r\n%b\r\n$%d\r\n%b\r\n%b" % (len(number), number, len(text), text, redis.deadlines.until)
        redis.submit_packed(self._key, self._begin + end, on_reply)


def append_error(reply: bytes | Exception) -> Exception | None:
    """Return the error that a reply to `Writer.append` means, or None when the message is stored."""
    if reply == STORED:
        return None
    match reply:
        case b"gone":
            return ChatGone()
        case b"late":
            # A later message is stored already, or this one was sent long ago.
            return Unavailable("The server cannot store anything now, try again later.")
        case b"forbidden":
            return Forbidden(NOT_YOURS)
        case b"full":
            return ChatFull("This chat has reached its message limit.")
        case Exception():
            return reply
    raise ValueError(reply)

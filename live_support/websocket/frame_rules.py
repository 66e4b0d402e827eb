"""FrameRules: applies RFC 6455 and our bounds to one client's frames. Knows no socket.

The layer on picows, which only splits the stream of bytes into frames, uses all of it; uvicorn's own layer implements
the RFC, and uses the bounds.
"""

from functools import cache
from typing import NamedTuple

from websockets.frames import CloseCode

from live_support.limits import Limits
from live_support.rate import Bucket, Rate

_MAX_IGNORED_BYTES = 1024 * 1024
_IGNORED_FRAME_BYTES = 1024
"""Added to the size of each ignored frame."""

# RFC 6455 section 7.4.1 and the registry of IANA; 1004, 1005, 1006 and 1015 are never sent.
_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015)})
# Section 7.4.2: the codes of libraries and of applications.
_OTHER_CLOSE_CODES = range(3000, 5000)


class ViolationError(Exception):
    """Raised when a client breaks a rule: the connection must be closed with this code and reason."""

    def __init__(self, code: CloseCode, reason: str, *, at_once: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.at_once = at_once
        """Whether to close at once, without waiting for the client's close frame."""


class CloseAnswer(NamedTuple):
    """The answer to a close frame."""

    code: int | None
    """None: a frame without payload."""
    reason: str = ""


class FrameRules:
    """Assembles messages, and bounds frames that cost a client nothing.

    Args:
        limits: bounds of fragments and control frames.
    """

    __slots__ = ("_control_frames", "_fragments", "_limits", "_size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._fragments: list[bytes] | None = None
        self._size = 0  # of the fragments, or of ignored frames
        self._control_frames: Bucket | None = None

    def message_began(self, payload: bytes, *, last: bool) -> bytes | None:
        """Handle the first frame of a message (section 5.4); return the message if it is complete.

        Raises:
            ViolationError: it comes in the middle of another message, or is not UTF-8.
        """
        if self._fragments is not None:
            raise _in_another()
        if last:
            return payload if payload.isascii() else _checked_text(payload)
        self._fragments = [payload]
        self._size = len(payload)
        return None

    def binary_began(self) -> None:
        """Handle the first frame of a binary message, which the caller refuses.

        Raises:
            ViolationError: it comes in the middle of another message.
        """
        if self._fragments is not None:
            raise _in_another()

    def message_continued(self, payload: bytes, *, last: bool) -> bytes | None:
        """Handle a later frame of a message; return the message once it is complete.

        Raises:
            ViolationError: there is no message to continue, or it is too large, has too many fragments, or is
                not UTF-8.
        """
        fragments = self._fragments
        if fragments is None:
            raise ViolationError(CloseCode.PROTOCOL_ERROR, "nothing to continue")
        self._size += len(payload)
        if self._size > self._limits.frame_bytes:
            raise ViolationError(CloseCode.MESSAGE_TOO_BIG, "message too big")
        self.check_fragments(len(fragments))
        fragments.append(payload)
        if not last:
            return None
        self._fragments = None
        return _checked_text(b"".join(fragments))

    def check_fragments(self, count: int) -> None:
        """Check that a message may have one more fragment: empty ones add nothing to its size.

        Args:
            count: how many it has.

        Raises:
            ViolationError: it has as many as it may have.
        """
        if count >= self._limits.fragments:
            raise ViolationError(CloseCode.POLICY_VIOLATION, "too many fragments", at_once=True)

    def control_frame_received(self, now: float) -> None:
        """Count a ping or pong: they are handled below the application, so they have a rate of their own.

        Raises:
            ViolationError: there are too many.
        """
        bucket = self._control_frames
        if bucket is None:
            bucket = self._control_frames = Bucket(_rate(self._limits.control_frames_per_second))
        if bucket.take(now):
            raise ViolationError(CloseCode.POLICY_VIOLATION, "too many control frames", at_once=True)

    def close_sent(self) -> None:
        """Note that we have sent a close frame: frames before the client's close frame are ignored."""
        self._fragments = None
        self._size = 0

    def ignored(self, size: int) -> bool:
        """Count a frame after our close frame; return whether the client has sent too much to wait for its own."""
        self._size += _IGNORED_FRAME_BYTES + size
        return self._size > _MAX_IGNORED_BYTES


def close_answer(payload: bytes) -> CloseAnswer:
    """Return the answer to a close frame (section 5.5.1): its own code, where a client may send that."""
    if not payload:
        return CloseAnswer(None)
    code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 0
    if code in _CLOSE_CODES or code in _OTHER_CLOSE_CODES:
        return CloseAnswer(code)
    return CloseAnswer(CloseCode.PROTOCOL_ERROR, "invalid close code")


def _in_another() -> ViolationError:
    return ViolationError(CloseCode.PROTOCOL_ERROR, "a message in the middle of another")


def _checked_text(message: bytes) -> bytes:
    try:
        message.decode()
    except UnicodeDecodeError:
        raise ViolationError(CloseCode.INVALID_DATA, "not UTF-8") from None
    return message


@cache
def _rate(per_second: int) -> Rate:
    return Rate(f"{per_second}/second")

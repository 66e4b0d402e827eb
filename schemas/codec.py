"""Codec: reads JSON, whatever a client sends, and writes it. What each version means by it is in `schemas.wire`."""

import re
from collections.abc import Callable, Collection
from typing import TypeVar

import msgspec
from msgspec import Struct

from schemas.errors import ChatError, InvalidFrame, UnknownType
from schemas.messages import Message, NewUser
from schemas.registry import MessageType, union

T = TypeVar("T")

encode = msgspec.json.Encoder().encode

_decode_new_user = msgspec.json.Decoder(NewUser).decode


class _Envelope(Struct):
    type: str


_decode_envelope = msgspec.json.Decoder(_Envelope).decode

# Exceptions of msgspec 0.22 on hostile input: besides its own errors, a bad string raises UnicodeError, and deep
# nesting raises RecursionError even inside a key that is skipped.
_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)

# Deep nesting exhausts the decoder's stack. Our messages open two objects; the rest is for unknown keys.
_OPENED_MAX = 32
# A shorter frame cannot nest deeply enough to do harm.
_SHORT = 512

# JSON can spell half of a surrogate pair. msgspec refuses it wherever it stands.
_HALF_OF_A_PAIR = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|[c-fC-F][0-9a-fA-F]{2}(?<!\\u[dD][89abAB]..\\u.{4}))"
)
# A byte that does not occur in UTF-8.
_ESCAPED_BACKSLASH = b"\xff"


class FrameDecoder:
    """Decodes text frames of some types.

    Args:
        rows: the types, from the registry.
    """

    __slots__ = ("_decode", "_types")

    def __init__(self, rows: Collection[MessageType]) -> None:
        self._decode: Callable[[bytes], Message] = msgspec.json.Decoder(union(rows)).decode
        self._types = frozenset(row.type for row in rows)

    def decode(self, frame: bytes) -> Message:
        """Decode one frame. The ids of a `ChatMessage` must still be compared or checked.

        Raises:
            UnknownType: the envelope is valid, but its `type` is none of these.
            InvalidFrame: no JSON, a missing key, args of the wrong shape, or too deep nesting.
        """
        try:
            if len(frame) > _SHORT:
                _check_nesting(frame)
            return self._decode(frame)
        except _DECODE_ERRORS as error:
            return _decode_again(self._decode, frame, error, self._explain)

    def _explain(self, frame: bytes, error: Exception) -> UnknownType | InvalidFrame:
        if isinstance(error, msgspec.ValidationError) and not self._is_type_known(frame):
            return UnknownType("Unknown message type.")
        return InvalidFrame(_reason(error, "frame"))

    def _is_type_known(self, frame: bytes) -> bool:
        try:
            return _decode_envelope(frame).type in self._types
        except _DECODE_ERRORS:
            return True


def decode_new_user(body: bytes) -> NewUser:
    """Decode the body of `POST /users`.

    Raises:
        InvalidFrame: no JSON, no `username`, or too deep nesting.
    """
    try:
        _check_nesting(body)
        return _decode_new_user(body)
    except _DECODE_ERRORS as error:
        return _decode_again(_decode_new_user, body, error, lambda _, error: InvalidFrame(_reason(error, "body")))


def _check_nesting(text: bytes) -> None:
    if _opened(text) > _OPENED_MAX:
        raise RecursionError


def _decode_again(
    decode: Callable[[bytes], T], text: bytes, error: Exception, explain: Callable[[bytes, Exception], ChatError]
) -> T:
    """Decode a refused text again if halves of surrogate pairs may be the only fault; else explain the fault."""
    if not isinstance(error, RecursionError) and (whole := _without_halves(text)) is not None:
        text = whole
        try:
            return decode(text)
        except _DECODE_ERRORS as second:
            error = second
    raise explain(text, error) from None


def _without_halves(text: bytes) -> bytes | None:
    """Put NUL in place of each half of a surrogate pair; return None where there is none.

    Contents and names may not have a NUL, so these are refused for that; an unknown key may hold one.
    """
    if b"\\u" not in text or _ESCAPED_BACKSLASH in text:
        return None
    # With escaped backslashes removed, every other one begins an escape.
    whole, count = _HALF_OF_A_PAIR.subn(rb"\\u0000", text.replace(rb"\\", _ESCAPED_BACKSLASH))
    return whole.replace(_ESCAPED_BACKSLASH, rb"\\") if count else None


def _opened(frame: bytes) -> int:
    """Count the objects and arrays of a frame; while there are few, braces in strings are counted, too."""
    count = frame.count(b"{") + frame.count(b"[")
    if count <= _OPENED_MAX:
        return count
    # Braces inside strings do not count: without escapes, every other part is outside of strings.
    outside = b"".join(frame.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    return outside.count(b"{") + outside.count(b"[")


def _reason(error: Exception, what: str) -> str:
    if isinstance(error, RecursionError):
        return f"The {what} has too many objects and arrays."
    if not isinstance(error, msgspec.ValidationError):
        return f"The {what} is not valid JSON."
    # The message names the path and the rule; of the input it repeats at most a tag.
    return f"{str(error)[:200]}."

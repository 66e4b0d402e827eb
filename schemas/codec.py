"""How the messages are read from frames and written to them. Encoded args are never decoded again on their way."""

import re

import msgspec
from msgspec import Struct

from schemas.errors import InvalidFrame, UnknownType
from schemas.messages import ClientMessage, Join

encode = msgspec.json.Encoder().encode

_client_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_CLIENT_TYPES = frozenset({"Join", "ChatMessage"})


class _Envelope(Struct):
    type: str


_decode_envelope = msgspec.json.Decoder(_Envelope).decode

# What msgspec raises on hostile input, seen with 0.22: besides its own errors, a bad string raises
# UnicodeError, and deep nesting raises RecursionError even inside a key that is skipped.
_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)

# Deep nesting uses up the decoder's stack. Our messages open two objects; the rest is for keys that we do not know.
_OPENED_MAX = 32
# What is shorter cannot nest deeply enough to do harm.
_SHORT = 512


_is_id = re.compile("[0-9a-f]{32}").fullmatch


def check_ids(*ids: str | None) -> None:
    """Look at ids that a client has sent, where they are not equal to known ones anyway.

    Raises:
        InvalidFrame: one of them is none.
    """
    if not all(id_ is None or _is_id(id_) for id_ in ids):
        raise InvalidFrame("An id is 32 lower-case hex digits.")


def decode_client_message(frame: bytes) -> ClientMessage:
    """Decode one text frame of `/chat/{chatId}`. The ids of a `ChatMessage` are still to be compared, or checked.

    Raises:
        UnknownType: the envelope is right, but its `type` is none of ours.
        InvalidFrame: no JSON, a missing key, args of the wrong shape, or nested too deeply.
    """
    if len(frame) > _SHORT and _opened(frame) > _OPENED_MAX:
        raise InvalidFrame("The frame has too many objects and arrays.")
    try:
        message = _client_decoder.decode(frame)
    except _DECODE_ERRORS as error:
        raise _explain(frame, error) from None
    if isinstance(message, Join):
        check_ids(message.args.user_id, message.args.support_id)
    return message


def _opened(frame: bytes) -> int:
    """Count the objects and arrays of a frame; while there are few, braces in strings count, too."""
    count = frame.count(b"{") + frame.count(b"[")
    if count <= _OPENED_MAX:
        return count
    # The braces in what people write do not count: without escapes, every other part is outside of strings.
    outside = b"".join(frame.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    return outside.count(b"{") + outside.count(b"[")


def _explain(frame: bytes, error: Exception) -> UnknownType | InvalidFrame:
    if not isinstance(error, msgspec.ValidationError):
        return InvalidFrame("The frame is not valid JSON.")
    try:
        known = _decode_envelope(frame).type in _CLIENT_TYPES
    except _DECODE_ERRORS:
        known = True
    # The text of a ValidationError names the place and the rule; of the input it repeats at most a tag.
    return InvalidFrame(f"{str(error)[:200]}.") if known else UnknownType("This type of message is not known.")


def decode_claim(frame: bytes) -> str:
    """Decode an agent's click: a bare `userId`; quotes and white space around it are tolerated.

    Raises:
        InvalidFrame: anything else.
    """
    try:
        user_id = frame.decode().strip().strip('"').strip()
    except UnicodeError:
        user_id = ""
    if not _is_id(user_id):
        raise InvalidFrame("A claim is the bare userId: 32 lower-case hex digits.")
    return user_id


def frame_of(type_: bytes, body: bytes) -> bytes:
    """Put already encoded args into the envelope."""
    return b'{"type":"%b","args":%b}' % (type_, body)


def history_frame(bodies: list[bytes]) -> bytes:
    """Make a `ChatHistory` of already encoded messages."""
    return b'{"type":"ChatHistory","args":{"messages":[%b]}}' % b",".join(bodies)

"""How the messages are read from frames and written to them. Encoded args are never decoded again on their way."""

from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas.errors import InvalidFrame, UnknownType
from schemas.messages import ClientMessage, Id, Participant, StoredMessage

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


def decode_client_message(frame: bytes) -> ClientMessage:
    """Decode one text frame of `/chat/{chatId}`.

    Raises:
        UnknownType: the envelope is right, but its `type` is none of ours.
        InvalidFrame: no JSON, a missing key, args of the wrong shape, or nested too deeply.
    """
    if len(frame) > _SHORT and _opened(frame) > _OPENED_MAX:
        raise InvalidFrame("The frame has too many objects and arrays.")
    try:
        return _client_decoder.decode(frame)
    except _DECODE_ERRORS as error:
        raise _explain(frame, error) from None


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
        return msgspec.convert(frame.decode().strip().strip('"').strip(), Id)
    except _DECODE_ERRORS:
        raise InvalidFrame("A claim is the bare userId: 32 lower-case hex digits.") from None


# Redis's clock stamps a message, in the script that stores it, and the chat knows its Support. So a message is
# encoded once, without `supportId` and with a placeholder for the time, and the script puts both in their places.
# The microsecond keeps the six decimals.
_PLACEHOLDER = datetime(1970, 1, 1, microsecond=1, tzinfo=UTC)
_PLACEHOLDER_TEXT = b"1970-01-01T00:00:00.000001Z"


class Unstamped(NamedTuple):
    """The args of a `ChatMessage` before it is stored: JSON, and 0-based places in it."""

    body: bytes
    support_place: int
    """Where `"supportId":"...",` belongs."""
    time_place: int
    """Where the timestamp's 27 bytes begin."""


def encode_unstamped(*, user_id: str, content: str, sender: Participant) -> Unstamped:
    """Encode the args of a `ChatMessage` as far as the sender's process knows them."""
    body = encode(StoredMessage(user_id=user_id, content=content, timestamp=_PLACEHOLDER, sender=sender))
    return Unstamped(body, body.index(b'"content":'), body.rindex(_PLACEHOLDER_TEXT))


def frame_of(type_: str, body: bytes) -> bytes:
    """Put already encoded args into the envelope."""
    return b'{"type":"%b","args":%b}' % (type_.encode(), body)


def history_frame(bodies: list[bytes]) -> bytes:
    """Make a `ChatHistory` of already encoded messages."""
    return b'{"type":"ChatHistory","args":{"messages":[%b]}}' % b",".join(bodies)

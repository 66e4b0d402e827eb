"""Version 1 of the protocol, also used without a subprotocol. Its bytes must never change."""

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from schemas.codec import encode
from schemas.entry import Entry
from schemas.errors import ChatError, ClaimsNobody, InvalidFrame
from schemas.ids import is_id
from schemas.messages import (
    ChatExpired,
    ChatExpiredArgs,
    Error,
    ErrorArgs,
    Joined,
    SupportJoined,
    UserJoined,
)
from schemas.registry import stored_kinds
from schemas.wire import Wire

_VERSION = 1
_BEFORE_BODY = {kind: b'{"type":"%b","args":' % kind for kind in stored_kinds(_VERSION)}

_NO_CLAIM = "A claim must be the bare userId: 32 lower-case hex digits."


class WireV1(Wire):
    """The first version. Stored bodies already have its form, so they are sent without decoding."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_VERSION)

    def decode_claim(self, frame: bytes) -> str:
        """Decode a bare `userId`; quotes and white space around it are tolerated."""
        if frame == b"-":
            raise ClaimsNobody(_NO_CLAIM)
        try:
            user_id = frame.decode().strip().strip('"').strip()
        except UnicodeError:
            user_id = ""
        if not is_id(user_id):
            raise InvalidFrame(_NO_CLAIM)
        return user_id

    def entry(self, entry: Entry) -> bytes | None:
        before = _BEFORE_BODY.get(entry.kind)
        return None if before is None else before + entry.body + b"}"

    def joined(self, args: UserJoined | SupportJoined) -> bytes:
        return encode(Joined(args))

    def history(self, messages: Sequence[bytes], *, first: bool = True, last: bool = True) -> bytes:
        begin = b'{"type":"ChatHistory","args":{"messages":[' if first else b"," if messages else b""
        return b"%b%b%b" % (begin, b",".join(messages), b"]}}" if last else b"")

    def expired(self, chat_id: str) -> bytes:
        return encode(ChatExpired(ChatExpiredArgs(chat_id=chat_id)))

    def error(self, error: ChatError, reference: str | None = None) -> bytes:  # noqa: ARG002 - this version has no key
        retry_after_ms = UNSET if error.retry_after_ms is None else error.retry_after_ms
        return encode(Error(ErrorArgs(code=error.code, message=error.message, retry_after_ms=retry_after_ms)))


V1: Final = WireV1()

"""What arguments may be. Whatever they may not is refused before anything is sent."""

import re
from typing import Any

from live_support_client._errors import InvalidInput, TooLarge

CONTENT_MOST = 4000
"""Characters of a message, as the server counts them."""
NAME_MOST = 64
"""Characters of a name."""
FRAME_BYTES_MOST = 64 * 1024
"""The server closes a connection that sends a larger frame."""

# So many characters at most become one in NFC, or at a line end: what is longer than this need not be looked at.
_SHRINKS = 4

_is_id = re.compile("[0-9a-f]{32}").fullmatch
_is_token = re.compile(r"[\x21-\x7e]+").fullmatch


def checked_id(value: Any, what: str) -> str:
    """Return an id.

    Raises:
        TypeError: it is no text.
        InvalidInput: it is no id.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    if not _is_id(value):
        raise InvalidInput("invalid", f"{what} must be 32 lower-case hex digits.")
    return value


def checked_text(value: Any, what: str) -> str:
    """Return a text that can be sent.

    Raises:
        TypeError: it is no text.
        InvalidInput: it holds half of a surrogate pair, which UTF-8 does not have.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput("invalid", f"{what} has half of a surrogate pair, which is no character.") from None
    return value


def checked_name(value: Any, what: str) -> str:
    """Return a name that the server can be asked about; what else it may hold is for the server to say.

    Raises:
        TypeError, InvalidInput: as `checked_text`; it is empty or far too long.
    """
    if isinstance(value, str) and not 1 <= len(value) <= NAME_MOST * _SHRINKS:
        raise InvalidInput("invalid", f"{what} must have 1..{NAME_MOST} characters.")
    return checked_text(value, what)


def checked_content(value: Any) -> str:
    """Return the text of a message that the server can be asked about.

    Raises:
        TypeError, InvalidInput: as `checked_text`.
        TooLarge: it is far too long.
    """
    if isinstance(value, str) and len(value) > CONTENT_MOST * _SHRINKS:
        raise too_large()
    return checked_text(value, "A message")


def too_large() -> TooLarge:
    """Make the exception that the server's answer would be."""
    return TooLarge("too_large", f"The content has at most {CONTENT_MOST} characters.")


def checked_token(value: Any) -> str:
    """Return a token that can be sent in a header.

    Raises:
        TypeError: it is no text.
        InvalidInput: it has characters that no token has.
    """
    if not isinstance(value, str):
        raise TypeError(f"A token must be a str, not {type(value).__name__}")
    if not _is_token(value):
        raise InvalidInput("invalid", "A token has visible ASCII characters only.")
    return value

"""What a name and a message may consist of (PROTOCOL sections 2 and 3)."""

import re
import unicodedata

from schemas.errors import InvalidContent, TooLarge

NAME_MAX = 64
CONTENT_MAX = 4000

# Unicode's control characters (Cc), and lone surrogates, which JSON can spell but UTF-8 cannot.
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_BIDI_OVERRIDE = r"\u202a-\u202e\u2066-\u2069"
_NOT_IN_NAMES = re.compile(f"[{_CONTROL}{_BIDI_OVERRIDE}]")
_NOT_IN_CONTENT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n?")


def clean_name(name: str) -> str:
    """Return the name in NFC, trimmed.

    Raises:
        InvalidContent: empty, over 64 characters, or with control or bidi-override characters.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= NAME_MAX:
        raise InvalidContent(f"A name has 1..{NAME_MAX} characters.")
    if _NOT_IN_NAMES.search(name):
        raise InvalidContent("A name has no control or bidi-override characters.")
    return name


def clean_content(content: str) -> str:
    r"""Return the content in NFC, with line ends as `\n`, untrimmed.

    Raises:
        InvalidContent: only white space, or with control characters other than tab and line end.
        TooLarge: over 4000 characters.
    """
    plain = content.isascii() and content.isprintable()  # nothing to normalize, no control characters: most messages
    if not plain:
        content = unicodedata.normalize("NFC", _LINE_END.sub("\n", content))
    if not content or content.isspace():
        raise InvalidContent("A message is not only white space.")
    if len(content) > CONTENT_MAX:
        raise TooLarge(f"A message has at most {CONTENT_MAX} characters.")
    if not plain and _NOT_IN_CONTENT.search(content):
        raise InvalidContent("A message has no control characters but tab and line end.")
    return content

"""How a text of somebody else is shown: nothing in it moves the cursor, or looks like what we say."""

import unicodedata

_NEXT_LINE = "\n    "
# The joiners that emoji and some scripts need.
_HARMLESS = frozenset("\u200c\u200d")
# Controls, marks that turn the direction of writing, halves of surrogate pairs, and further line ends.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """Return a text with its control characters spelled out, and its further lines indented."""
    if text.isascii() and text.isprintable():
        return text
    return _NEXT_LINE.join("".join(map(_shown, line)) for line in text.split("\n"))


def _shown(character: str) -> str:
    if character == "\t":
        return "    "
    if unicodedata.category(character) in _HIDDEN and character not in _HARMLESS:
        return ascii(character)[1:-1]
    return character


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(_columns(character) for character in text)


def tail(text: str, columns: int) -> str:
    """Return the end of a text that fits in so many columns."""
    start = len(text)
    while start and (columns := columns - _columns(text[start - 1])) >= 0:
        start -= 1
    return text[start:]


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("F", "W") else 1

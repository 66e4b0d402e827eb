"""Rules for names and messages (PROTOCOL sections 2 and 3).

Every step is linear in the length of any input: lengths are checked before texts are normalized, and long runs of
combining marks are sorted here, because `unicodedata` sorts them by insertion.
"""

import re
from itertools import groupby
from unicodedata import combining, normalize

from schemas.errors import InvalidContent, TooLarge

NAME_MAX = 64
CONTENT_MAX = 4000

# NFC makes one character of at most this many, so a text that is longer by this factor is too long in NFC, too.
_COMPOSED_OF_MAX = 4
# Sorting less than twice as many marks by insertion is fast.
_BLOCK = 32

# Unicode's control characters (Cc), and lone surrogates, which JSON can spell but UTF-8 cannot.
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_SEPARATORS = r"\u2028\u2029"
# Overrides, embeddings and isolates, and the marks: U+061C, U+200E, U+200F.
_BIDI = r"\u202a-\u202e\u2066-\u2069\u061c\u200e\u200f"
_TAGS = r"\U000e0000-\U000e007f"
_NOT_IN_NAMES = re.compile(f"[{_CONTROL}{_SEPARATORS}{_BIDI}{_TAGS}]")
# The only emoji that are made of tag characters: the flags of England, Scotland and Wales.
_FLAGS = re.compile("\U0001f3f4\U000e0067\U000e0062(?:{}|{}|{})\U000e007f".format(
    *("".join(chr(0xE0000 + ord(letter)) for letter in name) for name in ("eng", "sct", "wls"))
))  # fmt: skip
_NOT_IN_CONTENT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# Invisible characters: white space, Unicode's Default_Ignorable_Code_Point, and characters that are drawn as a blank
# (the empty Braille pattern, annotation anchors, the filler of Khitan, the null notehead).
_VISIBLE = re.compile(
    r"[^\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]"
)

# Characters that are put in canonical order. Three Tibetan vowels are letters, but decompose to marks.
_MARKS = frozenset(character for character in map(chr, range(0x300, 0x1F000)) if combining(character)) | frozenset(
    "\u0f73\u0f75\u0f81"
)


def clean_name(name: str) -> str:
    """Return the name in NFC, trimmed.

    Raises:
        InvalidContent: empty, over 64 characters, without a visible one, or with one that names must not have.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_MAX * _COMPOSED_OF_MAX:
        raise _wrong_length()
    if not (name.isascii() and name.isprintable()):
        name = normalize("NFC", name)  # NFC makes no white space
        if not _VISIBLE.search(name):
            raise InvalidContent("A name must have a visible character.")
        if _NOT_IN_NAMES.search(_FLAGS.sub("", name)):
            raise InvalidContent(
                "A name must not have control characters, line ends, direction marks, tags, or halves of characters."
            )
    if len(name) > NAME_MAX:
        raise _wrong_length()
    return name


def _wrong_length() -> InvalidContent:
    return InvalidContent(f"A name must have 1..{NAME_MAX} characters.")


def clean_content(content: str) -> str:
    r"""Return the content in NFC, with line ends as `\n`, untrimmed.

    Raises:
        InvalidContent: nothing in it is visible, or it has control characters other than tab and line end.
        TooLarge: over 4000 characters.
    """
    if content.isascii() and content.isprintable():  # nothing to normalize, no control characters: most messages
        if not content or content.isspace():
            raise _shows_nothing()
    else:
        content = content.replace("\r\n", "\n").replace("\r", "\n")
        if len(content) > CONTENT_MAX * _COMPOSED_OF_MAX:
            raise _too_large()
        content = normalize("NFC", _with_sorted_marks(content))
        if not _VISIBLE.search(content):
            raise _shows_nothing()
        if _NOT_IN_CONTENT.search(content):
            raise InvalidContent(
                "The content must not have control characters, except tab and line end, or halves of characters."
            )
    if len(content) > CONTENT_MAX:
        raise _too_large()
    return content


def _shows_nothing() -> InvalidContent:
    return InvalidContent("The content must not be only white space or invisible characters.")


def _too_large() -> TooLarge:
    return TooLarge(f"The content must have at most {CONTENT_MAX} characters.")


def _with_sorted_marks(text: str) -> str:
    """Put long runs of combining marks in canonical order: the text is equivalent, and fast to normalize."""
    # Wherever it begins, a run that is long covers one of these blocks, and the last place of it.
    if _MARKS.isdisjoint(text[_BLOCK - 1 :: _BLOCK]):
        return text
    blocks = range(0, len(text) - _BLOCK + 1, _BLOCK)
    if not any(_MARKS.issuperset(text[at : at + _BLOCK]) for at in blocks):
        return text
    pieces: list[str] = []
    for are_marks, run in groupby(text, _MARKS.__contains__):
        if are_marks:
            pieces.extend(sorted("".join(normalize("NFD", mark) for mark in run), key=combining))
        else:
            pieces.extend(run)
    return "".join(pieces)

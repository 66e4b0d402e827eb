"""Verifier: did every message of a chat reach both participants, once, in one order?

A message begins with a token: the chat's number, the sender and the sender's own count. What a participant gets is
only appended to a list while the load runs; the lists are compared afterwards, outside of what is measured.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

TOKEN_LENGTH = 15
"""Of every token, so that it can be cut out of a frame without parsing."""

SHOWN = 3
"""Violations of one kind that are named for one chat."""


def make_token(chat: int, sender: str, number: int) -> bytes:
    """Name a message; `sender` is one letter."""
    return b"%06d%b%08d" % (chat, sender.encode(), number)


def compare(chat: int, sent: Sequence[bytes], got: Mapping[str, Sequence[bytes]]) -> list[str]:
    """Compare what was sent in a chat with what each participant got.

    Args:
        chat: its number, for the text.
        sent: the tokens of all messages, in any order.
        got: for each participant, the tokens in the order in which they came.

    Returns:
        What is wrong, for people; nothing if all is well.
    """
    expected, found = set(sent), []
    for name, tokens in got.items():
        counts = Counter(tokens)
        for what, which in {
            "never got": expected - counts.keys(),
            "got twice": {token for token, count in counts.items() if count > 1},
            "got, though nobody had sent it here,": counts.keys() - expected,
        }.items():
            if which:
                some = ", ".join(token.decode("ascii", "replace") for token in sorted(which)[:SHOWN])
                found.append(f"chat {chat}: {name} {what} {len(which)} of {len(expected)} messages: {some}")
    orders = list(got.values())
    if not found and any(list(order) != list(orders[0]) for order in orders[1:]):
        place = next(i for i, tokens in enumerate(zip(*orders, strict=True)) if len(set(tokens)) > 1)
        found.append(f"chat {chat}: the participants got message {place + 1} in a different order")
    return found

"""Verifier: did both sides of a chat get the same messages, each once, in one order? Knows no socket and no clock.

Both sides are compared as they go: what one side has and the other has not yet waits in `_ahead`; everything before is
kept only as a count and a running hash. So a chat takes little memory however long it lasts, and a history can still be
checked from its first message on.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

Side = Literal["User", "Support"]
OTHER: dict[Side, Side] = {"User": "Support", "Support": "User"}


class Violation(Exception):
    """Raised when the server has broken its promise; the text says what, without the chat's name."""


class Token(NamedTuple):
    """What a message says: enough to recognize it, and to know when it should have been sent."""

    chat_id: str
    number: int
    """1, 2, 3 ... for each sender."""
    intended_ns: int
    """On the monotonic clock, which all processes of a machine share."""

    def __str__(self) -> str:
        """Write the token as the content of a message."""
        return f"{self.chat_id}:{self.number}:{self.intended_ns}"

    @classmethod
    def parse(cls, content: str) -> "Token":
        """Read a message.

        Raises:
            Violation: it is none of the load test's.
        """
        try:
            chat_id, number, intended_ns = content.split(":")
            return cls(chat_id, int(number), int(intended_ns))
        except ValueError:
            raise Violation(f"a message that nobody sent: {content[:80]!r}") from None


class Delivered(NamedTuple):
    """A message as it came."""

    sender: Side
    token: Token
    timestamp: datetime

    def __str__(self) -> str:
        """Name the message in a report."""
        return f"message {self.token.number} of the {self.sender}"


@dataclass(slots=True)
class _Shown:
    """What one side was shown."""

    count: int = 0
    digest: int = 0
    last: Delivered | None = None


@dataclass(slots=True)
class _Sent:
    """What one sender has sent."""

    issued: int = 0
    acknowledged: int = 0
    delivered: int = 0
    """The highest number that was delivered."""
    not_stored: dict[int, bool] = field(default_factory=dict)
    """Numbers that failed, and whether they may turn up all the same."""


class Verifier:
    """Follows one chat.

    Args:
        chat_id: must be in every message, so that none of another chat passes.
    """

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self._shown: dict[Side, _Shown] = {"User": _Shown(), "Support": _Shown()}
        self._sent: dict[Side, _Sent] = {"User": _Sent(), "Support": _Sent()}
        self._ahead: deque[Delivered] = deque()
        self._leader: Side = "User"

    # What is sent.

    def issue(self, sender: Side, intended_ns: int) -> Token:
        """Make the sender's next message."""
        sent = self._sent[sender]
        sent.issued += 1
        return Token(self.chat_id, sent.issued, intended_ns)

    def acknowledged(self, sender: Side, token: Token) -> None:
        """Note that the server has echoed a message."""
        self._sent[sender].acknowledged = token.number

    def failed(self, sender: Side, token: Token, *, may_come: bool) -> None:
        """Note that a message was not acknowledged, and whether it may turn up nevertheless."""
        self._sent[sender].not_stored[token.number] = may_come

    # What is delivered.

    def deliver(self, side: Side, message: Delivered) -> None:
        """Take the next message that a side was shown.

        Raises:
            Violation: it should have been another one, or none.
        """
        shown = self._shown[side]
        if self._ahead and self._leader != side:
            expected = self._ahead.popleft()
            if message != expected:
                raise Violation(self._difference(side, message, expected))
        else:
            self._leader = side
            self._follow(side, message)
            self._ahead.append(message)
        shown.count += 1
        shown.digest = _digest(shown.digest, message)
        shown.last = message

    def catch_up(self, side: Side, history: Iterable[Delivered]) -> None:
        """Take a history, which begins with what the side was shown already and may go on with what it missed.

        Raises:
            Violation: it is another one, or there is too little of it.
        """
        shown, count, digest = self._shown[side], 0, 0
        for message in history:
            if count < shown.count:
                count += 1
                digest = _digest(digest, message)
                if count == shown.count and digest != shown.digest:
                    raise Violation(f"the history of the {side} is not what the {side} was shown before")
            else:
                count = shown.count + 1
                self.deliver(side, message)
        if count < shown.count:
            raise Violation(f"the history of the {side} has {count} messages of {shown.count} that were shown before")

    def finish(self) -> None:
        """Check that nothing is missing at the end.

        Raises:
            Violation: something is.
        """
        if self._ahead:
            first, behind = self._ahead[0], OTHER[self._leader]
            raise Violation(f"{first} came to the {self._leader} but not to the {behind} ({len(self._ahead)} in all)")
        for sender, sent in self._sent.items():
            if sent.acknowledged > sent.delivered:
                raise Violation(f"message {sent.acknowledged} of the {sender} was acknowledged but never came")

    @property
    def settled(self) -> bool:
        """Whether everything has come that must come."""
        return not self._ahead and all(sent.acknowledged <= sent.delivered for sent in self._sent.values())

    @property
    def count(self) -> int:
        """How many messages the chat holds."""
        return max(shown.count for shown in self._shown.values())

    def _follow(self, side: Side, message: Delivered) -> None:
        """Check that a message may come now, as far as one side alone can tell."""
        token, sent = message.token, self._sent[message.sender]
        if token.chat_id != self.chat_id:
            raise Violation(f"{message} of chat {token.chat_id} came to the {side}")
        if token.number > sent.issued:
            raise Violation(f"{message}, which nobody sent, came to the {side}")
        may_come = sent.not_stored.pop(token.number, None)
        if may_come is False:
            raise Violation(f"{message} was refused and came to the {side} nevertheless")
        if token.number <= sent.delivered:
            if may_come is None:
                raise Violation(f"{message} came to the {side} twice, or after a later one")
            return
        # The next message is sent only after the answer to the one before.
        for number in range(sent.delivered + 1, token.number):
            if number not in sent.not_stored:
                raise Violation(f"message {number} of the {message.sender} is missing: the {side} got {message}")
        sent.delivered = token.number

    def _difference(self, side: Side, message: Delivered, expected: Delivered) -> str:
        if message == self._shown[side].last:
            return f"{message} came to the {side} twice"
        if message in self._ahead:
            return f"{expected} did not come to the {side}, who got {message} instead"
        return f"the {side} got {message} where the {OTHER[side]} had {expected}"


def _digest(before: int, message: Delivered) -> int:
    return hash((before, message))

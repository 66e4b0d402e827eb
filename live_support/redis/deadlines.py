"""Deadlines: how long commands wait for Redis, by the loop's clock and by Redis's own."""

import math
from typing import Any

_AWAY_SECONDS = 1.0
_STAMP = b"$16\r\n%016d\r\n"


class Deadlines:
    """How long a command that is submitted now may wait.

    Args:
        timeout_seconds: how long a command may wait while Redis answers.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        """The timeout of a command that is submitted now; shorter while Redis is away."""
        self._full_timeout_seconds = timeout_seconds
        self._zero_us = -math.inf
        """Redis's clock: its microseconds when the loop's clock was 0."""
        self.until = self.stamp(0)
        """The packed last argument of a script that is sent now: its deadline by Redis's clock."""

    def set_clock(self, time: Any, now: float) -> None:
        """Learn Redis's clock from its reply to `TIME`.

        The reply arrives some moments late, which errs on the right side: deadlines are a little early.

        Args:
            time: the reply.
            now: by the loop's clock.
        """
        self._zero_us = int(time[0]) * 1e6 + int(time[1]) - now * 1e6
        self.refresh(now)

    def set_away(self, away: bool) -> None:
        """Note whether Redis is known to be away: commands wait only briefly then."""
        self.timeout_seconds = _AWAY_SECONDS if away else self._full_timeout_seconds

    def refresh(self, now: float) -> None:
        """Update `until`.

        It is a little early until the next update: a command that Redis finds overdue for that is tried again.
        """
        self.until = self.stamp(now + self.timeout_seconds)

    def stamp(self, deadline: float) -> bytes:
        """Pack the last argument of a script: its deadline by Redis's clock.

        Args:
            deadline: by the loop's clock.
        """
        return _STAMP % max(0, self._zero_us + deadline * 1e6)
